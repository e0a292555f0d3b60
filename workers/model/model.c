/*
 * model: calls: one request, tried over its routes, one end.
 *
 * A call serialises its context once per dialect, then tries its routes in order: a later one only when the earlier failed with
 * something another provider may not share (429, 5xx, timeout, broken connection) and nothing was put out yet. A 400 that refuses an
 * optional field repeats the same route without it, and the client remembers that. The failure told is the last one worth a retry,
 * else the last.
 *
 * Callbacks may cancel their call or any other: a cancelled call is detached at once and freed by a timer, so that no frame below a
 * callback touches freed memory. Keys are wiped with the call. Nothing is written anywhere but one log line per failed route.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "adapter.h"
#include "http.h"
#include "log.h"
#include "reply.h"
#include "scripted.h"
#include "sse.h"
#include "xalloc.h"

#define ERROR_BODY_MAX 16384
#define LEARNED 64		/* upstreams whose refusals are remembered */
#define DIALECTS 2

struct learned {
	char base_url[256], upstream[128];
	unsigned without;
};

struct model_client {
	struct loop *loop;
	struct http *http;
	size_t reply_bytes;
	char *blob_dir;
	TAILQ_HEAD(, model_call) calls;
	struct learned learned[LEARNED];
	unsigned nlearned;		/* ever; the oldest is overwritten */
};

struct model_call {
	TAILQ_ENTRY(model_call) all;
	struct model_client *mc;
	const struct model_events *ev;
	void *ctx;

	/* the request */
	struct model_route *routes;
	int nroutes, route;
	char *model_id, *effort, *geo;	/* geo NULL: none is asked for */
	int max_output_tokens;
	bool fast;
	struct { const struct adapter *adapter; struct http_body *tail; } dialects[DIALECTS];
	struct script script;
	unsigned without;

	/* the attempt under way */
	struct loop_timer *timer;
	struct http_xfer *xfer;
	struct script_play *play;
	const struct adapter *adapter;
	struct sse sse;
	struct decode decode;
	struct buf error_body;
	struct reply reply;
	struct failure failure;		/* of this attempt */
	struct failure told;		/* of all attempts */
	bool failed;			/* told is filled */
};

static void attempt(struct model_call *call);

/* ---- the end of a call ---- */

static void
call_free(struct model_call *call)
{
	TAILQ_REMOVE(&call->mc->calls, call, all);
	loop_cancel(call->mc->loop, &call->timer);
	http_cancel(&call->xfer);
	script_stop(&call->play);
	script_free(&call->script);
	for (int i = 0; i < DIALECTS; i++)
		http_body_put(&call->dialects[i].tail);
	if (call->routes)
		explicit_bzero(call->routes, (size_t)call->nroutes * sizeof(*call->routes));
	free(call->routes);
	free(call->model_id);
	free(call->effort);
	free(call->geo);
	sse_free(&call->sse);
	decode_free(&call->decode);
	buf_free(&call->error_body);
	reply_free(&call->reply);
	free(call);
}

static void
on_free(void *ctx)
{
	struct model_call *call = ctx;

	call->timer = NULL;
	call_free(call);
}

/* No callback any more; the memory goes with the loop's next round. */
static void
call_detach(struct model_call *call)
{
	if (call->reply.dead)
		return;
	call->reply.dead = true;
	http_cancel(&call->xfer);
	script_stop(&call->play);
	loop_cancel(call->mc->loop, &call->timer);
	call->timer = loop_after(call->mc->loop, 0, on_free, call);
}

void
model_cancel(struct model_call **call)
{
	struct model_call *old = *call;

	*call = NULL;
	if (old)
		call_detach(old);
}

static void
call_done(struct model_call *call, const char *request_id)
{
	http_release(&call->xfer);
	if (call->reply.usage.unknown)
		log_warn("model_usage_unknown", "model", call->model_id, "upstream", call->routes[call->route].upstream, "request", request_id, NULL);
	reply_done(&call->reply, request_id);
	call_detach(call);
}

/* ---- failures ---- */

