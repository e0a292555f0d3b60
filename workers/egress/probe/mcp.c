/*
 * mcp: see mcp.h. A reply is JSON or an event stream that may stay open: of the latter only as much is read as holds the answer. What the
 * server offers is not looked at; that it answers a request of the protocol with the token is all that is asked.
 *
 * The session that initialize opened is closed again, as a client should. A failure of that is nobody's business.
 */
#include "mcp.h"

#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "clock.h"
#include "jx.h"
#include "xalloc.h"

#define STEP_MS 12000		/* longest wait for one answer */
#define CLOSE_MS 2000
#define PROTOCOL "2025-06-18"
#define METHOD_NOT_FOUND (-32601)

#define INITIALIZE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"" PROTOCOL "\",\"capabilities\":{}," \
	"\"clientInfo\":{\"name\":\"roost\",\"version\":\"" ROOST_VERSION "\"}}}"
#define INITIALIZED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define TOOLS_LIST "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\",\"params\":{}}"

struct mcp {
	struct fetch *f;
	const char *url;
	char *bearer;		/* header lines */
	char *session, *version;
	int64_t until;
};

/* --- steps ------------------------------------------------------------------------------------------------------------------- */

static int64_t
left(const struct mcp *m)
{
	int64_t ms = m->until - clock_mono_ms();

	return ms < STEP_MS ? ms : STEP_MS;
}

static bool
enough(void *arg, const struct buf *body)
{
	return answer_more(arg, body);
}

/* scan NULL: no answer is expected. */
static void
post(struct mcp *m, const char *body, struct answer_scan *scan, struct fetch_reply *out)
{
	struct fetch_ask ask = { .method = "POST", .url = m->url, .body = body, .ms = left(m), .enough = scan ? enough : NULL, .arg = scan,
	    .headers = { "Content-Type: application/json", "Accept: application/json, text/event-stream", m->bearer } };
	int n = 3;

	if (m->version)
		ask.headers[n++] = m->version;
	if (m->session)
		ask.headers[n] = m->session;
	fetch_run(m->f, &ask, out);
}

static enum mcp_verdict
by_status(const struct fetch_reply *r)
{
	if (r->status == 401)
		return MCP_UNAUTHORIZED;
	if (r->status == 403)
		return MCP_FORBIDDEN;
	return r->status >= 200 && r->status < 300 ? MCP_ACCEPTED : MCP_UNCLEAR;
}

/* One request. The answer's result goes to *out_result when wanted. */
static bool
step(struct mcp *m, const char *method, const char *body, int id, struct mcp_result *out, json_t **out_answer)
{
	struct answer_scan scan = ANSWER_SCAN(id);
	AUTO(json) json_t *answer = NULL;
	const json_t *error;

	post(m, body, &scan, &out->reply);
	out->method = method;
	out->verdict = by_status(&out->reply);
	answer = steal(scan.found);
	answer_scan_free(&scan);
	if (out->verdict != MCP_ACCEPTED)
		return false;
	if (!answer && !fetch_is(&out->reply, "text/event-stream"))
		answer = answer_text(out->reply.body.data, out->reply.body.len, id);
	error = json_object_get(answer, "error");	/* borrowed */
	/* a list too long to be looked at was given to this token all the same */
	if ((!answer && !(out->reply.cut && out_answer == NULL)) || (error && jx_int(error, "code", 0) != METHOD_NOT_FOUND)) {
		out->verdict = MCP_UNCLEAR;
		return false;
	}
	if (out_answer)
		*out_answer = steal(answer);
	return true;
}

/* The older transport: a GET that opens a stream. Only its refusal or its beginning is of interest. */
static bool
any_event(void *arg, const struct buf *body)
{
	(void)arg;
	return body->len > 0;
}

static void
old_transport(struct mcp *m, struct mcp_result *out)
{
	const struct fetch_ask ask = { .method = "GET", .url = m->url, .ms = left(m), .enough = any_event,
	    .headers = { "Accept: text/event-stream", m->bearer } };
	struct fetch_reply r = { 0 };
	enum mcp_verdict v;

	fetch_run(m->f, &ask, &r);
	v = by_status(&r);
	if (v == MCP_UNAUTHORIZED || v == MCP_FORBIDDEN || (v == MCP_ACCEPTED && fetch_is(&r, "text/event-stream"))) {
		fetch_reply_free(&out->reply);
		out->reply = r;
		out->verdict = v;
	} else {
		fetch_reply_free(&r);
	}
}

static void
remember_session(struct mcp *m, const struct mcp_result *r, const json_t *answer)
{
	const char *version = jx_str(json_object_get(answer, "result"), "protocolVersion");

	if (r->reply.session[0])
		m->session = xasprintf("Mcp-Session-Id: %s", r->reply.session);
	if (version && strlen(version) < 32 && strspn(version, "0123456789-.abcdefghijklmnopqrstuvwxyz") == strlen(version))
		m->version = xasprintf("MCP-Protocol-Version: %s", version);
}

static void
close_session(struct mcp *m)
{
	struct fetch_ask ask = { .method = "DELETE", .url = m->url, .ms = CLOSE_MS, .headers = { m->bearer, m->session, m->version } };
	struct fetch_reply r = { 0 };

	if (!m->session || left(m) < CLOSE_MS)
		return;
	fetch_run(m->f, &ask, &r);
	fetch_reply_free(&r);
}

void
mcp_probe(struct fetch *f, const char *url, const char *token, int64_t until, struct mcp_result *out)
{
	struct mcp m = { .f = f, .url = url, .until = until, .bearer = xasprintf("Authorization: Bearer %s", token) };
	AUTO(json) json_t *answer = NULL;
	struct fetch_reply r = { 0 };

	*out = (struct mcp_result){ .method = "initialize" };
	if (step(&m, "initialize", INITIALIZE, 1, out, &answer)) {
		remember_session(&m, out, answer);
		post(&m, INITIALIZED, NULL, &r);	/* 202; what it says of the token, tools/list says too */
		fetch_reply_free(&r);
		(void)step(&m, "tools/list", TOOLS_LIST, 2, out, NULL);
		close_session(&m);
	} else if (out->reply.status == 404 || out->reply.status == 405) {
		old_transport(&m, out);
	}
	if (out->verdict == MCP_ACCEPTED)
		out->method = NULL;
	free(m.bearer);
	free(m.session);
	free(m.version);
}
