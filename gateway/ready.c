/*
 * ready: see ready.h. The thread that finds the last verdict old looks, on its own connections: so what it finds is what a request would.
 * Nobody looks while another does, whatever the number of those that ask, and nobody waits for a look that does not come back: its being
 * late is the verdict.
 *
 * Each look is bounded: Postgres by the connection's statement timeout, Redis by REDIS_MS, roost-egress is not waited for at all. Only a
 * commit that waits for a synchronous standby is not (lib/store/health.h); it keeps one thread, and the others say what is so.
 */
#include "ready.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "blob.h"
#include "clock.h"
#include "health.h"
#include "park.h"
#include "xalloc.h"

#define FRESH_MS 1000	/* a verdict is given again for so long */
#define STALE_MS 5000	/* ... and so long while another one is being looked for */
#define LATE_MS 3000	/* a look that takes longer has found something */
#define REDIS_MS 1200

struct ready {
	const struct conf *conf;
	pthread_mutex_t lock;
	pthread_cond_t looked;		/* a look is over */
	bool looking;
	int64_t since_ms;		/* when the look under way began */
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
		park_yield();
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

	v->part[READY_gateway] = PART_OK;
	v->part[READY_redis] = state(redis_well(bus));
	v->part[READY_egress] = state(listens(c->egress_socket));
	v->part[READY_files] = state(room(c));
	v->part[READY_worker] = v->part[READY_hands] = v->part[READY_archive] = PART_UNKNOWN;
	v->part[READY_postgres] = PART_DOWN;
	v->workers = -1;
	if (health_ask(db, &h, &why) < 0)
		return;
	v->part[READY_postgres] = h.writable ? PART_OK : PART_READ_ONLY;
	v->part[READY_worker] = state(h.workers > 0);
	v->part[READY_hands] = state(h.hands);
	v->part[READY_archive] = state(!h.archive_fails);
	v->workers = h.workers;
	v->timeline = h.timeline;
}

/* --- asking ------------------------------------------------------------------------------------------------------------------ */

struct ready *
ready_new(const struct conf *c)
{
	struct ready *r = xcalloc(1, sizeof *r);
	pthread_condattr_t attr;

	r->conf = c;
	r->last.timeline = r->last.workers = -1;
	pthread_mutex_init(&r->lock, NULL);
	must(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	must(pthread_cond_init(&r->looked, &attr) == 0);
	pthread_condattr_destroy(&attr);
	return r;
}

void
ready_free(struct ready **r)
{
	if (!*r)
		return;
	pthread_cond_destroy(&(*r)->looked);
	pthread_mutex_destroy(&(*r)->lock);
	free(*r);
	*r = NULL;
}

/* The lock is held, but not meanwhile. */
static void
look_now(struct ready *r, struct db *db, struct bus *bus)
{
	struct verdict v = r->last;

	r->looking = true;
	r->since_ms = clock_mono_ms();
	pthread_mutex_unlock(&r->lock);
	look(r->conf, db, bus, &v);
	pthread_mutex_lock(&r->lock);
	r->last = v;
	r->began_ms = r->since_ms;
	r->seen_ms = clock_mono_ms();
	r->looking = false;
	pthread_cond_broadcast(&r->looked);
}

static bool
younger(const struct ready *r, int64_t ms)
{
	return r->seen_ms > 0 && clock_mono_ms() - r->seen_ms < ms;
}

/* The lock is held, but not meanwhile. False: the look is late. */
static bool
wait_for_look(struct ready *r)
{
	int64_t until = r->since_ms + LATE_MS;
	const struct timespec at = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000L };

	park_yield();
	while (r->looking && (!younger(r, STALE_MS) || clock_mono_ms() >= until))
		if (pthread_cond_timedwait(&r->looked, &r->lock, &at) == ETIMEDOUT)
			return !r->looking;
	return true;
}

void
ready_ask(struct ready *r, struct db *db, struct bus *bus, struct verdict *out)
{
	bool late = false;

	pthread_mutex_lock(&r->lock);
	if (r->looking)
		late = !wait_for_look(r);
	else if (!younger(r, FRESH_MS))
		look_now(r, db, bus);
	*out = r->last;
	out->age_ms = clock_mono_ms() - r->began_ms;
	pthread_mutex_unlock(&r->lock);
	if (!late)
		return;
	for (int i = 0; i < READY_PARTS; i++)
		out->part[i] = i == READY_gateway ? PART_OK : i == READY_postgres ? PART_DOWN : PART_UNKNOWN;
	out->workers = -1;
	out->age_ms = 0;
}
