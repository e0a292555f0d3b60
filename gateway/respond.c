/*
 * respond: see respond.h. An error's public text and kind become the envelope by err.def; `detail` goes to the log only. What libfcgi cannot
 * write any more (nginx has gone) is not an error: the request has had its effect.
 */
#include "respond.h"

#include <stdio.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "park.h"
#include "refusal.h"
#include "route.h"

#define HEAD_ROOM 512		/* of most replies' headers */
#define LARGE 65536		/* replies that are worth another thread's lead */

static void
envelope(struct gw_req *r, const struct err *e)
{
	buf_reset(&r->out);
	r->status = err_http(e->kind);
	refusal_body(&r->out, e, r->id);
}

static void
write_out(struct gw_req *r, FCGX_Request *fcgi, const struct err *e, const char *allow)
{
	AUTO(buf) struct buf head = BUF_INIT(8192);

	(void)buf_reserve(&head, HEAD_ROOM);
	buf_printf(&head, "Status: %d\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", r->status,
	    r->type && e->kind == EK_NONE ? r->type : "application/json", r->out.len);
	reply_headers(&head, r->id, &r->who);
	refusal_headers(&head, e);
	if (allow[0])
		buf_printf(&head, "Allow: %s\r\n", allow);
	if (r->replayed && e->kind == EK_NONE)
		buf_str(&head, "idempotent-replayed: true\r\n");
	if (r->head.len > 0 && e->kind == EK_NONE)
		buf_put(&head, r->head.data, r->head.len);
	buf_str(&head, "\r\n");
	FCGX_PutStr(head.data, (int)head.len, fcgi->out);
	FCGX_PutStr(r->out.data ? r->out.data : "", (int)r->out.len, fcgi->out);
}

static void
log_request(const struct gw_req *r, const char *method, const struct err *e, int64_t start_us)
{
	char ms[32];

	snprintf(ms, sizeof ms, "%.3f", (double)(clock_mono_us() - start_us) / 1000.0);
	log_line(r->status >= 500 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "request", "request", r->id, "method", method,
	    "route", r->route ? r->route->path : "-", "status", LOGN(r->status), "ms", ms,
	    "organization", r->who.organization_id[0] ? r->who.organization_id : NULL,
	    "workspace", r->who.workspace_id[0] ? r->who.workspace_id : NULL, "key", r->who.key_id[0] ? r->who.key_id : NULL,
	    "object", r->param[0], "replayed", r->replayed ? "true" : NULL, "error", e->kind != EK_NONE ? err_name(e->kind) : NULL,
	    "detail", e->detail[0] ? e->detail : NULL, NULL);
}

void
respond(struct gw_req *r, FCGX_Request *fcgi, struct err *e, const char *allow, int64_t start_us)
{
	const char *method = FCGX_GetParam("REQUEST_METHOD", fcgi->envp);

	if (e->kind != EK_NONE)
		envelope(r, e);
	if (r->out.len > LARGE)
		park_yield();
	FAILPOINT(GW_REPLY);
	write_out(r, fcgi, e, allow);
	FAILPOINT(GW_REPLIED);
	log_request(r, method ? method : "", e, start_us);
	json_decref(r->body);
	buf_free(&r->text);
	buf_free(&r->out);
	buf_free(&r->sent);
	buf_free(&r->head);
}
