/*
 * gw_main: the process roost-gateway: `-c FILE`, one listening FastCGI socket, `threads` handler threads with a database and a Redis
 * connection each. SIGTERM and SIGINT finish the requests on the wire and exit 0. A crash loses nothing that was acknowledged: replies
 * follow commits. It starts without Postgres and Redis (healthz says so) and connects when they come.
 */
#include <fcgiapp.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arena.h"
#include "bell.h"
#include "conns.h"
#include "harden.h"
#include "log.h"
#include "once.h"
#include "keep.h"
#include "kits.h"
#include "openapi.h"
#include "park.h"
#include "probe.h"
#include "reads.h"
#include "ready.h"
#include "serve.h"
#include "shares.h"
#include "still.h"
#include "suffix.h"
#include "together.h"
#include "upload.h"
#include "waiting.h"
#include "xalloc.h"

#define ARENA_MAX (256UL << 20)
#define LARGE (256 << 10)
#define PROBES_MS 2000
#define LOG_MS 250		/* how long a line may wait for others while there are requests */
#define UPLOADS_MS 4000		/* how long uploads under way may go on after SIGTERM, behind the drain of handler threads */

struct worker {
	struct gw_thread ctx;
	pthread_t thread;
	struct park *park;
};

static bool
handle(void *arg, FCGX_Request *fcgi)
{
	return serve(arg, fcgi);
}

static void
rest(void *arg, bool idle)
{
	struct gw_thread *t = arg;

	log_flush(LOG_MS);
	reads_rest(t->gw->reads, t);
	together_rest(t->gw->sends, t);
	together_rest(t->gw->writes, t);
	waiting_rest(t->gw->waiting, t);
	if (!idle)
		once_sweep(t->db);
	keep_sweep(t->gw->conf, t->db);
}

/* What jansson gives back may have been a secret. */
static void
wipe_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	park_run(w->park, handle, rest, &w->ctx);
	return NULL;
}

/* One for when all the others are held: without a connection to Postgres. */
static enum park_spare
handle_spare(void *arg, FCGX_Request *fcgi, bool full)
{
	return serve_spare(arg, fcgi, full);
}

static void *
spare_main(void *arg)
{
	struct worker *w = arg;

	park_spare_run(w->park, handle_spare, &w->ctx);
	return NULL;
}

/*
 * Does a commit get through? (lib/store/still.h) One of its own: the row that readiness writes is kept by whichever commit stands still, and
 * who finds it kept has an answer. A connection that was lost before is none to judge by.
 */
static int
ask_postgres(struct db *db, struct err *e)
{
	int rc = DB_RUN(db, STMT_STILL_ASK, NULL, e);

	if (rc < 0 && !db_gave_up(db)) {
		err_clear(e);
		rc = DB_RUN(db, STMT_STILL_ASK, NULL, e);
	}
	return rc;
}

static enum log_level
level_of(const char *name)
{
	if (strcasecmp(name, "debug") == 0)
		return LOG_DEBUG_LEVEL;
	if (strcasecmp(name, "warn") == 0)
		return LOG_WARN_LEVEL;
	return strcasecmp(name, "error") == 0 ? LOG_ERROR_LEVEL : LOG_INFO_LEVEL;
}

/* libfcgi installs its own handlers, so it goes first (performance.md, F1); its threads must not see signals at all (F6). */
static void
signals(sigset_t *stop)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN }, dflt = { .sa_handler = SIG_DFL };

	must(FCGX_Init() == 0);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGUSR1, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGTERM, &dflt, NULL);
	sigemptyset(stop);
	sigaddset(stop, SIGTERM);
	sigaddset(stop, SIGINT);
	must(pthread_sigmask(SIG_BLOCK, stop, NULL) == 0);
}

static int
start(const struct conf *c, struct gw *gw, struct park **park, struct err *e)
{
	gw->conf = c;
	gw->auth = auth_open(c, e);
	gw->conns = conns_open(c->connections_file, e);
	if (!gw->auth || !gw->conns || cursor_key_load(c->pepper_file, &gw->cursor_key, e) < 0)
		return -1;
	openapi_init();
	if (suffix_load(c->public_suffix_file, e) < 0)
		return -1;
	if (c->blob_dir[0] && blob_setup(c->blob_dir, e) < 0)
		return -1;
	*park = park_open(c->listen_socket, c->listen_group, e);
	if (!*park)
		return -1;
	gw->uploads = uploads_open(gw, *park);
	gw->probes = probes_open(gw, *park);
	gw->reads = reads_open(c, *park);
	gw->sends = together_sends(c, *park);
	gw->writes = together_writes(c, *park);
	gw->shares = shares_new((int)c->threads, (int)c->waiting_org_max);
	gw->waiting = waiting_open(gw->shares, *park);
	gw->kits = kits_new();
	gw->ready = ready_open(c, *park);
	return 0;
}

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct park *park = NULL;
	struct worker *workers, spare;
	struct gw gw = { 0 };
	struct conf c;
	sigset_t stop;
	int sig;

	(void)mallopt(M_MMAP_THRESHOLD, LARGE);	/* bodies and pages go back to the system when they are freed */
	json_set_alloc_funcs(xmalloc, wipe_free);
	conf_args(&c, argc, argv);
	harden_process(false);
	log_open("roost-gateway", level_of(c.log_level));
	log_gather();
	signals(&stop);
	if (start(&c, &gw, &park, &e) < 0) {
		log_err("start_failed", &e, NULL);
		return 1;
	}
	still_watch(db_open(c.pg_dsn, DB_GW, (int)c.pg_timeout_ms), ask_postgres, (int)c.pg_timeout_ms / 2);
	spare = (struct worker){ .ctx = { .gw = &gw, .bus = bus_open(&c), .arena = arena_new(ARENA_MAX) }, .park = park };
	must(pthread_create(&spare.thread, NULL, spare_main, &spare) == 0);
	workers = xcalloc((size_t)c.threads, sizeof *workers);
	for (int i = 0; i < c.threads; i++) {
		struct worker *w = &workers[i];

		w->park = park;
		w->ctx = (struct gw_thread){ .gw = &gw, .db = db_open(c.pg_dsn, DB_GW, (int)c.pg_timeout_ms), .bus = bus_open(&c),
		    .bells = bells_open(c.bell_dir), .arena = arena_new(ARENA_MAX) };
		db_on_wait(w->ctx.db, park_yield);
		must(pthread_create(&w->thread, NULL, worker_main, w) == 0);
	}
	log_info("started", "socket", c.listen_socket, "threads", LOGN(c.threads), NULL);
	(void)sigwait(&stop, &sig);
	log_info("stopping", "signal", strsignal(sig), NULL);
	park_stop(park);
	for (int i = 0; i < c.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		db_close(&workers[i].ctx.db);
		bus_close(&workers[i].ctx.bus);
		bells_close(&workers[i].ctx.bells);
		arena_free(workers[i].ctx.arena);
	}
	free(workers);
	pthread_join(spare.thread, NULL);
	bus_close(&spare.ctx.bus);
	arena_free(spare.ctx.arena);
	reads_close(&gw.reads);
	together_close(&gw.sends);
	together_close(&gw.writes);
	waiting_close(&gw.waiting);
	shares_free(&gw.shares);
	kits_free(&gw.kits);
	ready_close(&gw.ready);
	uploads_close(&gw.uploads, UPLOADS_MS);
	probes_close(&gw.probes, PROBES_MS);
	park_close(&park);
	auth_close(&gw.auth);
	conns_close(&gw.conns);
	openapi_free();
	return 0;
}
