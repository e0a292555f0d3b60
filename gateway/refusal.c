/*
 * refusal: see refusal.h. Writes public text only: `detail` never gets here. Statuses, types, codes and what is said about trying again
 * come from err.def and errcode.def; nothing here knows a particular error.
 */
#include "refusal.h"

#include "jw.h"

#define RETRY_AFTER_S 1

void
reply_headers(struct buf *out, const char *request_id, const struct tenant_key *who)
{
	buf_printf(out, "request-id: %s\r\n", request_id);
	if (who->organization_id[0])
		buf_printf(out, "anthropic-organization-id: %s\r\n", who->organization_id);
	if (who->workspace_id[0])
		buf_printf(out, "anthropic-workspace-id: %s\r\n", who->workspace_id);
}

void
refusal_headers(struct buf *out, const struct err *e)
{
	switch (err_retry(e)) {
	case RETRY_KIND:
	case RETRY_FINAL:
	case RETRY_OPEN:
		break;
	case RETRY_NEVER:
		buf_str(out, "x-should-retry: false\r\n");
		break;
	case RETRY_AGAIN:
		buf_str(out, "x-should-retry: true\r\n");
		/* fallthrough */
	case RETRY_AFTER:
		buf_printf(out, "retry-after: %d\r\n", RETRY_AFTER_S);
	}
}

void
refusal_body(struct buf *out, const struct err *e, const char *request_id)
{
	struct jw w;

	jw_begin(&w, out);
	jw_obj(&w);
	jw_kstr(&w, "type", "error");
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "type", err_type(e->kind));
	jw_kstr(&w, "message", e->pub);
	if (e->code != EC_NONE) {
		jw_key(&w, "details");
		jw_obj(&w);
		jw_kstr(&w, "error_code", err_code_name(e->code));
		jw_obj_end(&w);
	}
	jw_obj_end(&w);
	jw_kstr(&w, "request_id", request_id);
	jw_obj_end(&w);
	jw_end(&w);
}
