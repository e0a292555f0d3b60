/*
 * upload: see upload.h. One thread with a small stack per upload; it blocks in reads of the FastCGI connection, whose socket has its own
 * timeout, and ends at the latest after upload_s, sooner when its client is slower than upload_pace. How many there are is limited, per
 * process and per organization. When the bytes are kept, it borrows one of a few database connections for the rest, so that a thousand slow
 * uploads need none.
 *
 * Memory: one multipart buffer and libfcgi's, whatever the file's size. A crash or a cut leaves a file in the store's tmp/, which is swept.
 * A blob whose row was refused, or whose request was answered by an earlier attempt, is removed when the database says that no row
 * names it; when it cannot say so, the sweep of strays finds it.
 */
#include "upload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "respond.h"
#include "arena.h"
#include "clock.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "multipart.h"
#include "once.h"
#include "route.h"
#include "serve.h"
#include "shape.h"
#include "xalloc.h"

#define STACK (256 << 10)
#define FINISHERS 2
#define ARENA (4UL << 20)
#define AROUND (1L << 20)	/* bytes of a body that are not the file's */

struct upload {
	struct uploads *all;
	struct upload *next;
	FCGX_Request *fcgi;
	struct gw_req r;
	int64_t start_us, deadline_ms, total, announced;	/* announced -1: not told */
	int64_t waited_ms, judged;	/* for the client since its pace was last looked at; bytes that had come then */
	struct multipart mp;
	struct multipart_part part;
	struct blob_writer blob;
	struct upload_file file;
	bool have_file, have_expires;
};

struct uploads {
	const struct gw *gw;
	struct park *park;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* one ended, or a finisher is free */
	struct upload *list;
	int n;				/* threads: more than are on the list while some end */
	bool busy[FINISHERS];
	struct gw_thread finisher[FINISHERS];
};

static const char *
param(const struct upload *u, const char *name)
{
	return FCGX_GetParam(name, u->fcgi->envp);
}

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

/*
 * A client that keeps a slot and sends next to nothing. Only waits for it count, not what the disk takes: those since the last look are
 * added up, and at upload_grace_s together must have brought upload_pace bytes for each second. A burst does not buy a long silence.
 */
static bool
too_slow(struct upload *u, int64_t before_ms, struct err *e)
{
	const struct conf *c = u->r.conf;
	int64_t now = clock_mono_ms();
	bool slow = now > u->deadline_ms;

	u->waited_ms += now - before_ms;
	if (u->waited_ms >= c->upload_grace_s * 1000) {
		slow |= u->total - u->judged < u->waited_ms / 1000 * c->upload_pace;
		u->waited_ms = 0;
		u->judged = u->total;
	}
	if (slow)
		err_set(e, EK_SLOW, 0, "The request took too long to arrive: at least %lld bytes per second, all within %lld s.",
		    (long long)c->upload_pace, (long long)c->upload_s);
	return slow;
}

/* What one read of the socket gives: FCGX_GetStr() would wait for all of len, however slowly it comes. */
static ssize_t
from_client(void *arg, char *to, size_t len, struct err *e)
{
	struct upload *u = arg;
	FCGX_Stream *in = u->fcgi->in;
	int64_t before = clock_mono_ms();
	size_t n;
	int c;

	c = FCGX_GetChar(in);
	if (c < 0) {
		if (FCGX_GetError(in) != 0 || (u->announced >= 0 && u->total != u->announced))
			return err_set(e, EK_INVALID, 0, "Failed to parse request body: incomplete body");
		return 0;
	}
	to[0] = (char)c;
	n = (size_t)(in->stop - in->rdNext);
	n = n < len - 1 ? n : len - 1;
	memcpy(to + 1, in->rdNext, n);
	in->rdNext += n;
	u->total += (int64_t)n + 1;
	if (u->total > u->r.conf->file_max + AROUND)
		return err_set(e, EK_TOO_LARGE, 0, "Request exceeds the maximum allowed number of bytes (%lld).",
		    (long long)(u->r.conf->file_max + AROUND));
	if (too_slow(u, before, e))
		return -1;
	return (ssize_t)n + 1;
}

