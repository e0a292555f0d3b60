/*
 * session: binds and decodes the statements on sessions. The functions that change several rows (archive, delete) run as one statement,
 * so they are one transaction even without db_begin().
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
not_found(struct err *e)
{
	return err_set(e, EK_NOT_FOUND, 0, "Session not found.");
}

void
spent_text(const char *text, struct cost_spent *out)
{
	char *rest = NULL;

	*out = (struct cost_spent){ .unpriced = text == NULL };
	if (text == NULL)
		return;
	out->token_nano = strtoll(text, &rest, 10);
	out->active_us = strtoll(rest, NULL, 10);
}

void
session_row(const PGresult *res, int row, struct session_row *out)
{
	*out = (struct session_row){ .id = pg_str(res, row, 0), .agent = pg_str(res, row, 1), .environment_id = pg_str(res, row, 2),
	    .title = pg_str(res, row, 3), .metadata = pg_str(res, row, 4), .status = pg_str(res, row, 5), .created = pg_str(res, row, 6),
	    .updated = pg_str(res, row, 7), .archived = pg_str(res, row, 8), .active_us = pg_int(res, row, 9),
	    .duration_us = pg_int(res, row, 10), .input = pg_int(res, row, 11), .output = pg_int(res, row, 12),
	    .cache_read = pg_int(res, row, 13), .cache_5m = pg_int(res, row, 14), .cache_1h = pg_int(res, row, 15),
	    .budget = pg_int(res, row, 17), .resources = pg_str(res, row, 18), .outcomes = pg_str(res, row, 19) };
	spent_text(pg_str(res, row, 16), &out->spent);
}

int
session_parts(struct db *db, const char *workspace, const char *agent, int version, const char *environment, PGresult **res,
    struct session_parts *out, struct err *e)
{
	if (DB_RUN(db, STMT_SESSION_PARTS, res, e, workspace, agent, version ? DBN(version) : NULL, environment) < 0)
		return err_wrap(e, "read agent %s and environment %s", agent, environment);
	*out = (struct session_parts){ .agent = pg_str(*res, 0, 0) != NULL, .version = (int)pg_int(*res, 0, 1),
	    .agent_body = pg_str(*res, 0, 2), .agent_archived = pg_bool(*res, 0, 3), .environment = pg_str(*res, 0, 4) != NULL,
	    .environment_archived = pg_bool(*res, 0, 5), .environment_body = pg_str(*res, 0, 6),
	    .environment_us = pg_int(*res, 0, 7) };
	return 0;
}

int
session_create(struct db *db, const struct session_new *s, PGresult **res, struct session_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_INSERT, &r, e, s->workspace, s->organization, s->id, s->agent_id, DBN(s->agent_version),
	    s->environment_id, s->key_id, s->thread_id, s->title, s->metadata, s->agent,
	    s->budget ? DBN(s->budget) : NULL) < 0)
		return err_wrap(e, "create session");
	if (PQntuples(r) == 0)
		return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
	session_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
session_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_GET, &r, e, workspace, id) < 0)
		return err_wrap(e, "get session %s", id);
	if (PQntuples(r) == 0)
		return not_found(e);
	session_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
session_names(struct db *db, const char *workspace, const char *id, PGresult **res, const char **out_thread, const char **out_agent,
    struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_NAMES, &r, e, workspace, id) < 0)
		return err_wrap(e, "get session %s", id);
	if (PQntuples(r) == 0)
		return not_found(e);
	*out_thread = pg_str(r, 0, 0);
	*out_agent = pg_str(r, 0, 1);
	*res = steal(r);
	return 0;
}

int
session_setup(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_setup *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_SETUP, &r, e, workspace, id) < 0)
		return err_wrap(e, "get agent of session %s", id);
	if (PQntuples(r) == 0)
		return not_found(e);
	*out = (struct session_setup){ .agent = pg_str(r, 0, 0), .environment = pg_str(r, 0, 1), .resources = pg_str(r, 0, 2) };
	*res = steal(r);
	return 0;
}

int
session_exists(struct db *db, const char *workspace, const char *id, char out_thread[ID_MAX], struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_EXISTS, &r, e, workspace, id) < 0)
		return err_wrap(e, "find session %s", id);
	if (PQntuples(r) == 0)
		return not_found(e);
	if (out_thread)
		snprintf(out_thread, ID_MAX, "%s", pg_str(r, 0, 0));
	return 0;
}

static int
locked_row(const PGresult *r, struct session_locked *out, struct err *e)
{
	if (PQntuples(r) == 0)
		return not_found(e);
	*out = (struct session_locked){ .status = pg_str(r, 0, 0), .wire_status = pg_str(r, 0, 1), .archived = pg_bool(r, 0, 2),
	    .thread_id = pg_str(r, 0, 3), .inbox_events = pg_int(r, 0, 4), .inbox_bytes = pg_int(r, 0, 5),
	    .organization_state = pg_str(r, 0, 6), .title = pg_str(r, 0, 7), .metadata = pg_str(r, 0, 8), .budget = pg_int(r, 0, 10),
	    .paused = pg_bool(r, 0, 12) };
	spent_text(pg_str(r, 0, 11), &out->spent);
	return 0;
}

int
session_lock(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_locked *out, struct err *e)
{
	if (DB_RUN(db, STMT_SESSION_LOCK, res, e, workspace, id) < 0)
		return err_wrap(e, "lock session %s", id);
	return locked_row(*res, out, e);
}

/* The calls are read by a statement of their own, after the lock is held: its snapshot sees what the lock's last holder wrote. */
int
session_begin(struct db *db, const char *workspace, const char *id, const char *named, PGresult **res, struct session_locked *out,
    PGresult **actions, struct err *e)
{
	const char *const of_session[] = { workspace, id }, *const of_actions[] = { id, named };
	const struct db_step steps[] = { { STMT_SESSION_LOCK, 2, of_session, res }, { STMT_ACTION_LIST, 2, of_actions, actions } };

	if (db_run_steps(db, DB_STEPS_BEGIN, steps, 2, e) < 0)
		return err_wrap(e, "lock session %s", id);
	return locked_row(*res, out, e);
}

