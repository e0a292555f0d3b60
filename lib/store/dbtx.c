/*
 * dbtx: the transactions of the blocking client (db.h): BEGIN and COMMIT, several statements in one round trip, a transaction around a
 * caller that need not know of it.
 *
 * Promises: nothing is retried inside a transaction. A COMMIT whose answer was lost is EK_UNCERTAIN, everything before it is not. Of a
 * round trip every answer is read, also behind a failure, so that the connection can be used again. A crash leaves at most an open
 * transaction, which Postgres takes back.
 */
#include "db_in.h"

#include "db_stmts.h"
#include "failpoint.h"
#include "xalloc.h"

#define OUTER_STEPS 8	/* statements of one round trip inside an outer transaction */

bool
db_around(const struct db *db)
{
	return db->outer && !db->outer->committed;
}

static int
control(struct db *db, const char *word, struct err *e)
{
	AUTO(pgres) PGresult *r = PQsendQuery(db->conn, word) ? pgwait_answer(db->conn, &db->wait) : NULL;

	if (PQresultStatus(r) == PGRES_COMMAND_OK)
		return 0;
	if (PQstatus(db->conn) != CONNECTION_OK) {
		err_fault(e, EK_UNAVAILABLE, 0, "%s: connection lost", word);
		db_drop(db);
		return -1;
	}
	return db_result_err(r, STMT_COUNT, e);
}

int
db_begin(struct db *db, struct err *e)
{
	if (db_around(db))
		return 0;	/* the first statement opens it */
	if (db_ensure(db, e) < 0 || control(db, "BEGIN", e) < 0)
		return -1;
	db->in_tx = true;
	return 0;
}

int
db_commit(struct db *db, struct err *e)
{
	if (db_around(db))
		return db->in_tx ? db_run_steps(db, DB_STEPS_COMMIT, NULL, 0, e) : 0;
	if (!db->conn)
		return err_fault(e, EK_UNAVAILABLE, 0, "connection lost before COMMIT");
	if (FAILPOINT_ERR(DB_COMMIT, e) < 0) {
		db_rollback(db);
		return -1;
	}
	db->in_tx = false;
	if (control(db, "COMMIT", e) == 0)
		return FAILPOINT_ERR(DB_COMMITTED, e);
	if (!db->conn)
		e->kind = EK_UNCERTAIN;
	return -1;
}

static int
send_steps(PGconn *conn, int flags, const struct db_step *steps, int n)
{
	if ((flags & DB_STEPS_BEGIN) && !PQsendQueryParams(conn, "BEGIN", 0, NULL, NULL, NULL, NULL, 0))
		return -1;
	for (int i = 0; i < n; i++)
		if (!PQsendQueryPrepared(conn, db_stmts[steps[i].stmt].name, steps[i].nparams, steps[i].params, NULL, NULL, 0))
			return -1;
	if ((flags & DB_STEPS_COMMIT) && !PQsendQueryParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0))
		return -1;
	return PQpipelineSync(conn) ? 0 : -1;
}

/* The answer to the next command of a pipeline; it is followed by a NULL. */
static PGresult *
next_answer(struct db *db)
{
	PGresult *r = pgwait_result(db->conn, &db->wait);

	PQclear(r ? pgwait_result(db->conn, &db->wait) : NULL);
	return r;
}

/* *out_began: the transaction is open. Every answer up to the sync is read, also behind a failure. */
static int
read_steps(struct db *db, int flags, const struct db_step *steps, int n, bool *out_began, struct err *e)
{
	bool begin = flags & DB_STEPS_BEGIN, commit = flags & DB_STEPS_COMMIT;
	int total = n + begin + commit, rc = 0;

	for (int i = 0; i < total; i++) {
		AUTO(pgres) PGresult *r = next_answer(db);
		const struct db_step *s = i >= begin && i - begin < n ? &steps[i - begin] : NULL;
		ExecStatusType st = PQresultStatus(r);

		if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK) {
			*out_began = *out_began || (begin && i == 0);
			if (commit && i == total - 1)
				*out_began = false;
			if (s && s->out)
				*s->out = steal(r);
		} else if (rc == 0) {
			rc = db_result_err(r, s ? s->stmt : STMT_COUNT, e);
		}
	}
	PQclear(pgwait_result(db->conn, &db->wait));	/* the sync */
	return rc;
}

