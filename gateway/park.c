/*
 * park: see park.h. Registrations are one-shot, so one descriptor is never in two threads. libfcgi is told that a connection is already
 * accepted and kept (ipcFd, keepConnection: public fields, stable in 2.4.x), so it parses the request that is waiting there;
 * listen_sock -1 turns its wish to accept another one into an error. Sockets stay blocking while libfcgi owns them; a peer that stalls
 * inside a request is cut by the socket's own timeouts.
 *
 * One thread leads, that is, waits for what happens, and goes on leading while nothing keeps it: requests that come together are then
 * answered one after the other by a thread that is awake, instead of each waking another one that finds nothing more to do (a third of
 * what a GET cost). Before it waits for anything else it opens the turnstile, behind which the others sleep: the next event lets one of
 * them through, to lead; without one the thread itself goes on leading when it is back, and nobody was woken. One that is held up all the
 * same (a peer that stalls inside a request) is joined by another one after STALL_MS to STALL_MS + LOOK_MS.
 *
 * When nobody has led for SPARE_MS and nobody is free to, all are held. The spare thread looks for that now and then, takes what is there
 * without waiting for more, and leaves a word of what is for others only (asides, nudges). What it keeps is the first that a free thread does.
 *
 * Stopping: all wait for what happens; the listening socket takes nobody more, then requests that are already on the wire are answered, also
 * on connections that nobody had looked at yet (QUIET_MS without one, at most DRAIN_MS in all). A crash at any point costs nginx a
 * connection, which it retries elsewhere.
 */
#include "park.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
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
#define GATHER_MAX 16		/* events that what is gathered waits for at most */
#define STALL_MS 100		/* a leader that is at one request for so long is held up */
#define SPARE_MS 100
#define SPARE_EVENTS 512	/* of one round */
#define KEPT_MAX 256		/* some 25 kB each */
#define ASIDE_SHIFT 32		/* beside a descriptor in the set: which of the asides it belongs to, from 1; 0: nginx's */
#define AWAITED_MS 20		/* as LOOK_MS, while requests that were given away are waited for: something may be late */

struct kept {
	STAILQ_ENTRY(kept) entry;
	FCGX_Request *fcgi;
};

struct park {
	int epoll, listener;
	int nudge;			/* always readable: watched once for each nudge */
	int turnstile;			/* an epoll set that holds the other: reports once, when it is open and something happens there */
	struct park_aside asides[PARK_ASIDES];
	int nasides;
	char path[108];
	atomic_bool stopping;
	atomic_llong stop_ms;
	pthread_mutex_t lock;		/* guards led, the turnstile and changes of term */
	bool led;
	atomic_uint term;		/* who came last to lead has this number */
	atomic_llong busy_ms;		/* since when the leader has been at what happened; 0: it waits */
	atomic_int free;		/* threads behind the turnstile */
	STAILQ_HEAD(, kept) kept;	/* under the lock */
	atomic_int nkept;
	atomic_bool spare;		/* there is a spare thread */
};

static _Thread_local struct park *leading;	/* the park that this thread leads, unless it has been held up and replaced */
static _Thread_local unsigned leading_term;
static _Thread_local int gathered;	/* events that this thread has taken while something was gathered */

/* Nobody leads, or who does is held up. */
static bool
needed(struct park *p)
{
	long long since = atomic_load(&p->busy_ms);

	return !p->led || (since && clock_mono_ms() - since > STALL_MS);
}

static bool
replaced(struct park *p)
{
	return leading_term != atomic_load(&p->term);
}

bool
park_leads(const struct park *p)
{
	return leading == p && !replaced(leading);
}

static void
turnstile_set(struct park *p, bool open)
{
	struct epoll_event ev = { .events = (open ? EPOLLIN : 0U) | EPOLLONESHOT };

	(void)epoll_ctl(p->turnstile, EPOLL_CTL_MOD, p->epoll, &ev);
}