/* Bits that this upstream refused before. */
static struct learned *
learned_find(struct model_client *mc, const struct model_route *r)
{
	for (unsigned i = 0; i < LEARNED && i < mc->nlearned; i++) {
		struct learned *l = &mc->learned[i];

		if (!strcmp(l->base_url, r->base_url) && !strcmp(l->upstream, r->upstream))
			return l;
	}
	return NULL;
}

static void
learn(struct model_client *mc, const struct model_route *r, unsigned without)
{
	struct learned *l = learned_find(mc, r);

	if (!l) {
		l = &mc->learned[mc->nlearned++ % LEARNED];
		memcpy(l->base_url, r->base_url, sizeof(l->base_url));
		memcpy(l->upstream, r->upstream, sizeof(l->upstream));
		l->without = 0;
	}
	l->without |= without;
}

/* The rest of this call goes without the thoughts of earlier replies, or without file parts. */
#define OF_THE_TAIL (WITHOUT_THOUGHTS | WITHOUT_FILES)

static void
forget_refused(struct model_call *call)
{
	for (int i = 0; i < DIALECTS; i++) {
		struct http_body *fresh;

		if (call->dialects[i].adapter != call->adapter || !call->adapter->forget)
			continue;
		fresh = http_body_new();
		call->adapter->forget(&fresh->bytes, &call->dialects[i].tail->bytes);
		http_body_put(&call->dialects[i].tail);
		call->dialects[i].tail = fresh;
	}
}

/* A refusal of an optional field: the same route again without it. */
static bool
retry_without(struct model_call *call)
{
	unsigned more;

	if (!call->adapter || call->reply.begun || (call->failure.f.http != 400 && call->failure.f.http != 422))
		return false;
	more = call->adapter->refused(call->failure.said) & ~call->without;
	if (!more)
		return false;
	call->without |= more;
	if (more & OF_THE_TAIL)
		forget_refused(call);
	learn(call->mc, &call->routes[call->route], call->without & ~(unsigned)OF_THE_TAIL);
	return true;
}

bool
model_spent(const struct model_call *call, struct model_usage *out)
{
	int64_t arrived = reply_tokens(&call->reply);

	if (arrived > call->max_output_tokens)
		arrived = call->max_output_tokens;
	*out = (struct model_usage){ .unknown = true };
	if (call->decode.usage)
		*out = call->reply.usage;
	if (out->output < arrived)
		out->output = arrived;
	return call->reply.begun || call->decode.usage;
}

bool
model_inside(const struct model_call *call)
{
	return call->play != NULL;
}

/* The attempt has failed with call->failure: try on, or tell. */
static void
call_fail(struct model_call *call)
{
	const struct model_route *r = &call->routes[call->route];
	struct failure *f = &call->failure;

	if (call->reply.over && !f->f.took_known)
		failure_over(f);	/* whatever else happened to it, no repeat will make it smaller */
	if (call->xfer && !f->f.request_id[0])
		http_request_id(call->xfer, f->f.request_id, sizeof(f->f.request_id));
	http_cancel(&call->xfer);
	if (retry_without(call)) {
		attempt(call);
		return;
	}
	if (call->nroutes)
		log_warn("model_route_failed", "model", call->model_id, "dialect", r->dialect, "upstream", r->upstream, "type", f->f.type,
		    "http", LOGN(f->f.http), "request", f->f.request_id, "message", f->f.message, NULL);
	if (!call->failed || f->f.retryable || !call->told.f.retryable)
		call->told = *f;
	call->failed = true;
	if (f->next && !call->reply.begun && call->route + 1 < call->nroutes) {
		call->route++;
		call->without = 0;
		attempt(call);
		return;
	}
	call->told.f.begun = call->reply.begun;
	call->ev->fail(call->ctx, &call->told.f);
	call_detach(call);
}

/* ---- a stream arrives ---- */

static int
on_sse(void *ctx, const char *event, const char *data, size_t len)
{
	struct model_call *call = ctx;

	return call->adapter->event(&call->decode, event, data, len);
}