static int
run_steps(struct db *db, int flags, const struct db_step *steps, int n, struct err *e)
{
	bool open = db->in_tx;
	int rc;

	for (int i = 0; i < n; i++) {
		must(steps[i].stmt < STMT_COUNT && steps[i].nparams == db_stmts[steps[i].stmt].nparams);
		must((db_stmts[steps[i].stmt].users & (int)db->user) && !db_stmts[steps[i].stmt].replan);
	}
	if (!open && db_ensure(db, e) < 0)
		return -1;
	if (!db->conn)
		return err_fault(e, EK_UNAVAILABLE, 0, "connection lost inside a transaction");
	if (FAILPOINT_ERR(DB_RUN, e) < 0 || ((flags & DB_STEPS_COMMIT) && FAILPOINT_ERR(DB_COMMIT, e) < 0))
		return -1;
	for (int i = 0; i < n; i++)
		db->swollen = db->swollen || db_large(steps[i].nparams, steps[i].params);
	rc = PQenterPipelineMode(db->conn) ? send_steps(db->conn, flags, steps, n) : -1;
	if (rc == 0)
		rc = read_steps(db, flags, steps, n, &open, e);
	if (PQstatus(db->conn) != CONNECTION_OK || !PQexitPipelineMode(db->conn)) {
		err_fault(e, flags & DB_STEPS_COMMIT ? EK_UNCERTAIN : EK_UNAVAILABLE, 0, "%s: connection lost",
		    n > 0 ? db_stmts[steps[0].stmt].name : "control");
		db_drop(db);
		return -1;
	}
	db->in_tx = open;
	if (rc == 0 && (flags & DB_STEPS_COMMIT))
		return FAILPOINT_ERR(DB_COMMITTED, e);
	return rc;
}

/* A failed COMMIT leaves no transaction; what came before it in the round trip leaves a broken one. */
static int
run_around(struct db *db, int flags, const struct db_step *steps, int n, struct err *e)
{
	struct db_outer *o = db->outer;
	struct db_step all[OUTER_STEPS + 2];
	int m = 0, rc;

	must(n <= OUTER_STEPS);
	if (db->in_tx) {
		flags &= ~DB_STEPS_BEGIN;
	} else {
		flags |= DB_STEPS_BEGIN;
		if (o->first) {
			PQclear(o->hit);	/* of a transaction that was taken back */
			o->hit = NULL;
			all[m] = *o->first;
			all[m++].out = &o->hit;
		}
	}
	for (int i = 0; i < n; i++)
		all[m++] = steps[i];
	if (flags & DB_STEPS_COMMIT) {
		if (o->last(o->arg, &all[m]))
			m++;
		else if (!o->ending)
			flags &= ~DB_STEPS_COMMIT;
	}
	if (m == 0 && !(flags & DB_STEPS_COMMIT))
		return 0;
	rc = run_steps(db, flags, all, m, e);
	o->refused = rc < 0 && (flags & DB_STEPS_BEGIN) && o->first && !o->hit;
	if (o->hit && (flags & DB_STEPS_BEGIN) && PQntuples(o->hit) > 0)
		return err_set(e, EK_CONFLICT, 0, "This request has been answered already");
	o->committed = rc == 0 && (flags & DB_STEPS_COMMIT);
	return rc;
}

int
db_run_steps(struct db *db, int flags, const struct db_step *steps, int n, struct err *e)
{
	return db_around(db) ? run_around(db, flags, steps, n, e) : run_steps(db, flags, steps, n, e);
}

bool
db_alone(const struct db *db)
{
	return !db->in_tx && !(db_around(db) && db->outer->first);
}

int
db_run_alone(struct db *db, const struct db_step *step, struct err *e)
{
	must(db_alone(db));
	if (!db_around(db))
		return db_run(db, step->stmt, step->nparams, step->params, step->out, e);
	for (int runs = 1;; runs++) {
		if (db_run_steps(db, DB_STEPS_BEGIN | DB_STEPS_COMMIT, step, 1, e) == 0)
			return 0;
		if (e->kind == EK_UNCERTAIN)
			return -1;
		db_rollback(db);
		if (step->out) {
			PQclear(*step->out);	/* rows of a run whose commit failed */
			*step->out = NULL;
		}
		if (!db_again(runs, e))
			return db_no_more(e);
	}
}

void
db_outer_begin(struct db *db, struct db_outer *o)
{
	must(!db->in_tx && !db->outer);
	db->outer = o;
}

int
db_outer_end(struct db *db, struct err *e)
{
	struct db_outer *o = db->outer;
	int rc = 0;

	o->ending = true;
	if (!o->committed && db->in_tx)
		rc = run_around(db, DB_STEPS_COMMIT, NULL, 0, e);
	db_outer_drop(db);
	return rc;
}

void
db_outer_drop(struct db *db)
{
	db->outer = NULL;
	db_rollback(db);
}

void
db_rollback(struct db *db)
{
	struct err e = ERR_INIT;

	if (db->conn && db->in_tx)
		(void)control(db, "ROLLBACK", &e);	/* failing, the connection is dropped or the server has rolled back already */
	db->in_tx = false;
}
