/*
 * park: see park.h. Registrations are one-shot, so one descriptor is never in two threads. libfcgi is told that a connection is already
 * accepted and kept (ipcFd, keepConnection: public fields, stable in 2.4.x), so it parses the request that is waiting there;
 * listen_sock -1 turns its wish to accept another one into an error. Sockets stay blocking while libfcgi owns them; a peer that stalls
 * inside a request is cut by the socket's own timeouts.
 *
 * Stopping: the listening socket closes first, then requests that are already on the wire are answered (QUIET_MS without one, at most
 * DRAIN_MS in all). A crash at any point costs nginx a connection, which it retries elsewhere.
 */
#include "park.h"

#include <errno.h>
#include <grp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "xalloc.h"

#define BACKLOG 1024
#define PEER_TIMEOUT_S 30
#define QUIET_MS 50
#define DRAIN_MS 5000
#define LOOK_MS 500		/* how late a thread without work may notice that it should stop */

struct park {
	int epoll, listener;
	char path[108];
	atomic_bool stopping;
	atomic_llong stop_ms;
};

static int
watch(struct park *p, int op, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.fd = fd };

	return epoll_ctl(p->epoll, op, fd, &ev);
}

/* Bind, hand to the group and listen under a temporary name, then take the real one: whoever finds the socket can connect to it. */
static int
bind_socket(const char *path, const char *group, struct err *e)
{
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const struct group *g = NULL;
	mode_t old;
	int rc;

	if (fd < 0)
		return err_fault(e, EK_INTERNAL, errno, "socket");
	if ((size_t)snprintf(sa.sun_path, sizeof sa.sun_path, "%s.new", path) >= sizeof sa.sun_path)
		return err_fault(e, EK_INTERNAL, 0, "socket path too long: %s", path);
	if (group[0] && !(g = getgrnam(group)))
		return err_fault(e, EK_INTERNAL, 0, "no such group: %s", group);
	(void)unlink(sa.sun_path);
	old = umask(0117);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
	umask(old);
	if (rc < 0)
		return err_fault(e, EK_INTERNAL, errno, "bind %s: %s", sa.sun_path, strerror(errno));
	if (g && chown(sa.sun_path, (uid_t)-1, g->gr_gid) < 0)
		return err_fault(e, EK_INTERNAL, errno, "give %s to group %s: %s", sa.sun_path, group, strerror(errno));
	if (listen(fd, BACKLOG) < 0)
		return err_fault(e, EK_INTERNAL, errno, "listen on %s: %s", path, strerror(errno));
	if (rename(sa.sun_path, path) < 0)
		return err_fault(e, EK_INTERNAL, errno, "rename to %s: %s", path, strerror(errno));
	return steal_fd(fd);
}

struct park *
park_open(const char *socket_path, const char *group, struct err *e)
{
	int listener = bind_socket(socket_path, group, e);
	struct park *p;

	if (listener < 0)
		return NULL;
	p = xcalloc(1, sizeof *p);
	snprintf(p->path, sizeof p->path, "%s", socket_path);
	p->listener = listener;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	must(p->epoll >= 0);
	must(watch(p, EPOLL_CTL_ADD, listener) == 0);
	return p;
}

/* Take every waiting connection; each is parked until its first byte. */
static void
accept_all(struct park *p)
{
	static const struct timespec breath = { .tv_nsec = 100000000 };
	const struct timeval limit = { .tv_sec = PEER_TIMEOUT_S };
	int fd;

	/* cppcheck-suppress nullPointer ; the peer's address may be NULL */
	while ((fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		if (watch(p, EPOLL_CTL_ADD, fd) < 0)
			close(fd);
	}
	if (errno != EAGAIN && errno != EWOULDBLOCK) {
		log_warn("accept_failed", "error", strerror(errno), NULL);
		(void)nanosleep(&breath, NULL);		/* out of descriptors: the listener stays readable, do not spin */
	}
	(void)watch(p, EPOLL_CTL_MOD, p->listener);
}

static FCGX_Request *
fresh_request(void)
{
	FCGX_Request *fcgi = xcalloc(1, sizeof *fcgi);

	must(FCGX_InitRequest(fcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR) == 0);
	return fcgi;
}

/* The reply is complete: send its end, and watch for the connection's next request. */
static void
release(struct park *p, FCGX_Request *fcgi)
{
	int fd = fcgi->ipcFd;

	if (atomic_load(&p->stopping))
		fcgi->keepConnection = 0;	/* closed behind its reply, where nginx sends nothing more */
	FCGX_Finish_r(fcgi);
	if (fcgi->ipcFd >= 0) {
		fcgi->ipcFd = -1;
		if (watch(p, EPOLL_CTL_MOD, fd) < 0)
			close(fd);
	}
}

void
park_done(struct park *p, FCGX_Request *fcgi)
{
	release(p, fcgi);
	FCGX_Free(fcgi, 1);
	free(fcgi);
}

/* One request from a readable connection. Returns what to use for the next one. */
static FCGX_Request *
take(struct park *p, FCGX_Request *fcgi, int fd, bool (*handle)(void *arg, FCGX_Request *fcgi), void *arg)
{
	fcgi->ipcFd = fd;
	fcgi->keepConnection = 1;
	fcgi->listen_sock = -1;
	if (FCGX_Accept_r(fcgi) < 0) {
		fcgi->ipcFd = -1;	/* the peer closed; libfcgi has closed our end, which also left the epoll set */
		return fcgi;
	}
	if (!handle(arg, fcgi))
		return fresh_request();
	release(p, fcgi);
	return fcgi;
}

void
park_run(struct park *p, bool (*handle)(void *arg, FCGX_Request *fcgi), void (*rest)(void *arg, bool idle), void *arg)
{
	FCGX_Request *fcgi = fresh_request();
	struct epoll_event ev;
	int n;

	for (;;) {
		bool stopping = atomic_load(&p->stopping);

		if (stopping && clock_mono_ms() - atomic_load(&p->stop_ms) > DRAIN_MS)
			break;
		n = epoll_wait(p->epoll, &ev, 1, stopping ? QUIET_MS : LOOK_MS);
		if (n == 0 && stopping)
			break;
		if (n > 0 && ev.data.fd == p->listener) {
			accept_all(p);
			continue;
		}
		if (n > 0)
			fcgi = take(p, fcgi, ev.data.fd, handle, arg);
		if (n >= 0)
			rest(arg, n == 0);
	}
	FCGX_Free(fcgi, 1);
	free(fcgi);
}

void
park_stop(struct park *p)
{
	(void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->listener, NULL);
	(void)unlink(p->path);
	atomic_store(&p->stop_ms, clock_mono_ms());
	atomic_store(&p->stopping, true);
}

void
park_close(struct park **pp)
{
	struct park *p = *pp;

	if (!p)
		return;
	close(p->epoll);
	close(p->listener);
	free(p);
	*pp = NULL;
}