/* rc of sse_feed, sse_end or an adapter: go on, or end the call. true: it has ended. */
static bool
stream_ended(struct model_call *call, int rc)
{
	char id[80] = "";

	if (call->reply.dead)
		return true;
	switch (rc) {
	case ADAPTER_MORE:
		return false;
	case ADAPTER_DONE:
		http_request_id(call->xfer, id, sizeof(id));
		call_done(call, id);
		return true;
	default:
		/* sse itself says -1 too, when an event is over its limit: then no adapter has filled the failure */
		if (!call->failure.f.type)
			call->reply.over = true;
		call_fail(call);
		return true;
	}
}

static void
on_data(void *ctx, const char *bytes, size_t len)
{
	struct model_call *call = ctx;

	if (call->ev->at_hand != NULL)
		call->ev->at_hand(call->ctx);
	if (http_status(call->xfer) / 100 != 2) {
		buf_put(&call->error_body, bytes, len);
		return;
	}
	if (stream_ended(call, sse_feed(&call->sse, bytes, len, on_sse, call)) || !call->reply.begun)
		return;
	for (int i = 0; i < DIALECTS; i++)
		http_body_put(&call->dialects[i].tail);	/* no other route is tried now */
}

/* The reply was an error: its body is whole, or cut at our limit. */
static void
http_failed(struct model_call *call, const struct http_end *end)
{
	const char *body = call->error_body.data ? call->error_body.data : "";

	failure_body(&call->failure, end->status, body, call->error_body.len, call->routes[call->route].api_key);
	call->failure.f.retry_after_ms = end->retry_after_ms;
}

static void
on_end(void *ctx, const struct http_end *end)
{
	struct model_call *call = ctx;
	int rc;

	if (call->ev->at_hand != NULL)
		call->ev->at_hand(call->ctx);
	switch (end->how) {
	case HTTP_COMPLETE:
		if (end->status / 100 != 2) {
			http_failed(call, end);
			break;
		}
		rc = sse_end(&call->sse, on_sse, call);
		if (!rc && !call->reply.dead)
			rc = call->adapter->end(&call->decode);
		stream_ended(call, rc);
		return;
	case HTTP_STALLED:
		failure_broken(&call->failure, "The model provider went silent.");
		break;
	case HTTP_TOO_LARGE:
		call->reply.over = true;
		break;
	case HTTP_BROKEN:
		if (end->status / 100 > 2)
			http_failed(call, end);
		else
			failure_broken(&call->failure, "The connection to the model provider failed: %s.", end->detail);
		break;
	}
	call_fail(call);
}

static const struct http_events http_events = { .data = on_data, .end = on_end };

/* ---- attempts ---- */

static void
on_script(void *ctx, int rc)
{
	struct model_call *call = ctx;

	if (rc < 0) {
		failure_final(&call->failure, "The scripted reply is larger than allowed.");
		call_fail(call);
		return;
	}
	call_done(call, "");
}

static void
attempt_http(struct model_call *call, const struct model_route *r)
{
	AUTO(buf) struct buf url = { 0 };
	AUTO(buf) struct buf auth = { 0 };
	AUTO(buf) struct buf head = { 0 };
	struct learned *l = learned_find(call->mc, r);
	struct http_post post = { .head = &head };
	int n = 0, i = 0;

	while (call->dialects[i].adapter != call->adapter)
		i++;
	if (l)
		call->without |= l->without;
	call->adapter->url(&url, r->base_url);
	call->adapter->auth(&auth, r->api_key);
	call->adapter->head(&head, &(struct adapter_head){ .upstream = r->upstream, .max_output_tokens = call->max_output_tokens,
	    .effort = call->effort, .fast = call->fast, .geo = call->geo, .without = call->without });
	post.url = url.data;
	post.body = call->dialects[i].tail;
	if (call->adapter->header)
		post.headers[n++] = call->adapter->header;
	if (call->fast && call->adapter->fast_header)
		post.headers[n++] = call->adapter->fast_header;
	if (auth.len)
		post.headers[n++] = auth.data;
	call->xfer = http_start(call->mc->http, &post, &http_events, call);
	if (auth.len)
		explicit_bzero(auth.data, auth.len);
}