int
session_outcome(struct db *db, const char *workspace, const char *id, bool *out_open, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_SESSION_OUTCOME, &r, e, workspace, id) < 0)
		return err_wrap(e, "look for an outcome of session %s", id);
	*out_open = PQntuples(r) > 0 && pg_bool(r, 0, 0);
	return 0;
}

int
session_put(struct db *db, const char *workspace, const char *id, const char *title, const char *metadata, const char *agent,
    int64_t budget, struct err *e)
{
	if (DB_RUN(db, STMT_SESSION_PUT, NULL, e, workspace, id, title, metadata, agent, budget ? DBN(budget) : NULL) < 0)
		return err_wrap(e, "update session %s", id);
	return 0;
}

int
session_list(struct db *db, const char *workspace, const struct session_filter *f, PGresult **res, int64_t *found, struct err *e)
{
	if (DB_RUN(db, f->asc ? STMT_SESSION_LIST_ASC : STMT_SESSION_LIST_DESC, res, e, workspace, f->agent_id,
	    f->agent_version ? DBN(f->agent_version) : NULL, f->statuses, f->archived ? "t" : "f", f->gt, f->gte, f->lt, f->lte, f->position,
	    DBN(f->limit), DBN(f->bytes)) < 0)
		return err_wrap(e, "list sessions");
	*found = PQntuples(*res) ? pg_int(*res, 0, 20) : 0;
	return 0;
}

int64_t
session_list_created(const PGresult *res, int row)
{
	return pg_int(res, row, 21);
}

int
session_archive(struct db *db, const char *workspace, const char *id, const char *const *ids, const char *const *types,
    const char *const *stems, int n, PGresult **res, bool *out_done, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *id_array = pg_array(ids, n);
	AUTO(str) char *type_array = pg_array(types, n);
	AUTO(str) char *stem_array = pg_array(stems, n);
	const char *result;

	if (DB_RUN(db, STMT_SESSION_ARCHIVE, &r, e, workspace, id, id_array, type_array, stem_array) < 0)
		return err_wrap(e, "archive session %s", id);
	result = pg_str(r, 0, 0);
	if (strcmp(result, "missing") == 0)
		return not_found(e);
	if (strcmp(result, "running") == 0)
		return err_set(e, EK_INVALID, 0, "Session %s cannot be archived while its status is \"running\". Only pending or idle sessions may "
		    "be archived.", id);
	*out_done = strcmp(result, "ok") == 0;
	*res = steal(r);
	return 0;
}

void
session_ended(const PGresult *res, int row, struct session_ended *out)
{
	*out = (struct session_ended){ .seq = pg_int(res, row, 1), .type = pg_str(res, row, 2), .body = pg_str(res, row, 3) };
}

int
session_delete(struct db *db, const char *workspace, const char *id, int64_t *out_seq, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	const char *result;

	if (DB_RUN(db, STMT_SESSION_DELETE, &r, e, workspace, id) < 0)
		return err_wrap(e, "delete session %s", id);
	result = pg_str(r, 0, 0);
	if (strcmp(result, "missing") == 0)
		return not_found(e);
	if (strcmp(result, "running") == 0)
		return err_set(e, EK_INVALID, 0,
		    "Cannot delete session while it is running. Send an interrupt event or wait for the session to complete.");
	*out_seq = pg_int(r, 0, 1);
	return 0;
}
