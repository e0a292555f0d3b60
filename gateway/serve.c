/*
 * serve: see serve.h. The order of checks is the contract's: size of the head (414, 431) -> route (404, 405) -> key (401) -> beta (404) ->
 * version (400) -> kind of key (403) -> suspended organization (403, writes) -> its organization's share of threads (429) -> path ids (400)
 * -> body size (413) -> query and body (400) -> handler. Memory is spent on a body only for an authenticated caller; an unread one is
 * drained, because the connection is kept. A body that is a file is not read here: upload.h takes the request over, or it is refused and
 * the connection given up with the rest of the body.
 *
 * A reading request that found its database connection gone (server restarted) is run once more; a writing one is not, its client decides:
 * only when its transaction was taken back as a whole (deadlock, serialization failure) its handler is run again (once.c), with its body
 * parsed anew from r->text.
 */
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "after.h"
#include "respond.h"
#include "arena.h"
#include "attempt.h"
#include "body.h"
#include "clock.h"
#include "conns.h"
#include "failpoint.h"
#include "head.h"
#include "once.h"
#include "park.h"
#include "probe.h"
#include "reads.h"
#include "ready.h"
#include "route.h"
#include "shares.h"
#include "still.h"
#include "together.h"
#include "upload.h"
#include "waiting.h"

#define LARGE 65536		/* bodies that are worth another thread's lead */

int
req_active(const char *organization_state, struct err *e)
{
	if (organization_state && strcmp(organization_state, "active") == 0)
		return 0;
	return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
}

/* "req_011C" + 20 base58 characters. */
static void
request_id(char out[ID_MAX])
{
	unsigned char bytes[16];
	char tail[23];

	id_noise(bytes, sizeof bytes);
	id_base58(bytes, tail);
	snprintf(out, ID_MAX, "req_011C%s", tail + 2);
}

static const char *
param(const FCGX_Request *fcgi, const char *name)
{
	return FCGX_GetParam(name, fcgi->envp);
}

/* The path as the client wrote it, without the query. In the arena. */
static char *
raw_path(const FCGX_Request *fcgi, struct arena *a)
{
	const char *uri = param(fcgi, "REQUEST_URI");

	return uri ? arena_strndup(a, uri, strcspn(uri, "?#")) : arena_strdup(a, "");
}

static int
authenticate(struct gw_thread *t, struct gw_req *r, const FCGX_Request *fcgi, struct err *e)
{
	struct auth_headers h;

	if (r->route->access == ROUTE_OPEN)
		return 0;
	auth_headers_read(&h, fcgi->envp);
	r->managed = auth_managed(&h);
	if (auth_check(t->gw->auth, t->db, &h, r->route->access == ROUTE_ADMIN ? AUTH_ADMIN : AUTH_WORKSPACE, r->route->beta, &r->who, e) < 0)
		return -1;
	if (r->who.suspended && strcmp(r->route->method, "GET") != 0)
		return req_active("suspended", e);
	return 0;
}

/*
 * The client's connection and this request's number on it, where one follows the other: not over HTTP/2, and not behind another proxy, which
 * shares its connections among clients.
 */
static const char *
connection_of(const FCGX_Request *fcgi)
{
	const char *protocol = param(fcgi, "SERVER_PROTOCOL");

	if (!protocol || strncmp(protocol, "HTTP/1.", 7) != 0 || param(fcgi, "HTTP_VIA") || param(fcgi, "HTTP_FORWARDED") ||
	    param(fcgi, "HTTP_X_FORWARDED_FOR"))
		return NULL;
	return param(fcgi, "CLIENT_CONNECTION");
}

