/*
 * ask: see ask.h. Descriptors are left blocking; each wait is a poll with what is left of the deadline, and reads and writes do not block.
 * A frame's length is checked before memory is spent on it.
 */
#include "ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "clock.h"
#include "frame.h"

#define NAP_MS 50	/* between two attempts to reach somebody */

int
ask_connect(const char *socket_path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(socket_path) >= sizeof addr.sun_path)
		return err_fault(e, EK_UNAVAILABLE, 0, "socket path %s is too long", socket_path);
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", socket_path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "connect to %s: %s", socket_path, strerror(errno));
	return steal_fd(fd);
}

int
ask_reach(const char *socket_path, int64_t until, struct err *e)
{
	const struct timespec nap = { .tv_nsec = NAP_MS * 1000000L };
	int64_t now = clock_mono_ms(), end = until - now > ASK_REACH_MS ? now + ASK_REACH_MS : until;
	int fd;

	while ((fd = ask_connect(socket_path, e)) < 0 && clock_mono_ms() + NAP_MS < end) {
		err_clear(e);
		(void)nanosleep(&nap, NULL);
	}
	return fd;
}

static int
await(int fd, short events, int64_t deadline, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left;
	int n;

	do {
		left = deadline - clock_mono_ms();
		n = left > 0 ? poll(&p, 1, (int)left) : 0;
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : err_fault(e, EK_TIMEOUT, n < 0 ? errno : 0, "no answer in time");
}

static int
send_all(int fd, const char *p, size_t len, int64_t deadline, struct err *e)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (await(fd, POLLOUT, deadline, e) < 0)
				return -1;
		} else if (n == 0 || errno != EINTR) {
			return err_fault(e, EK_UNAVAILABLE, errno, "the peer is gone");
		}
	}
	return 0;
}

int
ask_send(int fd, const char *json, size_t len, int64_t deadline, struct err *e)
{
	char head[4] = { (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len };

	if (len > FRAME_MAX)
		return err_fault(e, EK_TOO_LARGE, 0, "a frame of %zu bytes", len);
	return send_all(fd, head, sizeof head, deadline, e) < 0 ? -1 : send_all(fd, json, len, deadline, e);
}

static int
recv_all(int fd, char *to, size_t len, int64_t deadline, struct err *e)
{
	while (len > 0) {
		ssize_t n = recv(fd, to, len, MSG_DONTWAIT);

		if (n > 0) {
			to += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (await(fd, POLLIN, deadline, e) < 0)
				return -1;
		} else if (n == 0 || errno != EINTR) {
			return err_fault(e, EK_UNAVAILABLE, n < 0 ? errno : 0, "the peer is gone");
		}
	}
	return 0;
}

int
ask_recv(int fd, size_t max, int64_t deadline, struct buf *out, struct err *e)
{
	unsigned char head[4];
	size_t len;
	char *at;

	buf_reset(out);
	if (recv_all(fd, (char *)head, sizeof head, deadline, e) < 0)
		return -1;
	len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	if (len > max || (at = buf_reserve(out, len)) == NULL)
		return err_fault(e, EK_TOO_LARGE, 0, "a frame of %zu bytes", len);
	if (recv_all(fd, at, len, deadline, e) < 0)
		return -1;
	out->len = len;
	out->data[len] = '\0';
	return 0;
}

void
ask_refuse(struct buf *out, enum err_kind kind)
{
	buf_reset(out);
	buf_printf(out, "{\"error\":\"%s\"}", err_name(kind));
}

int
ask_refused(const json_t *reply, struct err *e)
{
	const char *name = jx_str(reply, "error");

	if (!name)
		return 0;
	for (int kind = EK_NONE + 1; kind < EK_COUNT; kind++)
		if (strcmp(name, err_name((enum err_kind)kind)) == 0)
			return err_fault(e, (enum err_kind)kind, 0, "the answer: %s", name);
	return err_fault(e, EK_INTERNAL, 0, "the answer: %.40s", name);
}

int
ask_json(int fd, const char *question, size_t max, int64_t until, json_t **out, struct err *e)
{
	AUTO(buf) struct buf answer = { .max = max, .secret = true };
	AUTO(json) json_t *doc = NULL;
	struct err quoting = ERR_INIT, unsent = ERR_INIT;

	/* who is too busy says so before it reads, and may be gone by now */
	(void)ask_send(fd, question, strlen(question), until, &unsent);
	if (ask_recv(fd, max, until, &answer, e) < 0)
		return -1;
	if (jx_parse(answer.data, answer.len, &doc, &quoting) < 0 || !json_is_object(doc))
		return err_fault(e, EK_INTERNAL, 0, "the answer is no JSON object");
	if (ask_refused(doc, e) < 0)
		return -1;
	*out = steal(doc);
	return 0;
}
