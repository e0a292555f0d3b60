/*
 * validate: see validate.h. One token is asked about, at most one refresh is made, and the token it gives is asked about again.
 *
 *   ask the server ── accepted ─────────────────────────► valid
 *        │  403, or 401 without a refresh token ────────► invalid
 *        │  no answer, 5xx, 429, no MCP ────────────────► unknown
 *        └─ 401 ─► refresh ── new token, stored ─► ask again (once)
 *                     ├─ rejected ──────────────────────► invalid
 *                     ├─ no answer, 5xx, nonsense ──────► unknown
 *                     ├─ another probe is at it: wait, then ask again with what it brought
 *                     └─ the customer wrote another token: ask again with that
 *
 * Every secret that passes through is made known to the scrubber before anything that a server said is shown.
 */
#include "validate.h"

#include <string.h>
#include <time.h>

#include "clock.h"
#include "failpoint.h"
#include "jw.h"
#include "log.h"
#include "mcp.h"
#include "token.h"
#include "vaultask.h"
#include "xalloc.h"

#define ROUNDS 4		/* tokens that are asked about: a refresh, and others' writes in between */
#define WAIT_MS 150
#define TYPE_SHOWN 100

enum next { STOP, AGAIN };

struct run {
	const char *probe;
	int64_t until;
	struct fetch *fetch;
	struct vaultask *vault;
	struct vault_credential cred;
	struct scrub scrub;
	bool refreshed;			/* by us */
	/* the result */
	const char *status, *refresh;	/* refresh NULL: none was tried */
	struct mcp_result mcp;
	struct token_result token;
	bool show_mcp;
};

static int64_t
left(const struct run *r)
{
	return r->until - clock_mono_ms();
}

/* --- showing ----------------------------------------------------------------------------------------------------------------- */

static void
put_response(struct jw *w, struct run *r, const struct fetch_reply *reply, bool hide)
{
	AUTO(buf) struct buf body = BUF_INIT(0);
	AUTO(buf) struct buf type = BUF_INIT(0);
	bool cut;

	jw_key(w, "http_response");
	if (reply->status == 0) {
		jw_null(w);
		return;
	}
	(void)scrub_show(&r->scrub, reply->type, strlen(reply->type), false, &type);
	if (hide) {
		buf_str(&body, reply->body.len ? "[redacted]" : "");
		cut = reply->body.len > 0;
	} else {
		cut = scrub_show(&r->scrub, reply->body.data ? reply->body.data : "", reply->body.len, reply->cut, &body);
	}
	jw_obj(w);
	jw_kint(w, "status_code", reply->status);
	jw_key(w, "content_type");
	jw_strn(w, type.data ? type.data : "", type.len < TYPE_SHOWN ? type.len : TYPE_SHOWN);
	jw_key(w, "body");
	jw_strn(w, body.data ? body.data : "", body.len);
	jw_kbool(w, "body_truncated", cut);
	jw_obj_end(w);
}

static void
put_result(struct run *r, struct buf *out)
{
	struct jw w;

	jw_begin(&w, out);
	jw_obj(&w);
	jw_kbool(&w, "has_refresh_token", r->cred.has_refresh);
	jw_kstr(&w, "status", r->status);
	jw_key(&w, "mcp_probe");
	if (r->show_mcp) {
		jw_obj(&w);
		jw_kstr(&w, "method", r->mcp.method);
		put_response(&w, r, &r->mcp.reply, false);
		jw_obj_end(&w);
	} else {
		jw_null(&w);
	}
	jw_key(&w, "refresh");
	if (r->refresh) {
		bool failed = strcmp(r->refresh, "failed") == 0;

		jw_obj(&w);
		jw_kstr(&w, "status", r->refresh);
		if (failed)	/* a success that is none may hold a token under another name */
			put_response(&w, r, &r->token.reply, r->token.reply.status < 300);
		else
			jw_knull(&w, "http_response");
		jw_obj_end(&w);
	} else {
		jw_null(&w);
	}
	jw_obj_end(&w);
	jw_end(&w);
}

/* --- deciding ---------------------------------------------------------------------------------------------------------------- */

static enum next
stop(struct run *r, const char *status)
{
	r->status = status;
	return STOP;
}

/* A new token is there: keep it. */
static int
keep(struct run *r, enum next *out, struct err *e)
{
	bool stored = false;

	if (vault_store(r->vault, r->token.access_token, r->token.refresh_token, r->token.expires_in, &stored, e) < 0)
		return err_wrap(e, "a refreshed token could not be stored");
	if (stored) {
		r->refreshed = true;
		r->refresh = "succeeded";
	}
	*out = AGAIN;
	return 0;
}

