/*
 * replay: see replay.h. A reply that was small is given again byte for byte; sent events are looked up, in inbox or log, and shown with
 * the stamps they had; what was too large to be kept is made anew, as the object is now. Only reads; what it fails with is the request's
 * answer.
 */
#include "replay.h"

#include <string.h>

#include "api.h"
#include "draft.h"
#include "inbox.h"
#include "route.h"
#include "session.h"

/* One event of an earlier reply, with the stamp it had there. */
static int
replay_event(struct gw_req *r, const char *line, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	size_t n = strcspn(line, " ");
	const char *text, *stamp = strncmp(line + n, " -", 2) == 0 ? NULL : arena_strndup(r->arena, line + n + 1, strcspn(line + n + 1, "\n"));
	const char *ignored;
	bool closed;

	if (event_find(r->db, r->param[0], arena_strndup(r->arena, line, n), &res, &text, &closed, &ignored, e) < 0)
		return -1;
	draft_echo(&r->out, closed ? arena_strndup(r->arena, text, draft_stem_len(text)) : text, stamp);
	return 0;
}

static int
replay_events(struct gw_req *r, const char *lines, struct err *e)
{
	if (session_exists(r->db, r->who.workspace_id, r->param[0], NULL, e) < 0)
		return -1;
	buf_str(&r->out, "{\"data\":[");
	for (const char *p = lines; *p; p = strchr(p, '\n') + 1) {
		if (p > lines)
			buf_ch(&r->out, ',');
		if (replay_event(r, p, e) < 0)
			return -1;
	}
	buf_str(&r->out, "]}");
	return 0;
}

/* A reply too large to be kept: the object as it is now. */
static int
replay_object(struct gw_req *r, const char *id, struct err *e)
{
	/* param: which one names it; those before are of the path, which is the same */
	static const struct { const char *prefix; gw_handler *get; int param; } kinds[] = {
		{ "agent_", api_agent_get, 0 }, { "env_", api_environment_get, 0 }, { "sesn_", api_session_get, 0 },
		{ "file_", api_file_get, 0 }, { "sthr_", api_thread_get, 1 }, { "vlt_", api_vault_get, 0 },
		{ "vcrd_", api_credential_get, 1 },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strncmp(id, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
			r->param[kinds[i].param] = arena_strdup(r->arena, id);	/* outlives the row: it is logged */
			if (query_parse(&query_agent_get, NULL, r->arena, &r->query, e) < 0)
				return -1;
			return kinds[i].get(r, e);
		}
	return err_fault(e, EK_INTERNAL, 0, "no way to show %s again", id);
}

int
replay_answer(struct gw_req *r, const struct dedupe_id *id, const PGresult *hit, struct err *e)
{
	struct dedupe_kept kept;
	bool same;

	err_clear(e);
	buf_reset(&r->out);
	dedupe_row(hit, id, &kept, &same);
	if (!same)
		return err_set(e, EK_CONFLICT, 0, "idempotency-key: this key was used for a request with another path or body");
	r->status = kept.status;
	if (kept.reply) {
		buf_str(&r->out, kept.reply);
		return 0;
	}
	return kept.events ? replay_events(r, kept.events, e) : replay_object(r, kept.object, e);
}

int
replay_exists(struct gw_req *r, const char *object, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	int rc;

	if (r->sent.len > 0) {
		if (DB_RUN(r->db, STMT_EVENT_FIND, &res, e, r->param[0], arena_strndup(r->arena, r->sent.data, strcspn(r->sent.data, " "))) < 0)
			return -1;
		return PQntuples(res) > 0;
	}
	rc = replay_object(r, object, e);
	return rc == 0 ? 1 : e->kind == EK_NOT_FOUND ? 0 : -1;
}
