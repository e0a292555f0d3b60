/*
 * redisq: a plain non-blocking hiredis context driven by hand (performance.md section 4): append, redisBufferWrite, redisBufferRead,
 * redisGetReplyFromReader. hiredis 0.14 has no timeouts of its own, so a timer looks whether a command waits too long.
 *
 * Promises: never blocks, replies in order, `state` alternates true/false. Anything odd (error, protocol, silence) ends the
 * connection and a new one is tried after 20 ms, doubling to 1 s. Does not resend: what was in flight is lost, its users say what
 * that means. SIGPIPE must be ignored by the process.
 */
#include "redisq.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/sds.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "replymem.h"
#include "xalloc.h"

#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 1000
#define SILENCE_MS 5000			/* a command unanswered for so long: the connection is dead */
#define UNSENT_MAX (8u << 20)
#define UNREAD_MAX 64			/* replies that may lie unread on a quiet connection */

struct redisq {
	struct loop *loop;
	const struct conf *conf;
	redisContext *rc;
	struct replymem mem;		/* the one that is being read or handed over */
	redisq_reply_fn *reply;
	redisq_state_fn *state;
	void *ctx;
	struct loop_timer *retry;	/* connect again, or bury a broken connection */
	struct loop_timer *watchdog;
	int64_t waiting_since;		/* of the oldest unanswered command, roughly */
	int64_t backoff;
	int pending;			/* commands without reply */
	int handshake;			/* replies of AUTH and PING still to come */
	struct buf command;		/* as it is being written; its memory is kept */
	struct loop_task flush;		/* what was sent while the loop served something goes out in one write */
	bool up, broken, want_out, quiet;
	bool may_hush;			/* Redis lets us ask for no replies */
	bool hushed;			/* and gives none at present */
};

static void connect_now(void *ctx);
static void replies(struct redisq *q);
static void on_event(void *ctx, int fd, uint32_t events);

int
redisq_password(const char *file, char *out, size_t size)
{
	AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || (n = read(fd, out, size - 1)) < 0)
		return -1;
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}

/* Close what is there and try again later. */
static void
lost(struct redisq *q)
{
	bool was_up = q->up;

	loop_cancel(q->loop, &q->retry);
	loop_cancel(q->loop, &q->watchdog);
	loop_not(q->loop, &q->flush);
	if (q->rc) {
		loop_unwatch(q->loop, q->rc->fd);
		redisFree(q->rc);
		q->rc = NULL;
	}
	q->up = q->broken = q->want_out = q->may_hush = q->hushed = false;
	q->pending = q->handshake = 0;
	q->retry = loop_after(q->loop, q->backoff, connect_now, q);
	q->backoff = q->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : q->backoff * 2;
	if (was_up)
		q->state(q->ctx, false);
}

static void
bury(void *ctx)
{
	struct redisq *q = ctx;

	q->retry = NULL;
	lost(q);
}

/* Mark as broken; the end comes from the loop, because a caller up the stack may be reading this connection's replies. */
static void
broken(struct redisq *q)
{
	if (q->broken || !q->rc)
		return;
	q->broken = true;
	q->retry = loop_after(q->loop, 0, bury, q);
}

void
redisq_drop(struct redisq *q)
{
	broken(q);
}

/* EPOLLRDHUP: a quiet one hears that Redis is gone all the same. */
static uint32_t
interest(const struct redisq *q)
{
	return (q->quiet && q->up ? EPOLLRDHUP : EPOLLIN) | (q->want_out ? EPOLLOUT : 0);
}

static void
on_flush(void *ctx)
{
	struct redisq *q = ctx;
	int done = 0;

	if (q->broken)
		return;
	if (redisBufferWrite(q->rc, &done) != REDIS_OK) {
		log_debug("redis_write", "error", q->rc->errstr, NULL);
		broken(q);
		return;
	}
	q->want_out = !done;
	loop_watch(q->loop, q->rc->fd, interest(q), on_event, q);
	if (q->quiet && q->pending > UNREAD_MAX)
		replies(q);
}

static void
put_arg(struct buf *out, const char *arg, size_t len)
{
	buf_put(out, "\r\n$", 3);
	buf_int(out, (int64_t)len);
	buf_put(out, "\r\n", 2);
	buf_put(out, arg, len);
}

/* hiredis would print each length by a format and grow its own text for it. */
static int
append(struct redisq *q, int argc, const char *const *argv, const size_t *len)
{
	buf_reset(&q->command);
	buf_ch(&q->command, '*');
	buf_int(&q->command, argc);
	for (int i = 0; i < argc; i++)
		put_arg(&q->command, argv[i], len ? len[i] : strlen(argv[i]));
	buf_str(&q->command, "\r\n");
	if (redisAppendFormattedCommand(q->rc, q->command.data, q->command.len) != REDIS_OK) {
		broken(q);
		return -1;
	}
	if (!q->hushed && q->pending++ == 0)
		q->waiting_since = clock_mono_ms();
	loop_soon(q->loop, &q->flush);
	return 0;
}

/* Redis answers what follows, or does not. Only ON is answered itself. */
static int
reply_mode(struct redisq *q, const char *mode)
{
	q->hushed = strcmp(mode, "OFF") == 0;
	return append(q, 3, (const char *const[]){ "CLIENT", "REPLY", mode }, NULL);
}