static int
read_file(struct upload *u, struct err *e)
{
	const struct conf *c = u->r.conf;
	const char *data = NULL;
	ssize_t n;

	if (u->have_file)
		return err_set(e, EK_INVALID, 0, "file: given more than once");
	u->have_file = true;
	if (!mime_essence(u->part.type, u->file.mime) || strcmp(u->file.mime, MIME_ANY) == 0)
		snprintf(u->file.mime, sizeof u->file.mime, "%s", mime_of_name(u->part.filename));
	if (filename_clean(u->part.filename, u->file.mime, u->file.filename, e) < 0 || blob_create(c->blob_dir, &u->blob, e) < 0)
		return -1;
	while ((n = multipart_data(&u->mp, &data, e)) > 0) {
		if (u->blob.size + n > c->file_max)
			return err_set(e, EK_TOO_LARGE, 0, "file: larger than the maximum of %lld bytes", (long long)c->file_max);
		if (u->blob.size / (64L << 20) != (u->blob.size + n) / (64L << 20) && blob_room(c->blob_dir, 0, c->blob_spare_mb << 20, e) < 0)
			return -1;
		if (blob_write(&u->blob, data, (size_t)n, e) < 0)
			return -1;
	}
	return n < 0 ? -1 : 0;
}

static int
read_expires(struct upload *u, struct err *e)
{
	char text[24];
	size_t len = 0;
	const char *data = NULL;
	ssize_t n;

	if (u->have_expires)
		return err_set(e, EK_INVALID, 0, "expires_in_seconds: given more than once");
	u->have_expires = true;
	while ((n = multipart_data(&u->mp, &data, e)) > 0) {
		if (len + (size_t)n >= sizeof text)
			return err_set(e, EK_INVALID, 0, "expires_in_seconds: expected an integer");
		memcpy(text + len, data, (size_t)n);
		len += (size_t)n;
	}
	if (n < 0)
		return -1;
	text[len] = '\0';
	if (strlen(text) != len)
		return err_set(e, EK_INVALID, 0, "expires_in_seconds: expected an integer");
	return shape_part_int(&shape_file_upload, "expires_in_seconds", text, &u->file.expires_s, e);
}

/* The whole body; afterwards the blob is kept. */
static int
receive(struct upload *u, struct err *e)
{
	int rc;

	while ((rc = multipart_next(&u->mp, &u->part, e)) > 0)
		if ((strcmp(u->part.name, "file") == 0 && read_file(u, e) < 0) ||
		    (strcmp(u->part.name, "expires_in_seconds") == 0 && read_expires(u, e) < 0))
			return -1;
	if (rc < 0)
		return -1;
	if (!u->have_file)
		return err_set(e, EK_INVALID, 0, "file: Field required");
	u->file.size = u->blob.size;
	memcpy(u->file.blob, u->blob.id, sizeof u->file.blob);
	return blob_keep(&u->blob, u->file.sha, e);
}

/* --- finishing -------------------------------------------------------------------------------------------------------------- */

static struct gw_thread *
finisher_get(struct uploads *all)
{
	int i;

	pthread_mutex_lock(&all->lock);
	for (;;) {
		for (i = 0; i < FINISHERS && all->busy[i]; i++)
			continue;
		if (i < FINISHERS)
			break;
		pthread_cond_wait(&all->changed, &all->lock);
	}
	all->busy[i] = true;
	pthread_mutex_unlock(&all->lock);
	return &all->finisher[i];
}

static void
finisher_put(struct uploads *all, struct gw_thread *t)
{
	pthread_mutex_lock(&all->lock);
	all->busy[t - all->finisher] = false;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
}

