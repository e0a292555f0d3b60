/*
 * ready: see ready.h. One thread with connections of its own, which sleeps until somebody asks for what is not known: what it finds is what a
 * request that begins now would. Who asks meanwhile waits with the others for the end of that look, and no thread with them.
 *
 * Each look is bounded: Redis by REDIS_MS, Postgres by LATE_MS in all (lib/store/pgwait.h), roost-egress is not waited for at all. While
 * Postgres is known to stand still (lib/store/still.h) it is not asked. A crash costs nginx the connections of those that wait.
 */
#include "ready.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "blob.h"
#include "clock.h"
#include "health.h"
#include "log.h"
#include "respond.h"
#include "xalloc.h"

#define FRESH_MS 1000	/* a verdict is given again for so long */
#define LATE_MS 3000	/* a look that would take longer has found something */
#define REDIS_MS 1200
#define WAITING_MAX 256	/* more are told what was seen last */

struct asked {
	STAILQ_ENTRY(asked) entry;
	struct gw_req req;
	FCGX_Request *fcgi;
	int64_t start_us;
};

struct ready {
	const struct conf *conf;
	struct park *park;
	struct db *db;			/* the thread's */
	struct bus *bus;
	pthread_t thread;
	pthread_mutex_t lock;		/* guards what follows */
	pthread_cond_t changed;
	bool closing;
	STAILQ_HEAD(, asked) waiting;	/* for the next look, or the one under way */
	int nwaiting;
	atomic_int pending;		/* those that have no answer yet */
	int64_t seen_ms;		/* when the look that `last` is of was over; 0: there is none */
	int64_t began_ms;		/* when that look began */
	struct verdict last;
};

const char *const ready_names[READY_PARTS] = {
#define READY(part, need) #part,
#include "ready.def"
#undef READY
};

#define NEEDED true
#define SPARED false
static const bool needed[READY_PARTS] = {
#define READY(part, need) need,
#include "ready.def"
#undef READY
};

const char *
ready_word(enum ready_state s)
{
	static const char *const words[] = { [PART_UNKNOWN] = "unknown", [PART_OK] = "ok", [PART_READ_ONLY] = "read_only", [PART_DOWN] = "down" };

	return words[s];
}

static bool
well(const struct verdict *v, bool of_needed)
{
	for (int i = 0; i < READY_PARTS; i++)
		if (needed[i] == of_needed && v->part[i] != PART_OK)
			return false;
	return true;
}

bool
ready_serves(const struct verdict *v)
{
	return well(v, true);
}

bool
ready_whole(const struct verdict *v)
{
	return well(v, true) && well(v, false);
}

/* --- looking ----------------------------------------------------------------------------------------------------------------- */

static enum ready_state
state(bool well)
{
	return well ? PART_OK : PART_DOWN;
}

/*
 * On a request's path Redis has 20 ms and a back-off after that, so one late answer on a busy machine would read as "down" here. There is
 * time to see through both: down is what does not answer for longer than the longest back-off.
 */
static bool
redis_well(struct bus *bus)
{
	struct err why = ERR_INIT;
	int64_t until = clock_mono_ms() + REDIS_MS;

	while (bus_ping(bus, &why) < 0) {
		if (clock_mono_ms() >= until)
			return false;
		usleep(20000);
	}
	return true;
}

/*
 * Does somebody listen on this stream socket? Asked without connecting, which would start a process there: a socket of another type is
 * refused as such, after the kernel has found one that is bound and that we may write to.
 */
static bool
listens(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (size_t)snprintf(to.sun_path, sizeof to.sun_path, "%s", path) >= sizeof to.sun_path)
		return false;
	return connect(fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno == EPROTOTYPE;
}

static bool
room(const struct conf *c)
{
	struct err why = ERR_INIT;

	return !c->blob_dir[0] || blob_room(c->blob_dir, 0, c->blob_spare_mb << 20, &why) == 0;
}

