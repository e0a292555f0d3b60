/*
 * db: see db.h. The blocking client: one connection, all statements of this process prepared when it opens.
 *
 * A connection that was lost while idle is replaced before the next statement. One that is lost under a statement fails that call (the
 * caller decides what the loss means); the next one reconnects. Inside a transaction nothing is retried; a statement that is its own
 * transaction is, after a deadlock or serialization failure. A crash here leaves at most an open transaction, which Postgres rolls back.
 */
#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "buf.h"
#include "db_stmts.h"
#include "failpoint.h"
#include "id.h"
#include "xalloc.h"

#define OUTER_STEPS 8	/* statements of one round trip inside an outer transaction */
#define RUNS 3		/* of a transaction that is taken back for another's sake */
#define AGAIN_MS 8	/* at most, times the runs so far, before the next */
#define DB_LARGE (4UL << 20)	/* bytes of one statement's parameters or rows after which the connection is renewed */

struct db {
	char *conninfo;
	enum db_user user;
	PGconn *conn;
	bool in_tx;
	struct db_outer *outer;	/* a transaction around the caller's, or NULL */
	void (*waits)(void);	/* is told before we do, or NULL */
	struct db_later *later;	/* the caller's first statement goes another way, or NULL */
	bool swollen;		/* libpq's buffers have grown and never shrink: reconnect when idle */
};

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
	return db;
}

void
db_on_wait(struct db *db, void (*waits)(void))
{
	db->waits = waits;
}

static void
drop(struct db *db)
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
	drop(db);
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
		r = PQprepare(db->conn, db_stmts[i].name, db_stmts[i].sql, 0, NULL);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			return db_result_err(r, (enum db_stmt)i, e), err_wrap(e, "prepare");
	}
	return 0;
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

static int
ensure(struct db *db, struct err *e)
{
	if (db->waits)
		db->waits();
	if (db->conn && PQstatus(db->conn) == CONNECTION_OK && !db->swollen && !db_left(db->conn))
		return 0;
	drop(db);
	db->conn = PQconnectdb(db->conninfo);
	if (PQstatus(db->conn) != CONNECTION_OK) {
		err_fault(e, EK_UNAVAILABLE, 0, "connect to Postgres: %s", PQerrorMessage(db->conn));
		drop(db);
		return -1;
	}
	PQsetNoticeReceiver(db->conn, quiet, NULL);
	if (prepare_all(db, e) < 0) {
		drop(db);
		return -1;
	}
	return 0;
}

static bool
large(int nparams, const char *const *params)
{
	size_t bytes = 0;

	for (int i = 0; i < nparams; i++)
		bytes += params[i] ? strlen(params[i]) : 0;
	return bytes > DB_LARGE;
}

/* Is there an outer transaction that has not been committed? */
static bool
around(const struct db *db)
{
	return db->outer && !db->outer->committed;
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

/* It was a transaction of its own, and has been run again already if that was of use. */
static int
no_more(struct err *e)
{
	if (e->kind == EK_UNDONE)
		e->kind = EK_UNAVAILABLE;
	return -1;
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
	if (around(db) && !tx)
		return db_run_steps(db, 0, &(const struct db_step){ stmt, nparams, params, out }, 1, e);
	if (!tx && ensure(db, e) < 0)
		return -1;
	if (!db->conn)
		return err_fault(e, EK_UNAVAILABLE, 0, "connection lost inside a transaction");
	if (FAILPOINT_ERR(DB_RUN, e) < 0)
		return -1;
	db->swollen = db->swollen || large(nparams, params);
	if (db_stmts[stmt].replan)
		r = PQexecParams(db->conn, db_stmts[stmt].sql, nparams, NULL, params, NULL, NULL, 0);
	else
		r = PQexecPrepared(db->conn, db_stmts[stmt].name, nparams, params, NULL, NULL, 0);
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
		drop(db);
		return -1;
	}
	return db_result_err(r, stmt, e);
}

int
db_run(struct db *db, enum db_stmt stmt, int nparams, const char *const *params, PGresult **out, struct err *e)
{
	bool alone = !db->in_tx && !around(db);

	for (int runs = 1;; runs++) {
		if (run_one(db, stmt, nparams, params, out, e) == 0)
			return 0;
		if (!alone)
			return -1;
		if (!db_again(runs, e))
			return no_more(e);
	}
}

