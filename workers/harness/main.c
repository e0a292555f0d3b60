/*
 * roost-worker: the harness. One process, one thread, one epoll loop; as many of them as there are cores.
 *
 * Claims sessions that have work, walks each through its turn (turn.def), writes their logs. Holds no state that matters: kill it at
 * any time and another worker goes on from the log. SIGTERM: stop claiming, bring the turns to a point where they can be handed over,
 * leave. Fails to start on a bad configuration or an unreadable key; everything else it waits for (Postgres, Redis, hands) may come
 * later.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agents.h"
#include "beat.h"
#include "cleanup.h"
#include "ctxcache.h"
#include "harden.h"
#include "harness.h"
#include "id.h"
#include "log.h"
#include "publish.h"
#include "sess.h"
#include "work.h"
#include "xalloc.h"

#define LOG_MS 250		/* how long a line may wait for others; a quiet worker ticks each second */
#define LARGE (256 << 10)	/* allocations of their own mapping */

static void
on_signal(void *ctx, int fd, uint32_t events)
{
	struct wk *wk = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("worker_drains", "worker", wk->name, NULL);
	wk->draining = true;
	work_drain(wk->work);
}

static int
signals_open(void)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
nothing_at_hand(void *ctx)
{
	note_clear(((struct wk *)ctx)->note);
	log_flush(LOG_MS);
}

/* The machine by its kernel's name for this boot, which containers share; where it cannot be read, by its host name. */
static void
host_name(char *out, size_t size)
{
	AUTO(fd) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (out[0] == '\0')
		(void)gethostname(out, size - 1);
	out[size - 1] = '\0';
}

static int
open_all(struct wk *wk, struct err *e)
{
	const struct conf *c = &wk->conf;

	(void)id_new("worker_", wk->name);
	host_name(wk->host, sizeof(wk->host));
	wk->limits = (struct plan_limits){ .rounds_max = (int)c->tool_rounds_max, .retries_max = (int)c->model_retries,
	    .backoff_ms = c->model_backoff_ms };
	wk->loop = loop_new();
	if (c->at_hand_file[0] != '\0') {
		wk->note = note_open(c->at_hand_file, &wk->left, e);
		if (wk->note == NULL)
			return -1;
	}
	loop_before_wait(wk->loop, nothing_at_hand, wk);
	wk->contexts = ctxcache_new((size_t)c->context_cache_bytes);
	wk->agents = agents_new();
	wk->db = dbq_new(wk->loop, c->pg_dsn, DB_WORKER, (int)c->pg_timeout_ms);
	wk->appends = appendq_new(wk->db, append_at_hand);
	wk->bus = busq_new(wk->loop, c);
	wk->hands = hands_new(wk->loop, c->hands_socket);
	wk->models = model_client_new(wk->loop, c);
	wk->routes = routes_new(wk->loop, wk->db, c->instance_key_file, e);
	if (wk->routes == NULL)
		return -1;
	wk->work = work_new(wk);
	wk->beat = beat_new(wk);
	return 0;
}

static void
close_all(struct wk *wk)
{
	work_free(&wk->work);
	ctxcache_free(&wk->contexts);
	agents_free(&wk->agents);
	beat_free(&wk->beat);
	routes_free(&wk->routes);
	model_client_free(&wk->models);
	hands_free(&wk->hands);
	busq_free(&wk->bus);
	dbq_free(&wk->db);
	appendq_free(&wk->appends);
	publish_close(wk);
	note_close(&wk->note);
	loop_free(&wk->loop);
}

int
main(int argc, char **argv)
{
	struct wk wk = { .draining = false };
	struct err e = ERR_INIT;
	AUTO(fd) int sigfd = -1;
	int rc = 1;

	(void)mallopt(M_MMAP_THRESHOLD, LARGE);	/* messages and contexts go back to the system when they are freed */
	conf_args(&wk.conf, argc, argv);
	harden_process(false);		/* it opens the providers' keys */
	log_open("roost-worker", log_level_of(wk.conf.log_level));
	log_gather();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	sigfd = signals_open();
	if (open_all(&wk, &e) < 0) {
		log_err("worker_start", &e, NULL);
	} else {
		loop_watch(wk.loop, sigfd, EPOLLIN, on_signal, &wk);
		loop_run(wk.loop);
		log_info("worker_leaves", "worker", wk.name, NULL);
		rc = 0;
	}
	close_all(&wk);
	curl_global_cleanup();
	return rc;
}
