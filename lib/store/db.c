/*
 * db: see db.h. The blocking client: one connection, all statements of this process prepared when it opens, one statement at a time;
 * transactions are dbtx.c's.
 *
 * A connection that was lost while idle is replaced before the next statement. One that is lost under a statement, or given up because no
 * answer comes, fails that call (the caller decides what the loss means); the next one reconnects. A statement that is its own transaction is run again after a deadlock or
 * serialization failure. A crash here leaves at most an open transaction, which Postgres rolls back.
 */
#include "db_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "db_stmts.h"
#include "failpoint.h"
#include "id.h"
#include "still.h"
#include "xalloc.h"

#define RUNS 3		/* of a transaction that is taken back for another's sake */
#define AGAIN_MS 8	/* at most, times the runs so far, before the next */

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

struct db *
db_open(const char *dsn, enum db_user user, int timeout_ms)
{
	struct db *db = xcalloc(1, sizeof *db);

	db->conninfo = db_conninfo(dsn, timeout_ms, 0, false);
	db->user = user;
	db->wait = pgwait_of(timeout_ms);
	return db;
}

void
db_patience(struct db *db, int timeout_ms)
{
	db->wait = pgwait_of(timeout_ms);
}

void
db_until(struct db *db, int64_t mono_ms)
{
	db->wait.until_ms = mono_ms;
}

void
db_insist(struct db *db, int64_t mono_ms)
{
	db->insists = true;
	db->wait.until_ms = mono_ms;
	db->wait.gave_up = false;
}

bool
db_gave_up(const struct db *db)
{
	return db->wait.gave_up;
}

void
db_on_wait(struct db *db, void (*waits)(void))
{
	db->waits = waits;
}

void
db_drop(struct db *db)
{
	if (db->conn)
		PQfinish(db->conn);
	db->conn = NULL;
	db->in_tx = db->swollen = false;
}

void
db_close(struct db **dbp)
{
	struct db *db = *dbp;

	if (!db)
		return;
	db_drop(db);
	free(db->conninfo);
	free(db);
	*dbp = NULL;
}

static int
prepare_all(struct db *db, struct err *e)
{
	int i;

	for (i = 0; i < STMT_COUNT; i++) {
		AUTO(pgres) PGresult *r = NULL;

		if (!(db_stmts[i].users & (int)db->user) || db_stmts[i].replan)
			continue;
		r = pgwait_prepare(db->conn, db_stmts[i].name, db_stmts[i].sql, &db->wait);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			return db_result_err(r, (enum db_stmt)i, e), err_wrap(e, "prepare");
	}
	return 0;
}

bool
db_large(int nparams, const char *const *params)
{
	size_t bytes = 0;

	for (int i = 0; i < nparams; i++)
		bytes += params[i] ? strlen(params[i]) : 0;
	return bytes > DB_LARGE;
}

