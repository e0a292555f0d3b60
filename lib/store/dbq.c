/*
 * dbq: see dbq.h. libpq's pipeline mode on one non-blocking connection. Statements travel in groups, each closed by one sync: alone,
 * or, for those marked `joins`, together with the neighbours that queued up while the last such group was being committed. A result is
 * handed out when its group's sync has come, because only then is it committed. A group in which a statement failed was rolled back
 * whole: its statements are sent again one by one, so that the failing one takes nobody with it.
 *
 * States: DOWN (waiting to connect), CONNECTING, PREPARING (statements of this process, one sync at the end), READY. On loss every
 * sent statement is answered with EK_UNCERTAIN; those not yet sent stay queued and go out after the reconnect.
 */
#include "dbq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "db_stmts.h"
#include "failpoint.h"
#include "log.h"
#include "xalloc.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000
#define IN_FLIGHT_MAX 64	/* statements sent and unanswered; more wait here, so that neither side blocks on full socket buffers */
#define LOCK_MS 500		/* a statement that waits for a lock holds up all that are behind it: it fails, and its caller tries again */
#define GROUP_MAX 32		/* statements of one commit: beyond that the measured gain is small (performance.md section 3) */

#define LARGE (4u << 20)	/* bytes of parameters or rows after which the connection is renewed */

enum state { DOWN, CONNECTING, PREPARING, READY };

struct job {
	struct job *next;
	enum db_stmt stmt;
	dbq_late_fn *late;	/* gives statement and parameters when it is sent; NULL: they are here */
	dbq_done_fn *done;
	void *ctx;
	PGresult *res;		/* kept until the group's sync */
	bool closes;		/* its group ends here: a sync follows */
	bool joined;		/* closes, and its group may hold several */
	bool alone;		/* was in a group that failed: not joined again */
	int nparams;
	char *params[];
};

struct list { struct job *head, **tail; };

struct dbq {
	struct loop *loop;
	char *conninfo;
	enum db_user user;
	PGconn *conn;
	int fd;
	enum state state;
	struct list waiting, sent;
	struct job *unanswered;		/* the first of `sent` without a result */
	bool all_answered;		/* every statement of the oldest group has its result: its sync comes next */
	int nsent, npending;
	int joined_out;			/* joined groups sent and not yet synced: 0 or 1 */
	unsigned connections;
	int64_t backoff_ms;
	bool swollen;			/* libpq's buffers have grown */
	struct loop_timer *retry;
	struct loop_task send;		/* what queued up in this round of the loop goes out before it waits */
};

static void on_socket(void *ctx, int fd, uint32_t events);
static void connect_start(void *ctx);
static void send_waiting(void *ctx);

static void
list_put(struct list *l, struct job *j)
{
	j->next = NULL;
	*l->tail = j;
	l->tail = &j->next;
}

static struct job *
list_take(struct list *l)
{
	struct job *j = l->head;

	l->head = j->next;
	if (!l->head)
		l->tail = &l->head;
	return j;
}

static void
job_free(struct job *j)
{
	int i;

	PQclear(j->res);
	for (i = 0; i < j->nparams; i++)
		free(j->params[i]);
	free(j);
}

struct dbq *
dbq_new(struct loop *loop, const char *dsn, enum db_user user, int timeout_ms)
{
	struct dbq *q = xcalloc(1, sizeof *q);

	q->loop = loop;
	q->conninfo = db_conninfo(dsn, timeout_ms, LOCK_MS, true);
	q->user = user;
	q->fd = -1;
	q->waiting.tail = &q->waiting.head;
	q->sent.tail = &q->sent.head;
	q->backoff_ms = BACKOFF_FIRST_MS;
	q->send = (struct loop_task){ .fn = send_waiting, .ctx = q };
	q->retry = loop_after(loop, 0, connect_start, q);
	return q;
}

void
dbq_free(struct dbq **qp)
{
	struct dbq *q = *qp;

	if (!q)
		return;
	loop_cancel(q->loop, &q->retry);
	loop_not(q->loop, &q->send);
	if (q->fd >= 0)
		loop_unwatch(q->loop, q->fd);
	if (q->conn)
		PQfinish(q->conn);
	while (q->sent.head)
		job_free(list_take(&q->sent));
	while (q->waiting.head)
		job_free(list_take(&q->waiting));
	free(q->conninfo);
	free(q);
	*qp = NULL;
}