/* A multipart body is another one at each attempt, because its boundary is: what it says is compared. */
static int
attempt_of(struct upload *u, struct dedupe_id *out, struct err *e)
{
	AUTO(buf) struct buf said = BUF_INIT(0);

	buf_printf(&said, "%s %lld %lld %s %s", u->file.sha, (long long)u->file.size, (long long)u->file.expires_s, u->file.mime,
	    u->file.filename);
	return serve_attempt(&u->r, u->fcgi, said.data, said.len, out, e);
}

static void
forget_blob(struct upload *u, struct db *db)
{
	struct err e = ERR_INIT;
	int64_t n;

	if (file_remove_stray(db, u->r.conf->blob_dir, u->file.blob, &n, &e) < 0)
		log_err("stray", &e, "blob", u->file.blob, NULL);
}

static int
finish(struct upload *u, struct gw_thread *t, struct err *e)
{
	struct dedupe_id id = { .kind = DEDUPE_NONE };
	int rc;

	u->r.db = t->db;
	u->r.bus = t->bus;
	u->r.bells = t->bells;
	u->r.arena = t->arena;
	u->r.upload = &u->file;
	rc = attempt_of(u, &id, e) < 0 ? -1 : query_parse(u->r.route->query, param(u, "QUERY_STRING"), u->r.arena, &u->r.query, e);
	FAILPOINT(GW_REQUEST);
	if (rc == 0)
		rc = once_run(&u->r, &id, &u->r.replayed, e);
	if (u->r.replayed || (rc < 0 && err_http(e->kind) < 500))
		forget_blob(u, t->db);
	return rc;
}

static void
run(struct upload *u)
{
	struct gw_thread *t = NULL;
	struct err e = ERR_INIT;

	if (receive(u, &e) == 0) {
		t = finisher_get(u->all);
		(void)finish(u, t, &e);
	} else {
		blob_drop(&u->blob);
		u->fcgi->keepConnection = 0;	/* the rest of the body may still be on its way */
	}
	respond(&u->r, u->fcgi, &e, "", u->start_us);
	if (t) {
		arena_reset(t->arena);
		finisher_put(u->all, t);
	}
}

static void
unlist(struct upload *u)
{
	struct uploads *all = u->all;

	pthread_mutex_lock(&all->lock);
	for (struct upload **p = &all->list; *p; p = &(*p)->next)
		if (*p == u) {
			*p = u->next;
			break;
		}
	pthread_mutex_unlock(&all->lock);
}