int
serve_attempt(const struct gw_req *r, const FCGX_Request *fcgi, const char *body, size_t len, struct dedupe_id *out, struct err *e)
{
	const struct attempt_headers h = { .key = param(fcgi, "HTTP_IDEMPOTENCY_KEY"), .traceparent = param(fcgi, "HTTP_TRACEPARENT"),
	    .retry_count = param(fcgi, "HTTP_X_STAINLESS_RETRY_COUNT") };
	const struct attempt_call c = { .credential = r->who.key_id, .workspace = r->who.workspace_id, .method = r->route->method,
	    .uri = param(fcgi, "REQUEST_URI"), .body = body, .body_len = len,
	    .key = shape_secret(r->route->body) ? r->cursor_key->bytes : NULL };

	if (!route_writes(r->route))
		return 0;
	if (attempt_read(&h, &c, out, e) < 0)
		return -1;
	out->request = r->id;
	out->connection = connection_of(fcgi);
	return 0;
}

/* Does the body come straight from its sender (nginx/upload.inc)? Then reading it takes as long as they like. */
static bool
unbuffered(const FCGX_Request *fcgi)
{
	return param(fcgi, "BODY_UNBUFFERED") != NULL;
}

/* What the path names last is known to the caller. */
static void
note_named(struct conns *c, const struct gw_req *r)
{
	int n = REQ_PARAMS;

	while (n > 0 && !r->param[n - 1])
		n--;
	if (n > 0)
		conns_named(c, r->who.key_id, r->param[n - 1]);
}

/* How long the body is to be; 0: that was not said. */
static long long
announced(const FCGX_Request *fcgi)
{
	const char *length = param(fcgi, "CONTENT_LENGTH");

	return length ? strtoll(length, NULL, 10) : 0;
}

/* How many bytes of a body are taken, as they come and decoded. */
static size_t
body_cap(const struct gw_thread *t, const struct shape *s)
{
	size_t most = (size_t)t->gw->conf->body_max;

	if (s == &shape_none || s == &shape_empty)
		return BODY_SMALL;
	return shape_secret(s) && most > BODY_SECRET ? BODY_SECRET : most;
}

/* The handler. later: of a request that may be answered by another thread, what it asked for. */
static int
handler(struct gw_req *r, const struct dedupe_id *id, struct db_later *later, struct err *e)
{
	int rc;

	if (later)
		db_later_begin(r->db, later);
	rc = once_run(r, id, &r->replayed, e);
	if (later)
		db_later_end(r->db);
	return rc;
}

/* Behind the key: everything up to and including the handler. */
static int
handle(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, struct db_later *later, struct err *e)
{
	struct buf *text = &r->text;
	size_t cap = body_cap(t, r->route->body);
	struct dedupe_id id = { .kind = DEDUPE_NONE };

	if (route_check_params(r->route, r->param, e) < 0)
		return -1;
	note_named(t->gw->conns, r);
	text->secret = shape_secret(r->route->body);
	if (announced(fcgi) > LARGE)
		park_yield();
	if ((!unbuffered(fcgi) && body_read(fcgi, cap, text, e) < 0) ||
	    serve_attempt(r, fcgi, text->data, text->len, &id, e) < 0)
		return -1;
	if (text->len > LARGE)
		park_yield();
	if (query_parse(r->route->query, param(fcgi, "QUERY_STRING"), r->arena, &r->query, e) < 0 ||
	    body_parse(r->route->body, param(fcgi, "CONTENT_TYPE"), param(fcgi, "HTTP_CONTENT_ENCODING"), cap, text, &r->body, e) < 0)
		return -1;
	if (text->len > LARGE)
		buf_free(text);		/* the tree has it all: a large body is not kept twice */
	FAILPOINT(GW_REQUEST);
	r->may_send = together_takes(t->gw->sends) ? once_may_send(&id) : 0;
	r->may_write = route_makes(r->route) && once_may_send(&id) > 0 && together_takes(t->gw->writes);
	return handler(r, &id, route_writes(r->route) || r->route->access == ROUTE_OPEN ? NULL : later, e);
}

static bool
try_again(const struct err *e)
{
	return e->kind == EK_UNAVAILABLE || e->kind == EK_UNCERTAIN || e->kind == EK_UNDONE;
}