bool dbq_ready(const struct dbq *q) { return q->state == READY; }
unsigned dbq_connections(const struct dbq *q) { return q->connections; }
int dbq_pending(const struct dbq *q) { return q->npending; }

static void
watch(struct dbq *q, uint32_t events)
{
	int fd = PQsocket(q->conn);

	if (fd != q->fd && q->fd >= 0)
		loop_unwatch(q->loop, q->fd);	/* libpq may change its socket while connecting */
	q->fd = fd;
	loop_watch(q->loop, fd, events, on_socket, q);
}

/* The connection is gone: answer what was sent, reconnect later. */
static void
lost(struct dbq *q, const char *why)
{
	struct err e = ERR_INIT;
	struct list sent = q->sent;

	err_fault(&e, EK_UNCERTAIN, 0, "Postgres connection lost: %s", why);
	log_err("db_lost", &e, NULL);
	if (q->fd >= 0)
		loop_unwatch(q->loop, q->fd);
	q->fd = -1;
	PQfinish(q->conn);
	q->conn = NULL;
	q->state = DOWN;
	q->unanswered = NULL;
	q->all_answered = false;
	q->joined_out = 0;
	q->nsent = 0;
	q->sent.head = NULL;
	q->sent.tail = &q->sent.head;
	if (!q->retry)
		q->retry = loop_after(q->loop, q->backoff_ms, connect_start, q);
	q->backoff_ms = q->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : q->backoff_ms * 2;
	while (sent.head) {
		struct job *j = sent.head;

		sent.head = j->next;
		q->npending--;
		if (j->done)
			j->done(j->ctx, NULL, &e);
		job_free(j);
	}
}