/* v: what was known before. */
static void
look(const struct conf *c, struct db *db, struct bus *bus, struct verdict *v)
{
	struct err why = ERR_INIT;
	struct health h;

	db_until(db, clock_mono_ms() + LATE_MS);
	v->part[READY_gateway] = PART_OK;
	v->part[READY_redis] = state(redis_well(bus));
	v->part[READY_egress] = state(listens(c->egress_socket));
	v->part[READY_files] = state(room(c));
	v->part[READY_worker] = v->part[READY_hands] = v->part[READY_archive] = PART_UNKNOWN;
	v->part[READY_postgres] = PART_DOWN;
	v->workers = -1;
	if (health_ask(db, &h, &why) < 0) {
		log_err("not_ready", &why, NULL);
		return;
	}
	v->part[READY_postgres] = h.writable ? PART_OK : PART_READ_ONLY;
	v->part[READY_worker] = state(h.workers > 0);
	v->part[READY_hands] = state(h.hands);
	v->part[READY_archive] = state(!h.archive_fails);
	v->workers = h.workers;
	v->timeline = h.timeline;
}

/* --- asking ------------------------------------------------------------------------------------------------------------------ */

/* With the lock. */
static void
last_seen(const struct ready *r, struct verdict *out)
{
	*out = r->last;
	out->age_ms = clock_mono_ms() - r->began_ms;
}

bool
ready_known(struct ready *r, struct verdict *out)
{
	bool known;

	pthread_mutex_lock(&r->lock);
	known = r->seen_ms > 0 && (clock_mono_ms() - r->seen_ms < FRESH_MS || r->nwaiting >= WAITING_MAX);
	last_seen(r, out);
	pthread_mutex_unlock(&r->lock);
	return known;
}

void
ready_take(struct ready *r, const struct gw_req *req, FCGX_Request *fcgi, int64_t start_us)
{
	struct asked *a = xcalloc(1, sizeof *a);

	*a = (struct asked){ .req = *req, .fcgi = fcgi, .start_us = start_us };
	a->req.db = NULL;	/* the thread's, which goes on without it */
	a->req.bus = NULL;
	a->req.bells = NULL;
	a->req.arena = NULL;
	atomic_fetch_add(&r->pending, 1);
	pthread_mutex_lock(&r->lock);
	STAILQ_INSERT_TAIL(&r->waiting, a, entry);
	r->nwaiting++;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

/* Look, with the lock, but not meanwhile. */
static void
look_now(struct ready *r)
{
	struct verdict v = r->last;
	int64_t began = clock_mono_ms();

	pthread_mutex_unlock(&r->lock);
	look(r->conf, r->db, r->bus, &v);
	pthread_mutex_lock(&r->lock);
	r->last = v;
	r->began_ms = began;
	r->seen_ms = clock_mono_ms();
}

/* Answer all that wait, with the lock, but not meanwhile. */
static void
answer_all(struct ready *r)
{
	STAILQ_HEAD(, asked) all = STAILQ_HEAD_INITIALIZER(all);
	struct verdict v;
	struct asked *a;

	STAILQ_CONCAT(&all, &r->waiting);
	r->nwaiting = 0;
	last_seen(r, &v);
	pthread_mutex_unlock(&r->lock);
	while ((a = STAILQ_FIRST(&all)) != NULL) {
		struct err e = ERR_INIT;

		STAILQ_REMOVE_HEAD(&all, entry);
		a->req.looks(&a->req, &v);
		respond(&a->req, a->fcgi, &e, "", a->start_us);
		park_done(r->park, a->fcgi);
		free(a);
		atomic_fetch_sub(&r->pending, 1);
	}
	pthread_mutex_lock(&r->lock);
}

static void *
ready_main(void *arg)
{
	struct ready *r = arg;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		while (STAILQ_EMPTY(&r->waiting) && !r->closing)
			pthread_cond_wait(&r->changed, &r->lock);
		if (STAILQ_EMPTY(&r->waiting))
			break;
		look_now(r);
		answer_all(r);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int
pending(void *arg)
{
	const struct ready *r = arg;

	return atomic_load(&r->pending);
}

struct ready *
ready_open(const struct conf *c, struct park *park)
{
	struct ready *r = xcalloc(1, sizeof *r);

	r->conf = c;
	r->park = park;
	r->db = db_open(c->pg_dsn, DB_GW, (int)c->pg_timeout_ms);
	r->bus = bus_open(c);
	r->last.timeline = r->last.workers = -1;
	STAILQ_INIT(&r->waiting);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	(void)park_aside(park, &(const struct park_aside){ .pending = pending, .arg = r });
	must(pthread_create(&r->thread, NULL, ready_main, r) == 0);
	return r;
}

void
ready_close(struct ready **rp)
{
	struct ready *r = *rp;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->closing = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	db_close(&r->db);
	bus_close(&r->bus);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
	*rp = NULL;
}
