/*
 * after: see after.h. Doorbells for sessions that somebody has go to him by the bell of this machine, those for the same worker as one
 * letter; what the bell does not take, and doorbells for anybody, go by Redis.
 */
#include "after.h"

#include <string.h>

#include "bell.h"
#include "failpoint.h"
#include "log.h"

struct after {
	struct after *next;
	const char *workspace, *session;
	const char *owner;		/* of a doorbell; NULL: for anybody */
	const char *told;
	size_t told_len;
	const struct after *letter;	/* the first of the letter that it went with; NULL: it went with none */
	bool delivered;			/* the letter that begins with this one */
	const char *type, *body;	/* of an event; NULL: a doorbell */
	int64_t seq;
};

static struct after *
note(struct gw_req *r, const char *session)
{
	struct after *n = arena_alloc(r->arena, sizeof *n), **end = &r->after;

	n->workspace = arena_strdup(r->arena, r->who.workspace_id);
	n->session = arena_strdup(r->arena, session);
	while (*end)
		end = &(*end)->next;
	*end = n;
	return n;
}

void
after_ring(struct gw_req *r, const char *session, const char *owner)
{
	after_ring_told(r, session, owner, NULL, 0);
}

void
after_ring_told(struct gw_req *r, const char *session, const char *owner, const char *told, size_t told_len)
{
	struct after *n = note(r, session);

	n->owner = owner[0] ? arena_strdup(r->arena, owner) : NULL;
	if (n->owner && told_len > 0 && told_len <= BELL_MAX) {
		n->told = memcpy(arena_alloc(r->arena, told_len), told, told_len);
		n->told_len = told_len;
	}
}

void
after_publish(struct gw_req *r, const char *session, const char *type, int64_t seq, const char *body)
{
	struct after *n = note(r, session);

	n->type = arena_strdup(r->arena, type);
	n->body = arena_strdup(r->arena, body);
	n->seq = seq;
}

struct after **
after_take(struct gw_req *r, struct after **end)
{
	*end = r->after;
	r->after = NULL;
	while (*end)
		end = &(*end)->next;
	return end;
}

/* --- telling ------------------------------------------------------------------------------------------------------------------------ */

/* A letter for the owner of n, with as many as it takes of what follows for the same. */
static void
send_letter(struct bells *bells, struct after *n)
{
	if (!bells_to(bells, n->owner))
		return;
	for (struct after *m = n; m; m = m->next) {
		if (!m->owner || m->letter || strcmp(m->owner, n->owner) != 0)
			continue;
		if (!bells_add(bells, m->workspace, m->session, m->told, m->told_len))
			break;
		m->letter = n;
	}
	n->delivered = bells_send(bells) == 0;
}

static void
publish(struct bus *bus, const struct after *n)
{
	struct err e = ERR_INIT;

	FAILPOINT(GW_ENDED);
	if (bus_publish(bus, n->session, n->type, n->seq, n->body, &e) < 0)
		log_err("publish", &e, "session", n->session, NULL);
}

static void
ring(struct bus *bus, const struct after *n)
{
	struct err e = ERR_INIT;

	if (bus_ring(bus, n->workspace, n->session, n->owner, &e) < 0)
		log_err("doorbell", &e, "session", n->session, NULL);
}

void
after_tell_all(struct after *all, struct bells *bells, struct bus *bus)
{
	for (struct after *n = all; n; n = n->next) {
		if (!n->type)
			FAILPOINT(GW_AFTER);
		if (n->owner && !n->letter)
			send_letter(bells, n);
	}
	for (const struct after *n = all; n; n = n->next) {
		if (n->type)
			publish(bus, n);
		else if (!n->letter || !n->letter->delivered)
			ring(bus, n);
	}
}

void
after_tell(struct gw_req *r)
{
	struct after *all;

	(void)after_take(r, &all);
	after_tell_all(all, r->bells, r->bus);
}