int
redisq_send(struct redisq *q, int argc, const char *const *argv, const size_t *len)
{
	if (!q->up || q->broken || sdslen(q->rc->obuf) > UNSENT_MAX)
		return -1;
	if (append(q, argc, argv, len) < 0)
		return -1;
	return q->may_hush && !q->hushed ? reply_mode(q, "OFF") : 0;
}

/* AUTH and PING have to succeed before anything else: PING also fails while Redis loads or the user may do nothing. */
static void
handshake(struct redisq *q)
{
	char pass[256];

	q->handshake = 0;
	if (*q->conf->redis_user) {
		if (redisq_password(q->conf->redis_pass_file, pass, sizeof pass) < 0) {
			log_debug("redis_password", "file", q->conf->redis_pass_file, "error", strerror(errno), NULL);
			broken(q);
			return;
		}
		q->handshake++;
		(void)append(q, 3, (const char *const[]){ "AUTH", q->conf->redis_user, pass }, NULL);
		explicit_bzero(pass, sizeof pass);
		explicit_bzero(q->command.data, q->command.cap);
	}
	if (!q->broken) {
		q->handshake++;
		append(q, 1, (const char *const[]){ "PING" }, NULL);
	}
	if (!q->broken && q->quiet) {
		q->handshake++;
		(void)reply_mode(q, "ON");
	}
}

static void
on_reply(struct redisq *q, const redisReply *r)
{
	q->pending--;
	q->waiting_since = clock_mono_ms();
	if (q->handshake == 0) {
		q->reply(q->ctx, r);
		return;
	}
	q->may_hush = q->quiet && q->handshake == 1 && r->type != REDIS_REPLY_ERROR;
	if (r->type == REDIS_REPLY_ERROR && !(q->quiet && q->handshake == 1)) {
		log_debug("redis_refused", "error", r->str, NULL);
		broken(q);
		return;
	}
	if (--q->handshake == 0) {
		q->up = true;
		q->backoff = BACKOFF_MIN_MS;
		loop_watch(q->loop, q->rc->fd, interest(q), on_event, q);
		q->state(q->ctx, true);
	}
}

/* Read what is there. */
static void
replies(struct redisq *q)
{
	void *r;

	if (redisBufferRead(q->rc) != REDIS_OK) {
		broken(q);
		return;
	}
	while (!q->broken) {
		if (redisGetReplyFromReader(q->rc, &r) != REDIS_OK) {
			broken(q);
			return;
		}
		if (!r)
			return;
		on_reply(q, r);
		replymem_reset(&q->mem);
	}
}

static void
on_event(void *ctx, int fd, uint32_t events)
{
	struct redisq *q = ctx;

	(void)fd;
	if (!q->broken && (events & EPOLLOUT))
		on_flush(q);
	if (!q->broken && (events & ~EPOLLOUT))
		replies(q);
}

static void
on_watchdog(void *ctx)
{
	struct redisq *q = ctx;

	q->watchdog = NULL;
	if (q->quiet && !q->broken)
		replies(q);
	if (q->hushed && !q->broken)
		(void)reply_mode(q, "ON");
	if (q->pending > 0 && clock_mono_ms() - q->waiting_since > SILENCE_MS) {
		lost(q);
		return;
	}
	q->watchdog = loop_after(q->loop, SILENCE_MS / 4, on_watchdog, q);
}

static void
connect_now(void *ctx)
{
	struct redisq *q = ctx;

	q->retry = NULL;
	q->rc = redisConnectUnixNonBlock(q->conf->redis_socket);
	if (!q->rc || q->rc->err) {
		if (q->rc)
			redisFree(q->rc);
		q->rc = NULL;
		lost(q);
		return;
	}
	fcntl(q->rc->fd, F_SETFD, FD_CLOEXEC);
	replymem_reset(&q->mem);
	replymem_use(&q->mem, q->rc);
	loop_watch(q->loop, q->rc->fd, EPOLLIN, on_event, q);
	q->watchdog = loop_after(q->loop, SILENCE_MS / 4, on_watchdog, q);
	handshake(q);
}

struct redisq *
redisq_new(struct loop *loop, const struct conf *c, redisq_reply_fn *reply, redisq_state_fn *state, void *ctx)
{
	struct redisq *q = xcalloc(1, sizeof *q);

	q->loop = loop;
	q->conf = c;
	q->reply = reply;
	q->state = state;
	q->ctx = ctx;
	q->backoff = BACKOFF_MIN_MS;
	q->flush = (struct loop_task){ .fn = on_flush, .ctx = q };
	q->retry = loop_after(loop, 0, connect_now, q);
	return q;
}

void
redisq_quiet(struct redisq *q)
{
	q->quiet = true;
}

void
redisq_free(struct redisq **qp)
{
	struct redisq *q = *qp;

	if (!q)
		return;
	*qp = NULL;
	loop_cancel(q->loop, &q->retry);
	loop_cancel(q->loop, &q->watchdog);
	loop_not(q->loop, &q->flush);
	if (q->rc) {
		loop_unwatch(q->loop, q->rc->fd);
		redisFree(q->rc);
	}
	replymem_free(&q->mem);
	buf_free(&q->command);
	free(q);
}

bool
redisq_up(const struct redisq *q)
{
	return q->up && !q->broken;
}
