/*
 * hub_io: one subscriber's descriptor.
 *
 * Promises: never blocks and never raises SIGPIPE. A slow reader holds at most queue_max bytes plus one event; then nothing more is
 * written until it has read all (what it missed is read from the log), and when it reads nothing from one ping to the next its
 * connection is closed (nginx breaks the response off, which clients answer by reconnecting). All together hold at most held_max, and
 * HELD_LITTLE each: slow readers of large events are cut beyond that. An idle stream holds no buffer. A
 * client that left is seen at once by EPOLLRDHUP when nginx closes, else by a failing write of a ping.
 */
#include "hub_io.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define HELD_LITTLE 65536		/* held by one subscriber whatever the others hold */

static void on_client(void *ctx, int fd, uint32_t events);

/* After every change of `out`. */
static void
account(struct hub_sub *s)
{
	s->io->held += (int64_t)s->out.cap - (int64_t)s->held;
	s->held = s->out.cap;
}

void
hub_io_start(struct hub_sub *s)
{
	loop_watch(s->io->loop, s->fd, EPOLLIN | EPOLLRDHUP, on_client, s);
}

void
hub_io_kill(struct hub_sub *s, const char *why)
{
	if (s->dead)
		return;
	s->dead = true;
	buf_free(&s->out);
	account(s);
	if (s->fd >= 0) {
		log_debug("stream_closed", "session", s->watch->session, "why", why, NULL);
		loop_unwatch(s->io->loop, s->fd);
		close(s->fd);
	}
	s->dead_next = s->io->dead;
	s->io->dead = s;
}

/* Throw away what the client sent. -1 when it is gone. */
static int
drain(struct hub_sub *s)
{
	char scrap[4096];
	ssize_t n;

	while ((n = recv(s->fd, scrap, sizeof scrap, MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EINTR) ? -1 : 0;
}

/* Unread bytes would turn our close into a reset for nginx. */
static void
finish(struct hub_sub *s)
{
	(void)drain(s);
	hub_io_kill(s, "ended");
}

static void
flush(struct hub_sub *s)
{
	ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		hub_io_kill(s, "write failed");
		return;
	}
	if (n > 0)
		buf_shift(&s->out, (size_t)n);
	if (s->out.len > 0)
		return;
	buf_free(&s->out);
	account(s);
	if (s->ended) {
		finish(s);
		return;
	}
	hub_io_start(s);
	if (s->choked) {
		s->choked = false;
		s->io->drained(s->io->ctx, s);
	}
}

void
hub_io_choke(struct hub_sub *s)
{
	if (s->choked)
		return;
	s->choked = true;
	s->out_mark = SIZE_MAX;
}

void
hub_io_write(struct hub_sub *s, struct buf *records)
{
	const unsigned char *head = (const unsigned char *)records->data;
	ssize_t n = 0;

	if (s->dead || s->ended)
		return;
	s->told = true;
	if (((unsigned)head[2] << 8 | head[3]) != s->request)
		hub_frame_address(records->data, records->len, s->request);
	if (s->out.len == 0)
		n = send(s->fd, records->data, records->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		hub_io_kill(s, "write failed");
		return;
	}
	n = n < 0 ? 0 : n;
	if ((size_t)n == records->len)
		return;
	buf_put(&s->out, records->data + n, records->len - (size_t)n);
	account(s);
	if (s->io->held > s->io->held_max && s->held > HELD_LITTLE) {
		log_info("stream_cut", "session", s->watch->session, "held", LOGN(s->io->held), NULL);
		hub_io_kill(s, "no room");
		return;
	}
	if ((int64_t)s->out.len > s->io->queue_max)
		hub_io_choke(s);
	loop_watch(s->io->loop, s->fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT, on_client, s);
}

void
hub_io_check(struct hub_sub *s)
{
	if (!s->choked || s->dead)
		return;
	if (s->out.len == s->out_mark) {
		log_info("stream_cut", "session", s->watch->session, "unsent", LOGN((int64_t)s->out.len), NULL);
		hub_io_kill(s, "slow reader");
	}
	s->out_mark = s->out.len;
}

void
hub_io_end(struct hub_sub *s)
{
	AUTO(buf) struct buf bytes = BUF_INIT(0);

	hub_frame_end(&bytes);
	hub_io_write(s, &bytes);
	if (s->dead)
		return;
	s->ended = true;
	if (s->out.len == 0)
		finish(s);
}

void
hub_io_goodbye(struct hub_sub *s, const char *text)
{
	AUTO(buf) struct buf bytes = BUF_INIT(0);

	hub_frame_text(&bytes, text, strlen(text));
	hub_io_write(s, &bytes);
	if (!s->dead)
		hub_io_end(s);
}

static void
on_client(void *ctx, int fd, uint32_t events)
{
	struct hub_sub *s = ctx;
	struct hub_io *io = s->io;

	if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) || ((events & EPOLLIN) && drain(s) < 0))
		hub_io_kill(s, "client gone");
	else if (events & EPOLLOUT)
		flush(s);
	io->after(io->ctx);
}
