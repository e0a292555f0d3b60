/*
 * request: see request.h. One row per operation in a table; names are checked before they go into paths and logs, and the session's epoch
 * before anything is done for it (session_enter), so that who has lost a session cannot touch its sandbox any more.
 */
#include "request.h"

#include <stdio.h>
#include <string.h>

#include "call.h"
#include "failpoint.h"
#include "jx.h"
#include "log.h"
#include "server.h"
#include "session.h"

/* A name that may go into paths and logs: letters, digits, - and _. */
static bool
good_name(const char *text)
{
	size_t n = text ? strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") : 0;

	return n > 0 && n < SESSION_ID_MAX && text[n] == '\0';
}

struct request {
	struct hands *h;
	uint64_t conn;
	int64_t n, epoch;
	const char *session, *call;
	const json_t *doc;
	struct session *s;
};

static void
op_provision(struct request *r)
{
	struct err e = ERR_INIT;
	bool fresh;

	if (session_files(r->s, json_object_get(r->doc, "files"), &e) < 0) {
		server_error(r->h, r->conn, r->n, "invalid", e.pub);
		return;
	}
	if (session_provision(r->s, &fresh, &e) < 0) {
		log_err("sandbox_refused", &e, "session", r->session, NULL);
		server_error(r->h, r->conn, r->n, e.kind == EK_LIMIT ? "busy" : "failed", e.pub);
	} else if (box_is_ready(r->s->box)) {
		server_provisioned(r->h, r->conn, r->n, fresh);
	} else {
		waiter_add(&r->s->provisions, r->conn, r->n, false);
	}
}

static void
attach(struct request *r, struct call *c, bool by_result)
{
	c->forget = false;
	if (c->state == CALL_DONE)
		server_result(r->h, r->conn, r->n, by_result, c);
	else
		waiter_add(&c->waiters, r->conn, r->n, by_result);
}

static void
op_call(struct request *r)
{
	struct call *c = call_find(r->s, r->call);
	const char *tool = jx_str(r->doc, "tool");
	struct err e = ERR_INIT;
	struct input in;
	char text[600];

	if (c) {
		attach(r, c, false);
	} else if (session_files(r->s, json_object_get(r->doc, "files"), &e) < 0) {
		server_error(r->h, r->conn, r->n, "invalid", e.pub);
	} else if (!tool) {
		server_error(r->h, r->conn, r->n, "invalid", "tool: must be a string");
	} else if (input_check(tool, json_object_get(r->doc, "input"), r->call, &in, &e) < 0) {
		snprintf(text, sizeof text, "Invalid input for %.64s: %s", tool, e.pub);
		call_refused(r->s, r->call, text, r->conn, r->n);
	} else {
		call_start(r->s, r->call, &in, r->conn, r->n);
	}
}

static void
op_result(struct request *r)
{
	struct call *c = call_find(r->s, r->call);

	if (c)
		attach(r, c, true);
	else
		server_unknown(r->h, r->conn, r->n);
}

static void
op_ack(struct request *r)
{
	struct call *c = call_find(r->s, r->call);

	FAILPOINT(HANDS_ACK);
	if (c)
		call_ack(c);
	server_ok(r->h, r->conn, r->n);
}

static void
op_cancel(struct request *r)
{
	struct call *c = call_find(r->s, r->call);

	server_ok(r->h, r->conn, r->n);
	FAILPOINT(HANDS_CANCEL);
	if (c)
		call_cancel(c);
}

static void
op_pause(struct request *r)
{
	FAILPOINT(HANDS_PAUSE);
	session_pause(r->s);
	outputs_pause(r->s, r->conn, r->n);
}

/* What waits to be published: of the named session, or of one whose list nobody seems to have taken care of. */
static void
op_outputs(struct request *r)
{
	struct session *s = good_name(r->session) ? session_find(r->h, r->session) : outputs_forgotten(r->h);

	if (s)
		server_outputs(r->h, r->conn, r->n, s);
	else
		server_ok(r->h, r->conn, r->n);
}

static void
op_published(struct request *r)
{
	struct session *s = good_name(r->session) ? session_find(r->h, r->session) : NULL;

	if (s)
		outputs_done(s, json_object_get(r->doc, "blobs"), jx_bool(r->doc, "keep", true) != 0);
	server_ok(r->h, r->conn, r->n);
}

/* What is being collected is the user's: then the sandbox goes at its end. */
static void
op_destroy(struct request *r)
{
	FAILPOINT(HANDS_DESTROY);
	if (r->s->outputs.collecting)
		r->s->outputs.destroy = true;
	else
		session_destroy(r->s);
	server_ok(r->h, r->conn, r->n);
}

static void
op_status(struct request *r)
{
	server_status(r->h, r->conn, r->n);
}

static const struct op {
	const char *name;
	bool session, call;	/* which names the request must carry */
	bool kills_older;	/* see session.h */
	void (*run)(struct request *r);
} ops[] = {
	{ "provision", true,  false, false, op_provision },
	{ "call",      true,  true,  true,  op_call },
	{ "result",    true,  true,  false, op_result },
	{ "ack",       true,  true,  false, op_ack },
	{ "cancel",    true,  true,  false, op_cancel },
	{ "pause",     true,  false, true,  op_pause },
	{ "destroy",   true,  false, true,  op_destroy },
	{ "outputs",   false, false, false, op_outputs },
	{ "published", false, false, false, op_published },
	{ "status",    false, false, false, op_status },
};

static void
dispatch(struct request *r, const struct op *op)
{
	struct err e = ERR_INIT;

	if ((op->session && (!good_name(r->session) || r->epoch < 0)) || (op->call && !good_name(r->call))) {
		server_error(r->h, r->conn, r->n, "invalid", "session, epoch or call is missing or malformed");
		return;
	}
	if (op->session) {
		r->s = session_enter(r->h, r->session, r->epoch, false, &e);
		if (!r->s) {
			server_error(r->h, r->conn, r->n, "fenced", e.pub);
			return;
		}
		/* a repeated call is handed over, not killed */
		if (op->kills_older && !(op->call && call_find(r->s, r->call)))
			call_cancel_older(r->s, r->epoch);
	}
	op->run(r);
}

void
request_run(struct hands *h, uint64_t conn, const json_t *doc)
{
	struct request r = { .h = h, .conn = conn, .doc = doc, .n = jx_int(doc, "n", 0), .epoch = jx_int(doc, "epoch", -1),
		.session = jx_str(doc, "session"), .call = jx_str(doc, "call") };
	const char *name = jx_str(doc, "op");

	for (size_t i = 0; name && i < sizeof ops / sizeof *ops; i++)
		if (strcmp(ops[i].name, name) == 0) {
			dispatch(&r, &ops[i]);
			return;
		}
	server_error(h, conn, r.n, "invalid", "no such op");
}