static int
read_once(struct gw_req *r, struct err *e)
{
	buf_reset(&r->out);
	err_clear(e);
	return r->route->handler(r, e);
}

/* A read that was noted, or failed with its connection: by this thread, from the handler on. */
static int
read_here(struct gw_req *r, struct err *e)
{
	int rc = read_once(r, e);

	return rc < 0 && try_again(e) ? read_once(r, e) : rc;
}

#define HANDED_OVER 1

/* By this thread, for an organization whose share it does not ask. */
static int
bring_to_end(struct gw_thread *t, struct gw_req *r, gw_handler *rest, struct err *e)
{
	int rc;

	shares_join(t->gw->shares, r->who.organization_id);
	rc = rest(r, e);
	shares_end(t->gw->shares, r->who.organization_id);
	return rc;
}

/* Behind the key, in its organization's share. */
static int
run_on(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	struct db_later later = { .asked = false };
	int rc = handle(t, r, fcgi, &later, e);

	if (rc < 0 && !later.asked && try_again(e) && strcmp(r->route->method, "GET") == 0) {
		buf_reset(&r->out);
		buf_reset(&r->text);
		err_clear(e);
		rc = handle(t, r, fcgi, NULL, e);
	}
	shares_end(t->gw->shares, r->who.organization_id);
	if (later.asked) {
		if (reads_take(t->gw->reads, t, r, &later, fcgi, start_us))
			return HANDED_OVER;
		rc = bring_to_end(t, r, read_here, e);
	}
	db_later_free(&later);
	if (rc == 0 && (r->later || r->write)) {
		body_drain(fcgi);
		if (r->later ? together_take(t->gw->sends, &r->later->send.item, t, r, fcgi, start_us)
		    : together_take(t->gw->writes, &r->write->write.item, t, r, fcgi, start_us))
			return HANDED_OVER;
		rc = bring_to_end(t, r, once_sent, e);
		after_tell(r);
	}
	return rc;
}

/*
 * Its organization has as many threads as it may. What is read quickly needs none, and what is sent or made waits for nobody (route.h); the
 * rest waits for one.
 */
static int
run_beside(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	struct db_later later = { .only = true };
	int rc;

	if (route_sends(r->route) && announced(fcgi) <= LARGE) {
		shares_join(t->gw->shares, r->who.organization_id);
		return run_on(t, r, fcgi, start_us, e);
	}
	if (strcmp(r->route->method, "GET") == 0) {
		rc = handle(t, r, fcgi, &later, e);
		if (!later.asked && !later.refused)
			return rc;
		if (later.asked && reads_take(t->gw->reads, t, r, &later, fcgi, start_us))
			return HANDED_OVER;
		db_later_free(&later);
		buf_reset(&r->out);
		buf_reset(&r->text);
		err_clear(e);
	}
	if (waiting_take(t->gw->waiting, t, r, fcgi, start_us))
		return HANDED_OVER;
	return err_set(e, EK_LIMIT, 0, "Too many requests of this organization are waiting; try again.");
}

static int
run(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	int rc = authenticate(t, r, fcgi, e);

	if (rc < 0 && try_again(e) && strcmp(r->route->method, "GET") == 0) {
		err_clear(e);
		rc = authenticate(t, r, fcgi, e);
	}
	if (rc < 0)
		return -1;
	return shares_begin(t->gw->shares, r->who.organization_id) ? run_on(t, r, fcgi, start_us, e) : run_beside(t, r, fcgi, start_us, e);
}

void
serve_again(struct gw_thread *t, struct gw_req *r, struct db_later *q, FCGX_Request *fcgi, int64_t start_us)
{
	struct err e = ERR_INIT;
	int rc;

	shares_join(t->gw->shares, r->who.organization_id);
	if (q->res)
		db_later_begin(r->db, q);
	rc = read_once(r, &e);
	db_later_end(r->db);
	if (rc < 0 && try_again(&e))
		(void)read_once(r, &e);
	shares_end(t->gw->shares, r->who.organization_id);
	respond(r, fcgi, &e, "", start_us);
}

