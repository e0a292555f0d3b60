/* after: see after.h. */
#include "after.h"

#include "failpoint.h"
#include "log.h"

struct after {
	struct after *next;
	const char *session, *owner;
	const char *type, *body;	/* of an event; NULL: a doorbell */
	int64_t seq;
};

static struct after *
note(struct gw_req *r, const char *session)
{
	struct after *n = arena_alloc(r->arena, sizeof *n), **end = &r->after;

	n->session = arena_strdup(r->arena, session);
	while (*end)
		end = &(*end)->next;
	*end = n;
	return n;
}

void
after_ring(struct gw_req *r, const char *session, const char *owner)
{
	note(r, session)->owner = owner[0] ? arena_strdup(r->arena, owner) : NULL;
}

void
after_publish(struct gw_req *r, const char *session, const char *type, int64_t seq, const char *body)
{
	struct after *n = note(r, session);

	n->type = arena_strdup(r->arena, type);
	n->body = arena_strdup(r->arena, body);
	n->seq = seq;
}

static void
publish(struct gw_req *r, const struct after *n)
{
	struct err e = ERR_INIT;

	FAILPOINT(GW_ENDED);
	if (bus_publish(r->bus, n->session, n->type, n->seq, n->body, &e) < 0)
		log_err("publish", &e, "session", n->session, NULL);
}

static void
ring(struct gw_req *r, const struct after *n)
{
	struct err e = ERR_INIT;

	FAILPOINT(GW_AFTER);
	if (bus_ring(r->bus, r->who.workspace_id, n->session, n->owner, &e) < 0)
		log_err("doorbell", &e, "session", n->session, NULL);
}

void
after_tell(struct gw_req *r)
{
	for (const struct after *n = r->after; n; n = n->next) {
		if (n->type)
			publish(r, n);
		else
			ring(r, n);
	}
	r->after = NULL;
}