static int
control(struct db *db, const char *word, struct err *e)
{
	AUTO(pgres) PGresult *r = PQexec(db->conn, word);

	if (PQresultStatus(r) == PGRES_COMMAND_OK)
		return 0;
	if (PQstatus(db->conn) != CONNECTION_OK) {
		err_fault(e, EK_UNAVAILABLE, 0, "%s: connection lost", word);
		drop(db);
		return -1;
	}
	return db_result_err(r, STMT_COUNT, e);
}

int
db_begin(struct db *db, struct err *e)
{
	if (around(db))
		return 0;	/* the first statement opens it */
	if (ensure(db, e) < 0 || control(db, "BEGIN", e) < 0)
		return -1;
	db->in_tx = true;
	return 0;
}

int
db_commit(struct db *db, struct err *e)
{
	if (around(db))
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
next_answer(PGconn *conn)
{
	PGresult *r = PQgetResult(conn);

	PQclear(r ? PQgetResult(conn) : NULL);
	return r;
}

/* *out_began: the transaction is open. Every answer up to the sync is read, also behind a failure. */
static int
read_steps(struct db *db, int flags, const struct db_step *steps, int n, bool *out_began, struct err *e)
{
	bool begin = flags & DB_STEPS_BEGIN, commit = flags & DB_STEPS_COMMIT;
	int total = n + begin + commit, rc = 0;

	for (int i = 0; i < total; i++) {
		AUTO(pgres) PGresult *r = next_answer(db->conn);
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
	PQclear(PQgetResult(db->conn));		/* the sync */
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
	if (!open && ensure(db, e) < 0)
		return -1;
	if (!db->conn)
		return err_fault(e, EK_UNAVAILABLE, 0, "connection lost inside a transaction");
	if (FAILPOINT_ERR(DB_RUN, e) < 0 || ((flags & DB_STEPS_COMMIT) && FAILPOINT_ERR(DB_COMMIT, e) < 0))
		return -1;
	for (int i = 0; i < n; i++)
		db->swollen = db->swollen || large(steps[i].nparams, steps[i].params);
	rc = PQenterPipelineMode(db->conn) ? send_steps(db->conn, flags, steps, n) : -1;
	if (rc == 0)
		rc = read_steps(db, flags, steps, n, &open, e);
	if (PQstatus(db->conn) != CONNECTION_OK || !PQexitPipelineMode(db->conn)) {
		err_fault(e, flags & DB_STEPS_COMMIT ? EK_UNCERTAIN : EK_UNAVAILABLE, 0, "%s: connection lost",
		    n > 0 ? db_stmts[steps[0].stmt].name : "control");
		drop(db);
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
	return around(db) ? run_around(db, flags, steps, n, e) : run_steps(db, flags, steps, n, e);
}

bool
db_alone(const struct db *db)
{
	return !db->in_tx && !(around(db) && db->outer->first);
}

int
db_run_alone(struct db *db, const struct db_step *step, struct err *e)
{
	must(db_alone(db));
	if (!around(db))
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
			return no_more(e);
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

const char *
pg_str(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? NULL : PQgetvalue(r, row, col);
}

int64_t
pg_int(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? 0 : strtoll(PQgetvalue(r, row, col), NULL, 10);
}

bool
pg_bool(const PGresult *r, int row, int col)
{
	return !PQgetisnull(r, row, col) && PQgetvalue(r, row, col)[0] == 't';
}

const char *
db_num(struct db_num *n, int64_t v)
{
	snprintf(n->text, sizeof n->text, "%lld", (long long)v);
	return n->text;
}

void
pg_array_item(struct buf *b, const char *item)
{
	size_t plain;

	if (!item) {
		buf_str(b, "NULL");
		return;
	}
	buf_ch(b, '"');
	for (const char *p = item; *p; p += plain) {
		if (*p == '"' || *p == '\\') {
			buf_ch(b, '\\');
			buf_ch(b, *p++);
		}
		plain = strcspn(p, "\"\\");
		buf_put(b, p, plain);
	}
	buf_ch(b, '"');
}

char *
pg_array(const char *const *items, int n)
{
	struct buf b = BUF_INIT(0);

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_ch(&b, ',');
		pg_array_item(&b, items[i]);
	}
	buf_ch(&b, '}');
	return buf_steal(&b);
}
