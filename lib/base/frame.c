/*
 * frame: see frame.h. Reads as much as is there, hands out whole frames, keeps the rest. A frame's length is checked before its bytes
 * are awaited, so a hostile peer cannot make us allocate more than FRAME_MAX.
 */
#include "frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "xalloc.h"

#define UNSENT_MAX (16u << 20)
#define READ_STEP (64u << 10)

struct frame_conn {
	int fd;
	frame_fn *fn;
	void *ctx;
	struct buf in, out;
};

struct frame_conn *
frame_new(int fd, frame_fn *fn, void *ctx)
{
	struct frame_conn *fc = xcalloc(1, sizeof *fc);

	must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
	fc->fd = fd;
	fc->fn = fn;
	fc->ctx = ctx;
	return fc;
}

void
frame_free(struct frame_conn **fcp)
{
	struct frame_conn *fc = *fcp;

	if (!fc)
		return;
	close(fc->fd);
	buf_free(&fc->in);
	buf_free(&fc->out);
	free(fc);
	*fcp = NULL;
}

int frame_fd(const struct frame_conn *fc) { return fc->fd; }
uint32_t frame_wants(const struct frame_conn *fc) { return EPOLLIN | (fc->out.len ? (uint32_t)EPOLLOUT : 0); }

static int
flush(struct frame_conn *fc)
{
	ssize_t n;

	while (fc->out.len > 0) {
		n = send(fc->fd, fc->out.data, fc->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		buf_shift(&fc->out, (size_t)n);
	}
	return 0;
}

size_t
frame_room(const struct frame_conn *fc)
{
	const size_t left = fc->out.len + 4 < UNSENT_MAX ? UNSENT_MAX - fc->out.len - 4 : 0;

	return left < FRAME_MAX ? left : FRAME_MAX;
}

int
frame_send(struct frame_conn *fc, const char *json, size_t len, struct err *e)
{
	unsigned char head[4] = { (unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len };

	if (len > FRAME_MAX)
		return err_fault(e, EK_UNAVAILABLE, 0, "frame of %zu bytes is over the ceiling", len);
	if (fc->out.len + len + 4 > UNSENT_MAX)
		return err_fault(e, EK_UNAVAILABLE, 0, "the peer does not read");
	buf_put(&fc->out, head, 4);
	buf_put(&fc->out, json, len);
	if (flush(fc) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "the peer is gone");
	return 0;
}

static int
deliver(struct frame_conn *fc)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && fc->in.len - at >= 4) {
		const unsigned char *h = (const unsigned char *)fc->in.data + at;
		size_t len = (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
		char after;

		if (len > FRAME_MAX)
			return -1;
		if (fc->in.len - at - 4 < len)
			break;
		after = fc->in.data[at + 4 + len];
		fc->in.data[at + 4 + len] = '\0';
		rc = fc->fn(fc->ctx, fc, fc->in.data + at + 4, len);
		fc->in.data[at + 4 + len] = after;
		at += 4 + len;
	}
	buf_shift(&fc->in, at);
	return rc;
}

int
frame_on_event(struct frame_conn *fc, uint32_t events)
{
	ssize_t n;
	char *at;

	if ((events & EPOLLOUT) && flush(fc) < 0)
		return -1;
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
		return 0;
	for (;;) {
		at = buf_reserve(&fc->in, READ_STEP);
		n = recv(fc->fd, at, READ_STEP, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0)
			return -1;
		fc->in.len += (size_t)n;
		fc->in.data[fc->in.len] = '\0';
		if (deliver(fc) < 0)
			return -1;
		if ((size_t)n < READ_STEP)
			return 0;
	}
}