bool
db_left(PGconn *conn)
{
	char c;

	while (recv(PQsocket(conn), &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
		if (!PQconsumeInput(conn) || PQstatus(conn) != CONNECTION_OK)
			return true;
	return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
}

int
db_ensure(struct db *db, struct err *e)
{
	if (still_stands() && !db->insists)
		return err_fault(e, EK_UNAVAILABLE, 0, "Postgres stands still");
	if (db->waits)
		db->waits();
	if (db->conn && PQstatus(db->conn) == CONNECTION_OK && !db->swollen && !db_left(db->conn))
		return 0;
	db_drop(db);
	db->conn = pgwait_connect(db->conninfo, &db->wait);
	if (PQstatus(db->conn) != CONNECTION_OK) {
		err_fault(e, EK_UNAVAILABLE, 0, "connect to Postgres: %s", db->wait.gave_up ? "no answer" : PQerrorMessage(db->conn));
		db_drop(db);
		return -1;
	}
	PQsetNoticeReceiver(db->conn, quiet, NULL);
	if (prepare_all(db, e) < 0) {
		db_drop(db);
		return -1;
	}
	return 0;
}

static void
note_later(struct db_later *l, enum db_stmt stmt, int nparams, const char *const *params)
{
	size_t size = 1;
	char *to;

	for (int i = 0; i < nparams; i++)
		size += params[i] ? strlen(params[i]) + 1 : 0;
	to = l->text = xmalloc(size);
	for (int i = 0; i < nparams; i++) {
		l->params[i] = params[i] ? to : NULL;
		to = params[i] ? stpcpy(to, params[i]) + 1 : to;
	}
	l->stmt = stmt;
	l->nparams = nparams;
	l->asked = true;
}

/* Returns 1 when the statement has its result, -1 when it has been noted, 0 when it is to be run. */
static int
run_later(struct db *db, enum db_stmt stmt, int nparams, const char *const *params, PGresult **out, struct err *e)
{
	struct db_later *l = db->later;
	bool again = l->asked && l->stmt == stmt && nparams == l->nparams;

	db->later = NULL;
	for (int i = 0; again && i < nparams; i++)
		again = params[i] && l->params[i] ? strcmp(params[i], l->params[i]) == 0 : params[i] == l->params[i];
	if (l->res && again) {
		if (out)
			*out = steal(l->res);
		return 1;
	}
	if (l->asked || !db_stmts[stmt].shared || nparams > DB_LATER_PARAMS || !db->conn) {
		l->refused = l->only;
		return l->only ? err_fault(e, EK_UNAVAILABLE, 0, "%s: has no other way", db_stmts[stmt].name) : 0;
	}
	note_later(l, stmt, nparams, params);
	return err_fault(e, EK_UNAVAILABLE, 0, "%s: goes another way", db_stmts[stmt].name);
}

void
db_later_begin(struct db *db, struct db_later *l)
{
	must(!db->in_tx && !db->outer);
	db->later = l->res || l->only || db->conn ? l : NULL;
}

void
db_later_end(struct db *db)
{
	db->later = NULL;
}

void
db_later_free(struct db_later *l)
{
	free(l->text);
	l->text = NULL;
	PQclear(l->res);
	l->res = NULL;
}

bool
db_again(int runs, struct err *e)
{
	struct timespec wait = { 0 };
	unsigned char noise[2];

	if (e->kind != EK_UNDONE || runs >= RUNS)
		return false;
	err_clear(e);
	id_noise(noise, sizeof noise);
	wait.tv_nsec = (long)(noise[0] << 8 | noise[1]) * AGAIN_MS * runs * 1000000L / 65536;
	nanosleep(&wait, NULL);
	return true;
}

int
db_no_more(struct err *e)
{
	if (e->kind == EK_UNDONE)
		e->kind = EK_UNAVAILABLE;
	return -1;
}

/* NULL: it could not be sent. */
static PGresult *
answer_to(struct db *db, enum db_stmt stmt, int nparams, const char *const *params)
{
	const struct db_stmt_def *s = &db_stmts[stmt];
	int sent = s->replan ? PQsendQueryParams(db->conn, s->sql, nparams, NULL, params, NULL, NULL, 0)
			     : PQsendQueryPrepared(db->conn, s->name, nparams, params, NULL, NULL, 0);

	return sent ? pgwait_answer(db->conn, &db->wait) : NULL;
}

static int
run_one(struct db *db, enum db_stmt stmt, int nparams, const char *const *params, PGresult **out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	ExecStatusType st;
	bool tx = db->in_tx;
	int later;

	must(stmt < STMT_COUNT && nparams == db_stmts[stmt].nparams);
	must(db_stmts[stmt].users & (int)db->user);
	if (db->later && (later = run_later(db, stmt, nparams, params, out, e)) != 0)
		return later > 0 ? 0 : -1;
	if (db_around(db) && !tx)
		return db_run_steps(db, 0, &(const struct db_step){ stmt, nparams, params, out }, 1, e);
	if (!tx && db_ensure(db, e) < 0)
		return -1;
	if (!db->conn)
		return err_fault(e, EK_UNAVAILABLE, 0, "connection lost inside a transaction");
	if (FAILPOINT_ERR(DB_RUN, e) < 0)
		return -1;
	db->swollen = db->swollen || db_large(nparams, params);
	r = answer_to(db, stmt, nparams, params);
	st = PQresultStatus(r);
	db->swollen = db->swollen || PQresultMemorySize(r) > DB_LARGE;
	FAILPOINT(DB_RAN);
	if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK) {
		if (out)
			*out = steal(r);
		return 0;
	}
	if (PQstatus(db->conn) != CONNECTION_OK) {
		/* alone, the statement was its own transaction: it may have been committed */
		err_fault(e, tx ? EK_UNAVAILABLE : EK_UNCERTAIN, 0, "%s: connection lost: %s", db_stmts[stmt].name, PQerrorMessage(db->conn));
		db_drop(db);
		return -1;
	}
	return db_result_err(r, stmt, e);
}

int
db_run(struct db *db, enum db_stmt stmt, int nparams, const char *const *params, PGresult **out, struct err *e)
{
	bool alone = !db->in_tx && !db_around(db);

	for (int runs = 1;; runs++) {
		if (run_one(db, stmt, nparams, params, out, e) == 0)
			return 0;
		if (!alone)
			return -1;
		if (!db_again(runs, e))
			return db_no_more(e);
	}
}
