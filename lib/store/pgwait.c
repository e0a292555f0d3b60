/*
 * pgwait: see pgwait.h. What libpq does in its blocking calls, by the same system calls (send, poll, recv), but for the time that poll() is
 * given. Nobody is asked to cancel what is given up: whoever would have to answer that stands still as well.
 *
 * A socket that is shut down reads as ended: libpq finds its connection lost by itself, and all that it knows of what was under way comes out
 * of it in the usual way. A crash leaves a connection whose backend ends as with any other.
 */
#include "pgwait.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "clock.h"
#include "log.h"
#include "still.h"

#define CONNECT_MS 3000

int
pgwait_bound(int timeout_ms)
{
	return timeout_ms + timeout_ms / 5 + 500;
}

struct pgwait
pgwait_of(int timeout_ms)
{
	return (struct pgwait){ .suspect_ms = timeout_ms / 2, .bound_ms = pgwait_bound(timeout_ms) };
}

void
pgwait_give_up(PGconn *conn)
{
	if (PQsocket(conn) < 0)
		return;
	(void)shutdown(PQsocket(conn), SHUT_RDWR);
	while (PQstatus(conn) == CONNECTION_OK && PQconsumeInput(conn))
		continue;
}

/* What is left of ms before w's end. */
static int
left(const struct pgwait *w, int ms)
{
	int64_t rest = w->until_ms ? w->until_ms - clock_mono_ms() : ms;

	return rest < 0 ? 0 : rest < ms ? (int)rest : ms;
}

static int
poll_for(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	return n;
}

/* False: it is not ready, and will not be waited for any longer. */
static bool
ready(PGconn *conn, short events, struct pgwait *w)
{
	int first = w->suspect_ms < w->bound_ms ? w->suspect_ms : w->bound_ms;

	if (poll_for(PQsocket(conn), events, left(w, first)) != 0)
		return true;
	still_suspect();
	return poll_for(PQsocket(conn), events, left(w, w->bound_ms - first)) != 0;
}

static void
give_up(PGconn *conn, struct pgwait *w)
{
	log_warn("postgres_given_up", "backend", LOGN(PQbackendPID(conn)), NULL);
	w->gave_up = true;
	pgwait_give_up(conn);
}

PGconn *
pgwait_connect(const char *conninfo, struct pgwait *w)
{
	struct pgwait mine = { .suspect_ms = CONNECT_MS, .bound_ms = CONNECT_MS, .until_ms = clock_mono_ms() + CONNECT_MS };
	PGconn *conn = PQconnectStart(conninfo);
	PostgresPollingStatusType st = PGRES_POLLING_WRITING;

	if (w->until_ms && w->until_ms < mine.until_ms)
		mine.until_ms = w->until_ms;
	w->gave_up = false;
	while (PQstatus(conn) != CONNECTION_BAD && (st == PGRES_POLLING_WRITING || st == PGRES_POLLING_READING)) {
		if (!ready(conn, st == PGRES_POLLING_READING ? POLLIN : POLLOUT, &mine)) {
			give_up(conn, w);
			break;
		}
		st = PQconnectPoll(conn);
	}
	if (PQstatus(conn) == CONNECTION_OK)
		(void)PQsetnonblocking(conn, 1);
	return conn;
}

PGresult *
pgwait_result(PGconn *conn, struct pgwait *w)
{
	while (PQstatus(conn) == CONNECTION_OK && PQisBusy(conn)) {
		int unsent = PQflush(conn);

		if (unsent < 0)
			break;
		if (!ready(conn, unsent ? POLLIN | POLLOUT : POLLIN, w)) {
			give_up(conn, w);
			break;
		}
		if (!PQconsumeInput(conn))
			break;
	}
	return PQgetResult(conn);
}

PGresult *
pgwait_answer(PGconn *conn, struct pgwait *w)
{
	PGresult *r = pgwait_result(conn, w), *next;

	while (r && PQstatus(conn) == CONNECTION_OK && (next = pgwait_result(conn, w)) != NULL) {
		PQclear(r);
		r = next;
	}
	return r;
}

PGresult *
pgwait_prepare(PGconn *conn, const char *name, const char *sql, struct pgwait *w)
{
	return PQsendPrepare(conn, name, sql, 0, NULL) ? pgwait_answer(conn, w) : NULL;
}
