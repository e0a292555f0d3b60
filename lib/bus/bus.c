/*
 * bus: the blocking Redis client of request handlers.
 *
 * Promises: a call takes at most redis_timeout_ms per connect, AUTH and command, and nothing at all while the back-off runs. Any error
 * ends the connection (hiredis contexts are unusable after one); the next call after the back-off reconnects. A kept connection that
 * the server closed meanwhile (Redis restarted) is replaced once within the call: sending a hint twice is harmless. Otherwise never
 * retries: the row in Postgres is the truth and workers poll, so a lost hint costs delay only. A doorbell is not answered (where the ACL
 * refuses CLIENT REPLY its answer is read by the next call, which meets there what went wrong). Not thread safe: one per thread.
 */
#include "bus.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "entry.h"
#include "failpoint.h"
#include "redisq.h"
#include "xalloc.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000

struct bus {
	const struct conf *conf;
	redisContext *rc;
	int64_t not_before;		/* monotonic ms: fail at once until then */
	int64_t backoff;
	bool hung_up;			/* the last command failed because the server had closed the connection */
	int owed;			/* answers not read yet */
	bool may_skip;			/* Redis lets us say that a command needs no answer */
};

struct bus *
bus_open(const struct conf *c)
{
	struct bus *b = xcalloc(1, sizeof *b);

	b->conf = c;
	b->backoff = BACKOFF_MIN_MS;
	return b;
}

void
bus_close(struct bus **bp)
{
	struct bus *b = *bp;

	if (!b)
		return;
	*bp = NULL;
	if (b->rc)
		redisFree(b->rc);
	free(b);
}

/* Close, start the back-off, and say why. */
static int
fail(struct bus *b, const char *what, const char *why, struct err *e)
{
	err_fault(e, EK_UNAVAILABLE, 0, "redis %s: %s", what, why);
	if (b->rc)
		redisFree(b->rc);
	b->rc = NULL;
	b->owed = 0;
	b->not_before = clock_mono_ms() + b->backoff;
	b->backoff = b->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : b->backoff * 2;
	return -1;
}

static int
broken(struct bus *b, const char *what, struct err *e)
{
	b->hung_up = b->rc->err == REDIS_ERR_EOF || (b->rc->err == REDIS_ERR_IO && (errno == EPIPE || errno == ECONNRESET));
	return fail(b, what, b->rc->errstr, e);
}

/* The next answer. An error reply keeps the connection. */
static int
answer(struct bus *b, const char *what, struct err *e)
{
	void *got = NULL;
	redisReply *r;
	int ret = 0;

	if (redisGetReply(b->rc, &got) != REDIS_OK)
		return broken(b, what, e);
	r = got;
	if (r->type == REDIS_REPLY_ERROR)
		ret = err_fault(e, EK_UNAVAILABLE, 0, "redis %s: %s", what, r->str);
	freeReplyObject(r);
	return ret;
}

/* Read what earlier doorbells are owed; what Redis said against them is past. -1: the connection is gone. */
static int
settle(struct bus *b, struct err *e)
{
	while (b->rc && b->owed > 0) {
		b->owed--;
		if (answer(b, "doorbell", e) == 0 || b->rc)
			err_clear(e);
	}
	return b->rc ? 0 : -1;
}

/* Send one command on the open connection, and wait for its answer unless it is one that nobody waits for. */
static int
command(struct bus *b, const char *what, int argc, const char *const *argv, const size_t *len, bool wait, struct err *e)
{
	int done = 0;

	b->hung_up = false;
	if (settle(b, e) < 0)
		return -1;
	if (!wait && b->may_skip && redisAppendCommandArgv(b->rc, 3, (const char *[]){ "CLIENT", "REPLY", "SKIP" }, NULL) != REDIS_OK)
		return broken(b, what, e);
	if (redisAppendCommandArgv(b->rc, argc, (const char **)argv, len) != REDIS_OK)
		return broken(b, what, e);
	while (!done)
		if (redisBufferWrite(b->rc, &done) != REDIS_OK)
			return broken(b, what, e);
	if (wait)
		return answer(b, what, e);
	b->owed += !b->may_skip;
	return 0;
}

/* A refusal is none of the call's business; a lost connection is. */
static int
ask_to_skip(struct bus *b, struct err *e)
{
	b->may_skip = command(b, "CLIENT", 3, (const char *const[]){ "CLIENT", "REPLY", "ON" }, NULL, true, e) == 0;
	if (b->rc)
		err_clear(e);
	return b->rc ? 0 : -1;
}

static int
login(struct bus *b, struct err *e)
{
	char pass[256];
	int ret;

	if (!*b->conf->redis_user)
		return 0;
	if (redisq_password(b->conf->redis_pass_file, pass, sizeof pass) < 0)
		return fail(b, "password file", strerror(errno), e);
	ret = command(b, "AUTH", 3, (const char *const[]){ "AUTH", b->conf->redis_user, pass }, NULL, true, e);
	explicit_bzero(pass, sizeof pass);
	if (ret < 0 && b->rc)
		return fail(b, "AUTH", "refused", e);
	return ret;
}

static int
ready(struct bus *b, struct err *e)
{
	int64_t ms = b->conf->redis_timeout_ms;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (b->rc)
		return 0;
	if (clock_mono_ms() < b->not_before)
		return err_fault(e, EK_UNAVAILABLE, 0, "redis: waiting before the next try");
	b->rc = redisConnectUnixWithTimeout(b->conf->redis_socket, tv);
	if (!b->rc)
		return fail(b, "connect", "out of memory", e);
	if (b->rc->err)
		return fail(b, "connect", b->rc->errstr, e);
	fcntl(b->rc->fd, F_SETFD, FD_CLOEXEC);
	if (redisSetTimeout(b->rc, tv) != REDIS_OK)
		return fail(b, "timeout", b->rc->errstr, e);
	return login(b, e) < 0 ? -1 : ask_to_skip(b, e);
}

static int
call(struct bus *b, const char *what, int argc, const char *const *argv, const size_t *len, bool wait, struct err *e)
{
	bool kept = b->rc != NULL;

	if (ready(b, e) < 0)
		return -1;
	if (command(b, what, argc, argv, len, wait, e) < 0) {
		if (!kept || !b->hung_up)
			return -1;
		b->not_before = 0;
		if (ready(b, e) < 0 || command(b, what, argc, argv, len, wait, e) < 0)
			return -1;
	}
	b->backoff = BACKOFF_MIN_MS;
	return 0;
}

int
bus_ring(struct bus *b, const char *workspace, const char *session, const char *owner, struct err *e)
{
	struct entry_cmd cmd;

	FAILPOINT(RING);
	entry_job_cmd(&cmd, workspace, session, owner);
	return call(b, "XADD " BUS_JOBS, cmd.argc, cmd.argv, cmd.len, false, e);
}

int
bus_publish(struct bus *b, const char *session, const char *type, int64_t seq, const char *body, struct err *e)
{
	struct entry_cmd cmd;

	FAILPOINT(PUBLISH);
	entry_event_cmd(&cmd, session, type, seq, body, strlen(body));
	return call(b, "XADD " BUS_SSE, cmd.argc, cmd.argv, cmd.len, true, e);
}

int
bus_ping(struct bus *b, struct err *e)
{
	return call(b, "PING", 1, (const char *const[]){ "PING" }, NULL, true, e);
}
