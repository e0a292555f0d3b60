/* session: sessions as the API sees them. What workers do to them is theirs; both meet in sql/functions. */
#ifndef ROOST_STORE_SESSION_H
#define ROOST_STORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "db.h"
#include "err.h"
#include "id.h"

/* Strings are borrowed from the result. agent and metadata are JSON text. */
struct session_row {
	const char *id, *agent, *environment_id, *title, *metadata, *status, *created, *updated, *archived;
	int64_t active_us, duration_us;
	int64_t input, output, cache_read, cache_5m, cache_1h;	/* tokens, like spent up to the end of the latest turn (contract 9.1) */
	struct cost_spent spent;
	int64_t budget;		/* cents; 0: none */
	const char *resources;	/* JSON text of the wire's list */
	const char *outcomes;	/* JSON list, or NULL: none */
};

void session_row(const PGresult *res, int row, struct session_row *out);

/* wire_spent() of the database: "nano-dollars microseconds", NULL when some of it had no price. */
void spent_text(const char *text, struct cost_spent *out);

/* What a new session is made of. Strings are borrowed from the result; NULL or false where a row is missing. */
struct session_parts {
	bool agent, agent_archived, environment, environment_archived;
	int version;			/* 0: the agent has no such version */
	const char *agent_body, *environment_body;
	int64_t environment_us;		/* when it was changed */
};
int session_parts(struct db *db, const char *workspace, const char *agent, int version, const char *environment, PGresult **res,
    struct session_parts *out, struct err *e);

struct session_new {
	const char *workspace, *organization, *id, *agent_id, *environment_id, *key_id, *thread_id, *title, *metadata, *agent;
	int agent_version;
	int64_t budget;			/* cents; 0: none */
};
/* EK_FORBIDDEN: the organization is suspended. The caller owns *res. */
int session_create(struct db *db, const struct session_new *s, PGresult **res, struct session_row *out, struct err *e);

/* EK_NOT_FOUND "Session not found." The caller owns *res. */
int session_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_row *out, struct err *e);
/* Its primary thread and agent snapshot, borrowed from *res. EK_NOT_FOUND. */
int session_names(struct db *db, const char *workspace, const char *id, PGresult **res, const char **out_thread, const char **out_agent,
    struct err *e);
/* What it runs with: agent snapshot, body of its environment (NULL: deleted), resources. JSON text, borrowed from *res. EK_NOT_FOUND. */
struct session_setup { const char *agent, *environment, *resources; };
int session_setup(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_setup *out, struct err *e);
/* Is it there? out_thread (may be NULL) receives its primary thread. EK_NOT_FOUND. */
int session_exists(struct db *db, const char *workspace, const char *id, char out_thread[ID_MAX], struct err *e);

/* Within a transaction: the row lock and what the checks of a change need. Strings are borrowed from *res. EK_NOT_FOUND. */
struct session_locked {
	const char *status;		/* as stored: idle while work waits in the inbox */
	const char *wire_status, *thread_id, *organization_state, *title, *metadata;
	bool archived;
	int64_t inbox_events, inbox_bytes;
	int64_t budget;			/* cents; 0: none */
	struct cost_spent spent;	/* up to now, the open interval included */
	bool paused;			/* idle at its budget's cap, with work left */
};
int session_lock(struct db *db, const char *workspace, const char *id, PGresult **res, struct session_locked *out, struct err *e);
/*
 * BEGIN, session_lock(), and the calls that wait or that named (a Postgres array of tool use ids) has, as rows of action_row() (inbox.h), in
 * one round trip. After a failure call db_rollback().
 */
int session_begin(struct db *db, const char *workspace, const char *id, const char *named, PGresult **res, struct session_locked *out,
    PGresult **actions, struct err *e);
/* Within such a transaction, before an outcome is defined: is one active? The session is marked as one that has outcomes. */
int session_outcome(struct db *db, const char *workspace, const char *id, bool *out_open, struct err *e);
/* Within the same transaction. agent NULL: unchanged; budget 0: none. */
int session_put(struct db *db, const char *workspace, const char *id, const char *title, const char *metadata, const char *agent,
    int64_t budget, struct err *e);

/* Filters: NULL or 0 for none; times are microseconds as text; statuses is a Postgres array. */
struct session_filter {
	const char *agent_id, *statuses, *gt, *gte, *lt, *lte, *position;
	int64_t agent_version, limit, bytes;
	bool archived, asc;
};
/* Rows of session_row(); found as in agent_list(). The caller owns *res. */
int session_list(struct db *db, const char *workspace, const struct session_filter *f, PGresult **res, int64_t *found, struct err *e);
int64_t session_list_created(const PGresult *res, int row);

/*
 * End an idle session: the given events (ids, types, stems as in inbox.h) close its log. EK_INVALID: it is running. *res has one row per
 * event written: session_ended(). *out_done false: it was archived before.
 */
int session_archive(struct db *db, const char *workspace, const char *id, const char *const *ids, const char *const *types,
    const char *const *stems, int n, PGresult **res, bool *out_done, struct err *e);
struct session_ended { int64_t seq; const char *type, *body; };	/* type NULL: nothing was written */
void session_ended(const PGresult *res, int row, struct session_ended *out);

/* Remove an idle or terminated session's content. *out_seq numbers the session.deleted to publish. EK_NOT_FOUND, EK_INVALID (running). */
int session_delete(struct db *db, const char *workspace, const char *id, int64_t *out_seq, struct err *e);

#endif