static int
exchange(struct run *r, const char *refresh_token, const char *client_secret, enum next *out, struct err *e)
{
	const struct token_ask ask = { .endpoint = r->cred.endpoint, .client_id = r->cred.client_id, .auth = r->cred.auth,
	    .refresh_token = refresh_token, .client_secret = client_secret, .scope = r->cred.scope, .resource = r->cred.resource };

	if (!ask.endpoint || !ask.client_id || !ask.auth)
		return err_fault(e, EK_INTERNAL, 0, "a refresh token without an endpoint");
	scrub_add(&r->scrub, refresh_token);
	scrub_add(&r->scrub, client_secret);
	token_result_free(&r->token);
	FAILPOINT(TOKEN);
	token_refresh(r->fetch, &ask, &r->scrub, left(r) / 2, &r->token);
	FAILPOINT(TOKEN_DONE);
	log_info("refresh", "probe", r->probe, "status", LOGN(r->token.reply.status), "why", r->token.reply.why[0] ? r->token.reply.why : NULL, NULL);
	if (r->token.outcome == TOKEN_NEW)
		return keep(r, out, e);
	r->refresh = r->token.outcome == TOKEN_NO_ANSWER ? "connect_error" : "failed";
	*out = stop(r, r->token.outcome == TOKEN_REJECTED ? "invalid" : "unknown");
	return vault_end(r->vault, e);
}

/* The server said 401. */
static int
refused(struct run *r, enum next *out, struct err *e)
{
	const struct timespec pause = { .tv_nsec = WAIT_MS * 1000000L };
	const char *refresh_token, *client_secret;
	enum vault_go go = VAULT_NONE;

	r->show_mcp = true;
	*out = stop(r, "invalid");
	if (r->refreshed)
		return 0;		/* the new token too */
	while (r->cred.has_refresh) {
		if (vault_refresh(r->vault, &go, &refresh_token, &client_secret, e) < 0)
			return -1;
		if (go != VAULT_BUSY)
			break;
		if (left(r) < WAIT_MS) {
			*out = stop(r, "unknown");
			return 0;
		}
		(void)nanosleep(&pause, NULL);
	}
	switch (go) {
	case VAULT_GO:
		return exchange(r, refresh_token, client_secret, out, e);
	case VAULT_NONE:
		r->refresh = "no_refresh_token";
		return 0;
	default:
		*out = AGAIN;
		return 0;
	}
}

/* Can it stand in a header line? */
static bool
fit_for_header(const char *token)
{
	for (; *token; token++)
		if (*token < 0x20 || *token > 0x7e)
			return false;
	return true;
}

static int
round_of(struct run *r, enum next *out, struct err *e)
{
	r->show_mcp = false;
	if (vault_release(r->vault, r->probe, &r->cred, e) < 0)
		return -1;
	scrub_add(&r->scrub, r->cred.access_token);
	if (!r->cred.access_token || !fit_for_header(r->cred.access_token)) {
		*out = stop(r, "invalid");
		return 0;
	}
	fetch_reply_free(&r->mcp.reply);
	mcp_probe(r->fetch, r->cred.url, r->cred.access_token, r->until, &r->mcp);
	log_info("asked", "probe", r->probe, "step", r->mcp.method, "status", LOGN(r->mcp.reply.status), "why",
	    r->mcp.reply.why[0] ? r->mcp.reply.why : NULL, NULL);
	if (r->mcp.verdict == MCP_UNAUTHORIZED)
		return refused(r, out, e);
	r->show_mcp = r->mcp.verdict != MCP_ACCEPTED;
	*out = stop(r, r->mcp.verdict == MCP_ACCEPTED ? "valid" : r->mcp.verdict == MCP_FORBIDDEN ? "invalid" : "unknown");
	return 0;
}

int
validate(const struct conf *c, const char *probe, struct buf *out, struct err *e)
{
	struct run r = { .probe = probe, .until = clock_mono_ms() + c->probe_s * 1000, .status = "unknown" };
	enum next next = AGAIN;
	int rc = 0;

	r.fetch = fetch_open(c, e);
	r.vault = r.fetch ? vaultask_open(c->vault_socket, r.until + 5000, e) : NULL;	/* a token that came at the last moment is still stored */
	if (!r.fetch || !r.vault)
		rc = -1;
	for (int i = 0; rc == 0 && next == AGAIN && i < ROUNDS && left(&r) > 0; i++)
		rc = round_of(&r, &next, e);
	if (rc == 0 && next == AGAIN)
		r.status = "unknown";
	if (rc == 0)
		put_result(&r, out);
	scrub_free(&r.scrub);
	fetch_reply_free(&r.mcp.reply);
	token_result_free(&r.token);
	vaultask_close(&r.vault);
	fetch_close(&r.fetch);
	return rc;
}