static void *
upload_main(void *arg)
{
	struct upload *u = arg;
	struct uploads *all = u->all;

	run(u);
	unlist(u);		/* before the descriptor is closed: uploads_close() may cut it */
	park_done(all->park, u->fcgi);
	free(u);
	pthread_mutex_lock(&all->lock);
	all->n--;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* --- taking ----------------------------------------------------------------------------------------------------------------- */

/* What can be refused before a byte of the body is read. */
static int
check(struct upload *u, struct err *e)
{
	const struct conf *c = u->r.conf;
	const char *length = param(u, "CONTENT_LENGTH"), *encoding = param(u, "HTTP_CONTENT_ENCODING");
	struct dedupe_id unused;
	int64_t used, least;

	if (!c->blob_dir[0])
		return err_fault(e, EK_UNAVAILABLE, 0, "no blob_dir is set");
	if (multipart_begin(&u->mp, param(u, "CONTENT_TYPE"), from_client, u, e) < 0)
		return -1;
	if (encoding && *encoding && strcasecmp(encoding, "identity") != 0)
		return err_coded(e, EC_BODY_ENCODING_UNSUPPORTED, "Content-Encoding \"%.40s\" is not supported here; send the body as it is",
		    encoding);
	if (serve_attempt(&u->r, u->fcgi, "", 0, &unused, e) < 0 ||
	    query_parse(u->r.route->query, param(u, "QUERY_STRING"), u->r.arena, &u->r.query, e) < 0)
		return -1;		/* asked again when the body is known; here for what is wrong in itself */
	u->announced = length && *length ? strtoll(length, NULL, 10) : -1;
	if (u->announced > c->file_max + AROUND)
		return err_set(e, EK_TOO_LARGE, 0, "Request exceeds the maximum allowed number of bytes (%lld).",
		    (long long)(c->file_max + AROUND));
	if (file_used(u->r.db, u->r.who.organization_id, &used, e) < 0)
		return -1;
	least = u->announced > AROUND ? u->announced - AROUND : 0;	/* the file is at least this large */
	if (used >= c->file_quota || used + least > c->file_quota)
		return file_quota_refused(e);
	return blob_room(c->blob_dir, u->announced > 0 ? u->announced : 0, c->blob_spare_mb << 20, e);
}

/* A slot, under the lock. Who is on the list has one: not a thread whose client has its answer already and may come back before it has ended. */
static int
admit(struct uploads *all, struct upload *u, struct err *e)
{
	int mine = 0, taken = 0;

	for (const struct upload *o = all->list; o; o = o->next) {
		mine += strcmp(o->r.who.organization_id, u->r.who.organization_id) == 0;
		taken++;
	}
	if (mine >= u->r.conf->uploads_org_max)
		return err_set(e, EK_LIMIT, 0, "Too many uploads of this organization at the same time");
	if (taken >= u->r.conf->uploads_max)
		return err_set(e, EK_OVERLOADED, 0, "Too many uploads at the same time");
	u->next = all->list;
	all->list = u;
	all->n++;
	return 0;
}

static int
start(struct uploads *all, struct upload *u, struct err *e)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_mutex_lock(&all->lock);
	rc = admit(all, u, e);
	pthread_mutex_unlock(&all->lock);
	if (rc < 0)
		return -1;
	must(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK) == 0 &&
	    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	rc = pthread_create(&thread, &attr, upload_main, u);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	unlist(u);
	pthread_mutex_lock(&all->lock);
	all->n--;
	pthread_mutex_unlock(&all->lock);
	return err_fault(e, EK_UNAVAILABLE, rc, "start an upload's thread: %s", strerror(rc));
}

int
uploads_take(struct uploads *all, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	struct upload *u = xcalloc(1, sizeof *u);

	u->all = all;
	u->fcgi = fcgi;
	u->r = *r;
	u->start_us = start_us;
	u->deadline_ms = clock_mono_ms() + r->conf->upload_s * 1000;
	u->blob.fd = -1;
	if (check(u, e) == 0 && start(all, u, e) == 0)
		return 0;
	free(u);
	return -1;
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

struct uploads *
uploads_open(const struct gw *gw, struct park *park)
{
	struct uploads *all = xcalloc(1, sizeof *all);

	all->gw = gw;
	all->park = park;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->changed, NULL);
	for (int i = 0; i < FINISHERS; i++)
		all->finisher[i] = (struct gw_thread){ .gw = gw, .db = db_open(gw->conf->pg_dsn, DB_GW, (int)gw->conf->pg_timeout_ms),
		    .bus = bus_open(gw->conf), .arena = arena_new(ARENA) };
	return all;
}

/* Wait until none is left, or ms have passed. Under the lock. */
static bool
drained(struct uploads *all, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	while (all->n > 0)
		if (pthread_cond_timedwait(&all->changed, &all->lock, &until) != 0)
			return all->n == 0;
	return true;
}

void
uploads_close(struct uploads **allp, int64_t ms)
{
	struct uploads *all = *allp;

	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	if (!drained(all, ms)) {
		for (const struct upload *u = all->list; u; u = u->next)
			(void)shutdown(u->fcgi->ipcFd, SHUT_RDWR);
		while (all->n > 0)
			pthread_cond_wait(&all->changed, &all->lock);
	}
	pthread_mutex_unlock(&all->lock);
	for (int i = 0; i < FINISHERS; i++) {
		db_close(&all->finisher[i].db);
		bus_close(&all->finisher[i].bus);
		arena_free(all->finisher[i].arena);
	}
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
	free(all);
	*allp = NULL;
}