/* Push libpq's output; watch for writability while some is left. */
static int
push(struct dbq *q)
{
	int left = PQflush(q->conn);

	if (left < 0) {
		lost(q, PQerrorMessage(q->conn));
		return -1;
	}
	watch(q, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return 0;
}

static bool
may_join(const struct job *j)
{
	return (j->late || db_stmts[j->stmt].joins) && !j->alone;
}

/* Its parameters are here: of what size? */
static void
weigh(struct dbq *q, const struct job *j)
{
	size_t bytes = 0;

	must(j->stmt < STMT_COUNT && j->nparams == db_stmts[j->stmt].nparams && (db_stmts[j->stmt].users & (int)q->user));
	for (int i = 0; i < j->nparams; i++)
		bytes += j->params[i] ? strlen(j->params[i]) : 0;
	q->swollen = q->swollen || bytes > LARGE;
}

static void
decide(struct dbq *q, struct job *j)
{
	j->stmt = j->late(j->ctx, j->params);
	j->late = NULL;
	j->nparams = db_stmts[j->stmt].nparams;
	must(j->nparams <= DBQ_PARAMS_MAX && db_stmts[j->stmt].joins);
	weigh(q, j);
}

/* Send the head of the queue, and with it what may share its commit. -1: connection lost. */
static int
send_group(struct dbq *q)
{
	bool joined = may_join(q->waiting.head);
	struct job *j;
	int n = 0;

	do {
		j = list_take(&q->waiting);
		if (j->late)
			decide(q, j);
		list_put(&q->sent, j);
		if (!q->unanswered)
			q->unanswered = j;
		q->nsent++;
		if (!PQsendQueryPrepared(q->conn, db_stmts[j->stmt].name, j->nparams, (const char *const *)j->params, NULL, NULL, 0)) {
			lost(q, PQerrorMessage(q->conn));
			return -1;
		}
	} while (joined && ++n < GROUP_MAX && q->waiting.head && may_join(q->waiting.head));
	j->closes = true;
	j->joined = joined;
	q->joined_out += joined;
	if (PQpipelineSync(q->conn))
		return 0;
	lost(q, PQerrorMessage(q->conn));
	return -1;
}

/*
 * Send what may go. While a joined group is being committed the next one gathers here, and what stands behind it waits with it: the
 * order of the queue is kept. Called before the loop waits: what the answers of one group led to is one group again.
 */
static void
send_waiting(void *ctx)
{
	struct dbq *q = ctx;

	if (q->state != READY)
		return;
	FAILPOINT(DBQ_SEND);
	while (q->waiting.head && q->nsent < IN_FLIGHT_MAX && !(q->joined_out && may_join(q->waiting.head)))
		if (send_group(q) < 0)
			return;
	(void)push(q);
	FAILPOINT(DBQ_SENT);
}

static void
enqueue(struct dbq *q, struct job *j, dbq_done_fn *done, void *ctx)
{
	j->done = done;
	j->ctx = ctx;
	list_put(&q->waiting, j);
	q->npending++;
	loop_soon(q->loop, &q->send);
}

void
dbq_give(struct dbq *q, enum db_stmt stmt, int nparams, char *const *params, dbq_done_fn *done, void *ctx)
{
	struct job *j = xcalloc(1, sizeof *j + (size_t)nparams * sizeof *j->params);

	j->stmt = stmt;
	j->nparams = nparams;
	for (int i = 0; i < nparams; i++)
		j->params[i] = params[i];
	weigh(q, j);
	enqueue(q, j, done, ctx);
}

void
dbq_late(struct dbq *q, dbq_late_fn *fn, dbq_done_fn *done, void *ctx)
{
	struct job *j = xcalloc(1, sizeof *j + DBQ_PARAMS_MAX * sizeof *j->params);

	j->late = fn;
	enqueue(q, j, done, ctx);
}

void
dbq_run(struct dbq *q, enum db_stmt stmt, int nparams, const char *const *params, dbq_done_fn *done, void *ctx)
{
	char *own[DBQ_PARAMS_MAX];

	must(nparams <= DBQ_PARAMS_MAX);
	for (int i = 0; i < nparams; i++)
		own[i] = xstrdup_opt(params[i]);
	dbq_give(q, stmt, nparams, own, done, ctx);
}

/* Cut the jobs of the oldest group, which its sync has just closed, off `sent`. */
static struct job *
take_group(struct dbq *q)
{
	struct job *first = q->sent.head, *last;

	for (last = first; !last->closes; last = last->next)
		q->nsent--;
	q->nsent--;
	q->joined_out -= last->joined;
	q->sent.head = last->next;
	if (!q->sent.head)
		q->sent.tail = &q->sent.head;
	last->next = NULL;
	return first;
}

static bool
succeeded(const struct job *j)
{
	ExecStatusType st = PQresultStatus(j->res);

	return st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK;
}

/* A group that failed and held several statements: each goes again by itself, before everything that waits. */
static void
again_alone(struct dbq *q, struct job *group)
{
	struct job *j, **end = &group;

	for (j = group; j; j = j->next) {
		PQclear(j->res);
		j->res = NULL;
		j->closes = j->joined = false;
		j->alone = true;
		end = &j->next;
	}
	*end = q->waiting.head;
	if (!q->waiting.head)
		q->waiting.tail = end;
	q->waiting.head = group;
}

/* The oldest group is committed, or rolled back: hand out its results. A callback may queue more or lose the connection. */
static void
finish_group(struct dbq *q)
{
	struct job *group = take_group(q), *j;
	bool ok = true;

	for (j = group; j; j = j->next)
		ok = ok && succeeded(j);
	if (!ok && group->next) {
		again_alone(q, group);
		return;
	}
	send_waiting(q);	/* what gathered meanwhile: the server works while these answers are handed out */
	while ((j = group) != NULL) {
		struct err e = ERR_INIT;

		group = j->next;
		q->npending--;
		if (!ok)
			db_result_err(j->res, j->stmt, &e);
		else if (FAILPOINT_ERR(DBQ_DONE, &e) < 0)
			e.kind = EK_UNCERTAIN;		/* it was run; nobody may know */
		if (j->done)
			j->done(j->ctx, e.kind ? NULL : j->res, e.kind ? &e : NULL);
		job_free(j);
	}
}

/* Takes one result of the pipeline: of the first statement without one, or the sync of the oldest group. -1: connection lost. */
static int
take_result(struct dbq *q, PGresult *r)
{
	struct job *j = q->unanswered;

	if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
		PQclear(r);
		must(q->all_answered);
		q->all_answered = false;
		finish_group(q);
		return 0;
	}
	if (q->all_answered) {	/* the commit itself failed: what the group's statements said is void */
		lost(q, PQresultErrorMessage(r));
		PQclear(r);
		return -1;
	}
	must(j != NULL);
	j->res = r;
	q->swollen = q->swollen || PQresultMemorySize(r) > LARGE;
	q->all_answered = j->closes;
	q->unanswered = j->next;
	return 0;
}