/* A body that is a file. True: handed over. */
static bool
hand_over(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	if (authenticate(t, r, fcgi, e) == 0 && uploads_take(t->gw->uploads, r, fcgi, start_us, e) == 0)
		return true;
	fcgi->keepConnection = 0;	/* the body is on its way, perhaps for long */
	return false;
}

/* The request is answered, or refused, or somebody else's to answer (false). */
static bool
end(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, struct err *e, const char *allow, int64_t start_us)
{
	if (unbuffered(fcgi))
		fcgi->keepConnection = 0;
	else
		body_drain(fcgi);
	if (r->probe && e->kind == EK_NONE && probes_take(t->gw->probes, r, fcgi, start_us, e) == 0) {
		arena_reset(t->arena);
		return false;
	}
	if (r->looks && e->kind == EK_NONE) {
		ready_take(t->gw->ready, r, fcgi, start_us);
		arena_reset(t->arena);
		return false;
	}
	respond(r, fcgi, e, allow, start_us);
	arena_reset(t->arena);
	return true;
}

bool
serve_on(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us)
{
	struct err e = ERR_INIT;

	return run_on(t, r, fcgi, start_us, &e) != HANDED_OVER && end(t, r, fcgi, &e, "", start_us);
}

/* Which call it is. -1: none. */
static int
begin(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, char allow[64], struct err *e)
{
	const char *method = param(fcgi, "REQUEST_METHOD");

	*r = (struct gw_req){ .conf = t->gw->conf, .db = t->db, .bus = t->bus, .bells = t->bells, .arena = t->arena,
	    .cursor_key = &t->gw->cursor_key, .conns = t->gw->conns, .kits = t->gw->kits, .ready = t->gw->ready, .status = 200 };
	allow[0] = '\0';
	request_id(r->id);
	conns_note(t->gw->conns, connection_of(fcgi));
	if (head_check(fcgi->envp, e) < 0 ||
	    route_match(method ? method : "", raw_path(fcgi, t->arena), t->arena, &r->route, r->param, allow, e) < 0)
		return -1;
	allow[0] = '\0';
	return 0;
}

enum park_spare
serve_spare(struct gw_thread *t, FCGX_Request *fcgi, bool full)
{
	int64_t start_us = clock_mono_us();
	bool still = still_stands();
	struct err e = ERR_INIT;
	struct gw_req r;
	char allow[64];

	if (begin(t, &r, fcgi, allow, &e) == 0 && r.route->access == ROUTE_OPEN) {
		if (run(t, &r, fcgi, start_us, &e) == HANDED_OVER)
			return PARK_GIVEN;
	} else if (r.route && (still || full)) {
		(void)err_fault(&e, still ? EK_UNAVAILABLE : EK_OVERLOADED, 0, still ? "Postgres stands still" : "all threads are held");
	} else if (r.route) {
		arena_reset(t->arena);
		return PARK_KEPT;
	}
	return end(t, &r, fcgi, &e, allow, start_us) ? PARK_ANSWERED : PARK_GIVEN;
}

bool
serve(struct gw_thread *t, FCGX_Request *fcgi)
{
	int64_t start_us = clock_mono_us();
	struct err e = ERR_INIT;
	struct gw_req r;
	char allow[64];

	(void)begin(t, &r, fcgi, allow, &e);
	if (r.route && shape_multipart(r.route->body)) {
		if (hand_over(t, &r, fcgi, start_us, &e))
			return false;
		respond(&r, fcgi, &e, allow, start_us);
		arena_reset(t->arena);
		return true;
	}
	if (r.route && run(t, &r, fcgi, start_us, &e) == HANDED_OVER)
		return false;
	return end(t, &r, fcgi, &e, allow, start_us);
}