static void
attempt(struct model_call *call)
{
	const struct model_route *r;

	if (!call->nroutes) {
		failure_final(&call->failure, "No provider is configured for model %s.", call->model_id);
		call_fail(call);
		return;
	}
	r = &call->routes[call->route];
	call->failure = (struct failure){ 0 };
	reply_reset(&call->reply);
	sse_free(&call->sse);
	sse_init(&call->sse, call->mc->reply_bytes);
	decode_free(&call->decode);
	decode_init(&call->decode, &call->reply, &call->failure, r->api_key);
	buf_free(&call->error_body);
	call->error_body = (struct buf)BUF_INIT(ERROR_BODY_MAX);
	call->adapter = adapter_find(r->dialect);
	if (call->adapter) {
		attempt_http(call, r);
	} else if (!strcmp(r->dialect, "scripted")) {
		script_stop(&call->play);
		call->play = script_start(call->mc->loop, &call->script, &call->reply, on_script, call);
	} else {
		failure_final(&call->failure, "The catalogue names an unknown dialect for model %s.", call->model_id);
		call_fail(call);
	}
}

static void
on_begin(void *ctx)
{
	struct model_call *call = ctx;

	call->timer = NULL;
	attempt(call);
}

/* Write the conversation once for each dialect among the routes. */
static void
serialise(struct model_call *call, const struct model_request *asked)
{
	struct model_request copy = *asked;
	const struct model_request *rq = &copy;

	copy.blob_dir = call->mc->blob_dir;
	for (int i = 0; i < rq->nroutes; i++) {
		const struct adapter *a = adapter_find(rq->routes[i].dialect);
		int k = 0;

		if (!a) {
			if (!strcmp(rq->routes[i].dialect, "scripted") && !call->script.speech.data && !call->script.ncalls)
				script_make(&call->script, rq);
			continue;
		}
		while (call->dialects[k].adapter && call->dialects[k].adapter != a)
			k++;
		if (call->dialects[k].adapter)
			continue;
		call->dialects[k].adapter = a;
		call->dialects[k].tail = http_body_new();
		a->tail(&call->dialects[k].tail->bytes, rq);
	}
}

struct model_call *
model_start(struct model_client *mc, const struct model_request *rq, const struct model_events *ev, void *ctx)
{
	struct model_call *call = xcalloc(1, sizeof(*call));
	size_t nroutes = rq->nroutes > 0 ? (size_t)rq->nroutes : 0;

	call->mc = mc;
	call->ev = ev;
	call->ctx = ctx;
	call->nroutes = (int)nroutes;
	call->routes = xcalloc(nroutes + 1, sizeof(*call->routes));
	if (nroutes)
		memcpy(call->routes, rq->routes, nroutes * sizeof(*call->routes));
	call->model_id = xstrdup(rq->model_id);
	call->effort = xstrdup_opt(rq->effort);
	call->fast = rq->speed && strcmp(rq->speed, "fast") == 0;
	call->geo = rq->geo && strcmp(rq->geo, "global") != 0 ? xstrdup(rq->geo) : NULL;
	call->max_output_tokens = rq->max_output_tokens;
	serialise(call, rq);
	reply_init(&call->reply, mc->reply_bytes, ev, ctx);
	TAILQ_INSERT_TAIL(&mc->calls, call, all);
	call->timer = loop_after(mc->loop, 0, on_begin, call);
	return call;
}

/* ---- the client ---- */

struct model_client *
model_client_new(struct loop *loop, const struct conf *c)
{
	struct model_client *mc = xcalloc(1, sizeof(*mc));

	mc->loop = loop;
	mc->reply_bytes = (size_t)c->model_reply_bytes;
	mc->blob_dir = xstrdup(c->blob_dir);
	mc->http = http_new(loop, c->model_connect_s * 1000, c->model_stall_s * 1000, mc->reply_bytes);
	TAILQ_INIT(&mc->calls);
	return mc;
}

void
model_client_free(struct model_client **mcp)
{
	struct model_client *mc = *mcp;

	*mcp = NULL;
	if (!mc)
		return;
	while (!TAILQ_EMPTY(&mc->calls))
		call_free(TAILQ_FIRST(&mc->calls));	/* NOLINT(clang-analyzer-unix.Malloc): what is freed has left the list */
	http_free(&mc->http);
	free(mc->blob_dir);
	free(mc);
}