static bool
try_to_lead(struct park *p)
{
	bool may;

	pthread_mutex_lock(&p->lock);
	may = needed(p);
	if (may) {
		if (!p->led)
			turnstile_set(p, false);
		leading = p;
		leading_term = atomic_fetch_add(&p->term, 1) + 1;
		p->led = true;
		atomic_store(&p->busy_ms, 0);
	}
	pthread_mutex_unlock(&p->lock);
	return may;
}

/* Lead, once there is need for it. */
static void
lead(struct park *p)
{
	struct epoll_event ev;

	if (leading && !replaced(p))
		return;
	leading = NULL;
	while (!atomic_load(&p->stopping) && !try_to_lead(p)) {
		atomic_fetch_add(&p->free, 1);
		(void)epoll_wait(p->turnstile, &ev, 1, LOOK_MS);
		atomic_fetch_sub(&p->free, 1);
	}
}

/* Requests that were given away, or may yet be kept, and are waited for. */
static bool
awaited(const struct park *p)
{
	/* the spare thread first: what it keeps, it keeps before it has gone */
	if ((atomic_load(&p->spare) && atomic_load(&p->stopping)) || atomic_load(&p->nkept) > 0)
		return true;
	for (int i = 0; i < p->nasides; i++)
		if (p->asides[i].pending(p->asides[i].arg) > 0)
			return true;
	return false;
}

static bool
gathers(const struct park *p)
{
	for (int i = 0; i < p->nasides; i++)
		if (p->asides[i].gathers && p->asides[i].gathers(p->asides[i].arg))
			return true;
	return false;
}

static void
flush(const struct park *p)
{
	for (int i = 0; i < p->nasides; i++)
		if (p->asides[i].flush)
			p->asides[i].flush(p->asides[i].arg);
}

void
park_yield(void)
{
	struct park *p = leading;

	if (!p)
		return;
	leading = NULL;
	flush(p);
	pthread_mutex_lock(&p->lock);
	if (!replaced(p)) {
		p->led = false;
		atomic_store(&p->busy_ms, 0);
		turnstile_set(p, true);
	}
	pthread_mutex_unlock(&p->lock);
}

/* Since when the leader is at what happened; 0: it waits again. */
static void
note_busy(struct park *p, int64_t since)
{
	if (leading && !replaced(p))
		atomic_store(&p->busy_ms, since);
}

static int
watch(struct park *p, int op, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.u64 = (uint64_t)fd };

	return epoll_ctl(p->epoll, op, fd, &ev);
}

struct park_seat
park_aside(struct park *p, const struct park_aside *a)
{
	must(p->nasides < PARK_ASIDES);
	p->asides[p->nasides] = *a;
	return (struct park_seat){ p, ++p->nasides };
}

void
park_aside_watch(void *seat, int fd, bool fresh)
{
	const struct park_seat *s = seat;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)fd | (uint64_t)s->aside << ASIDE_SHIFT };

	(void)epoll_ctl(s->park->epoll, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev);
}

void
park_nudge(struct park *p)
{
	(void)watch(p, EPOLL_CTL_MOD, p->nudge);
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
	pthread_mutex_init(&p->lock, NULL);
	STAILQ_INIT(&p->kept);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->turnstile = epoll_create1(EPOLL_CLOEXEC);
	p->nudge = eventfd(1, EFD_CLOEXEC);
	must(p->epoll >= 0 && p->turnstile >= 0 && p->nudge >= 0);
	must(epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->nudge, &(struct epoll_event){ .events = EPOLLONESHOT, .data.u64 = (uint64_t)p->nudge }) == 0);
	must(epoll_ctl(p->turnstile, EPOLL_CTL_ADD, p->epoll, &(struct epoll_event){ .events = EPOLLONESHOT }) == 0);
	must(watch(p, EPOLL_CTL_ADD, listener) == 0);
	return p;
}

/* Take every waiting connection; each is parked until its first byte. errno says why there is no more. */
static void
take_connections(struct park *p)
{
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
}