/* Nothing is outstanding: a new connection, with small buffers. */
static void
renew(struct dbq *q)
{
	q->swollen = false;
	loop_unwatch(q->loop, q->fd);
	q->fd = -1;
	PQfinish(q->conn);
	q->conn = NULL;
	q->state = DOWN;
	q->retry = loop_after(q->loop, 0, connect_start, q);
}

static void
read_results(struct dbq *q)
{
	PGconn *conn = q->conn;

	/* a callback may queue more, or (through push) lose the connection: then q->conn is another */
	while (q->conn == conn && q->sent.head && !PQisBusy(conn)) {
		PGresult *r = PQgetResult(conn);

		if (r && take_result(q, r) < 0)	/* NULL separates a statement's results from its sync */
			return;
	}
	if (q->conn != conn)
		return;
	loop_soon(q->loop, &q->send);
	if (q->swollen && q->npending == 0)
		renew(q);
}

static void
prepare_start(struct dbq *q)
{
	int i;

	q->state = PREPARING;
	if (PQsetnonblocking(q->conn, 1) != 0 || !PQenterPipelineMode(q->conn)) {
		lost(q, PQerrorMessage(q->conn));
		return;
	}
	for (i = 0; i < STMT_COUNT; i++)
		if ((db_stmts[i].users & (int)q->user) && !PQsendPrepare(q->conn, db_stmts[i].name, db_stmts[i].sql, 0, NULL)) {
			lost(q, PQerrorMessage(q->conn));
			return;
		}
	if (!PQpipelineSync(q->conn)) {
		lost(q, PQerrorMessage(q->conn));
		return;
	}
	(void)push(q);
}

static void
prepare_read(struct dbq *q)
{
	while (!PQisBusy(q->conn)) {
		AUTO(pgres) PGresult *r = PQgetResult(q->conn);
		ExecStatusType st = PQresultStatus(r);

		if (!r)
			continue;
		if (st == PGRES_PIPELINE_SYNC) {
			q->state = READY;
			q->connections++;
			q->backoff_ms = BACKOFF_FIRST_MS;
			loop_soon(q->loop, &q->send);
			return;
		}
		if (st != PGRES_COMMAND_OK) {
			lost(q, PQresultErrorMessage(r));
			return;
		}
	}
}

static void
connect_step(struct dbq *q)
{
	switch (PQconnectPoll(q->conn)) {
	case PGRES_POLLING_OK:
		prepare_start(q);
		break;
	case PGRES_POLLING_READING:
		watch(q, EPOLLIN);
		break;
	case PGRES_POLLING_WRITING:
		watch(q, EPOLLOUT);
		break;
	default:
		lost(q, PQerrorMessage(q->conn));
	}
}

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

static void
connect_start(void *ctx)
{
	struct dbq *q = ctx;

	q->retry = NULL;
	q->conn = PQconnectStart(q->conninfo);
	must(q->conn != NULL);
	PQsetNoticeReceiver(q->conn, quiet, NULL);
	q->state = CONNECTING;
	if (PQstatus(q->conn) == CONNECTION_BAD || PQsocket(q->conn) < 0) {
		lost(q, PQerrorMessage(q->conn));
		return;
	}
	watch(q, EPOLLOUT);
}

static void
on_socket(void *ctx, int fd, uint32_t events)
{
	struct dbq *q = ctx;

	if (q->state == CONNECTING) {
		connect_step(q);
		return;
	}
	if ((events & EPOLLOUT) && push(q) < 0)
		return;
	if (!PQconsumeInput(q->conn)) {
		lost(q, PQerrorMessage(q->conn));
		return;
	}
	if (q->state == PREPARING)
		prepare_read(q);
	else
		read_results(q);
}