static void
accept_all(struct park *p)
{
	static const struct timespec breath = { .tv_nsec = 100000000 };

	take_connections(p);
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

/* One request from a readable connection. */
static bool
accept_request(FCGX_Request *fcgi, int fd)
{
	fcgi->ipcFd = fd;
	fcgi->keepConnection = 1;
	fcgi->listen_sock = -1;
	if (FCGX_Accept_r(fcgi) == 0)
		return true;
	fcgi->ipcFd = -1;	/* the peer closed; libfcgi has closed our end, which also left the epoll set */
	return false;
}

/* Returns what to use for the next one. */
static FCGX_Request *
take(struct park *p, FCGX_Request *fcgi, int fd, bool (*handle)(void *arg, FCGX_Request *fcgi), void *arg)
{
	if (!accept_request(fcgi, fd))
		return fcgi;
	if (!handle(arg, fcgi))
		return fresh_request();
	release(p, fcgi);
	return fcgi;
}

/* --- while all are held ------------------------------------------------------------------------------------------------------ */

static void
keep(struct park *p, FCGX_Request *fcgi)
{
	struct kept *k = xcalloc(1, sizeof *k);

	k->fcgi = fcgi;
	pthread_mutex_lock(&p->lock);
	STAILQ_INSERT_TAIL(&p->kept, k, entry);
	atomic_fetch_add(&p->nkept, 1);
	pthread_mutex_unlock(&p->lock);
	park_nudge(p);		/* somebody may be free by now */
}

/* The oldest that has been kept, or NULL. Another thread comes for the next one. */
static FCGX_Request *
take_kept(struct park *p)
{
	FCGX_Request *fcgi = NULL;
	struct kept *k;
	bool more;

	if (atomic_load(&p->nkept) == 0)
		return NULL;
	pthread_mutex_lock(&p->lock);
	k = STAILQ_FIRST(&p->kept);
	if (k) {
		STAILQ_REMOVE_HEAD(&p->kept, entry);
		atomic_fetch_sub(&p->nkept, 1);
		fcgi = k->fcgi;
		free(k);
	}
	more = !STAILQ_EMPTY(&p->kept);
	pthread_mutex_unlock(&p->lock);
	if (more)
		park_nudge(p);
	return fcgi;
}

static bool
held(struct park *p)
{
	bool h;

	pthread_mutex_lock(&p->lock);
	h = needed(p) && atomic_load(&p->free) == 0;
	pthread_mutex_unlock(&p->lock);
	return h;
}

/* Returns what to use for the next one. */
static FCGX_Request *
take_spare(struct park *p, FCGX_Request *fcgi, int fd, enum park_spare (*handle)(void *arg, FCGX_Request *fcgi, bool full), void *arg)
{
	if (!accept_request(fcgi, fd))
		return fcgi;
	switch (handle(arg, fcgi, atomic_load(&p->nkept) >= KEPT_MAX)) {
	case PARK_ANSWERED:
		release(p, fcgi);
		return fcgi;
	case PARK_KEPT:
		keep(p, fcgi);
		return fresh_request();
	case PARK_GIVEN:
	default:
		return fresh_request();
	}
}

/* Lead, but wait for nothing, and no longer than until somebody is free. */
static FCGX_Request *
spare_round(struct park *p, FCGX_Request *fcgi, enum park_spare (*handle)(void *arg, FCGX_Request *fcgi, bool full), void *arg)
{
	bool nudged = false;
	struct epoll_event ev;

	if (!try_to_lead(p))
		return fcgi;
	for (int n = 0; n < SPARE_EVENTS && park_leads(p) && atomic_load(&p->free) == 0 && epoll_wait(p->epoll, &ev, 1, 0) > 0; n++) {
		note_busy(p, clock_mono_ms());
		if (ev.data.u64 == (uint64_t)p->listener)
			accept_all(p);
		else if (ev.data.u64 != (uint64_t)p->nudge && ev.data.u64 >> ASIDE_SHIFT == 0)
			fcgi = take_spare(p, fcgi, (int)ev.data.u64, handle, arg);
		else
			nudged = true;
		if (ev.data.u64 >> ASIDE_SHIFT)
			p->asides[(ev.data.u64 >> ASIDE_SHIFT) - 1].note(p->asides[(ev.data.u64 >> ASIDE_SHIFT) - 1].arg);
	}
	if (nudged)
		park_nudge(p);
	park_yield();
	return fcgi;
}

void
park_spare_run(struct park *p, enum park_spare (*handle)(void *arg, FCGX_Request *fcgi, bool full), void *arg)
{
	const struct timespec now_and_then = { .tv_nsec = SPARE_MS * 1000000L };
	FCGX_Request *fcgi = fresh_request();
	unsigned term = 0;
	bool before = false;

	atomic_store(&p->spare, true);
	while (!atomic_load(&p->stopping)) {
		unsigned at = atomic_load(&p->term);
		bool now = held(p);

		if (now && before && at == term)
			fcgi = spare_round(p, fcgi, handle, arg);
		before = now;
		term = atomic_load(&p->term);
		(void)nanosleep(&now_and_then, NULL);
	}
	atomic_store(&p->spare, false);
	FCGX_Free(fcgi, 1);
	free(fcgi);
}

/* --- the threads -------------------------------------------------------------------------------------------------------------- */

/* Wait for what happens next. What is gathered leaves as soon as nothing is there. */
static int
next_event(struct park *p, struct epoll_event *ev, bool stopping)
{
	int ms = stopping ? QUIET_MS : LOOK_MS, n;

	if (gathers(p)) {
		n = gathered++ < GATHER_MAX ? epoll_wait(p->epoll, ev, 1, 0) : 0;
		if (n != 0)
			return n;
		flush(p);
	}
	gathered = 0;
	return epoll_wait(p->epoll, ev, 1, awaited(p) ? AWAITED_MS : ms);
}

void
park_run(struct park *p, bool (*handle)(void *arg, FCGX_Request *fcgi), void (*rest)(void *arg, bool idle), void *arg)
{
	FCGX_Request *fcgi = fresh_request(), *kept;
	struct epoll_event ev;
	int n;

	for (;;) {
		bool stopping = atomic_load(&p->stopping);
		uint64_t aside;

		if ((kept = take_kept(p)) != NULL) {
			note_busy(p, clock_mono_ms());
			if (handle(arg, kept))
				park_done(p, kept);
			rest(arg, false);
		}
		if (!stopping)
			lead(p);
		if (stopping && clock_mono_ms() - atomic_load(&p->stop_ms) > DRAIN_MS)
			break;
		note_busy(p, 0);
		n = next_event(p, &ev, stopping);
		if (n > 0)
			note_busy(p, clock_mono_ms());
		if (n == 0 && stopping && !awaited(p))
			break;
		aside = n > 0 ? ev.data.u64 >> ASIDE_SHIFT : 0;
		if (n > 0 && ev.data.u64 == (uint64_t)p->listener) {
			accept_all(p);
			continue;
		}
		if (aside)
			p->asides[aside - 1].ready(p->asides[aside - 1].arg, arg);
		else if (n > 0 && ev.data.u64 != (uint64_t)p->nudge)
			fcgi = take(p, fcgi, (int)ev.data.u64, handle, arg);
		if (n >= 0)
			rest(arg, n == 0);
	}
	park_yield();
	FCGX_Free(fcgi, 1);
	free(fcgi);
}

void
park_stop(struct park *p)
{
	(void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->listener, NULL);
	(void)unlink(p->path);
	(void)shutdown(p->listener, SHUT_RD);	/* who comes now is refused, and asks elsewhere; who has come is answered */
	take_connections(p);
	atomic_store(&p->stop_ms, clock_mono_ms());
	atomic_store(&p->stopping, true);
}

void
park_close(struct park **pp)
{
	struct park *p = *pp;

	if (!p)
		return;
	while (!STAILQ_EMPTY(&p->kept)) {	/* what came too late */
		struct kept *k = STAILQ_FIRST(&p->kept);

		STAILQ_REMOVE_HEAD(&p->kept, entry);
		FCGX_Free(k->fcgi, 1);
		free(k->fcgi);
		free(k);
	}
	close(p->turnstile);
	close(p->nudge);
	close(p->epoll);
	close(p->listener);
	pthread_mutex_destroy(&p->lock);
	free(p);
	*pp = NULL;
}
