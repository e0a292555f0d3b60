/*
 * sse: many streams, one event per second each: from the XADD to the client having read it, beside the memory and the CPU that it takes;
 * the same for the instance's hub behind nginx and for a Node server on PEER_PORT, in one run (tests/bench/sse/run starts both).
 *
 *   sse PEER_PORT SESSIONS STREAMS SECONDS      environment: dev.env, ROOST_STATE, ROOST_RUN
 *
 * SESSIONS: a file with an id per line, known to the database and with an empty log. Events go straight into Redis, as a worker's
 * publications do. The client is one thread of this program, the publisher another; both share the machine with what is measured.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../http.h"
#include "../stats.h"
#include "xalloc.h"

#define ROUND_S 6			/* longer than sse_ping_ms, in which the hub compares all its sessions with the log */
#define TEXT "The quick brown fox jumps over the lazy dog and the lazy dog does not mind at all, it dreams of foxes that do not jump."

/* What one server took. */
struct result {
	struct samples late;
	double front_b, hub_b;		/* memory per idle stream: all that serves it, and the hub alone */
	double cpu_us, hub_us;		/* CPU per event, likewise */
	long sent, got;
};

static char (*sessions)[64];
static struct http **streams;
static struct buf *text;
static int nstreams, seconds;
static atomic_bool done;
static atomic_long sent;

static redisContext *
redis(void)
{
	AUTO(str) char *sock = xasprintf("%s/redis/redis.sock", getenv("ROOST_RUN"));
	AUTO(str) char *file = xasprintf("%s/keys/redis.worker", getenv("ROOST_STATE"));
	redisContext *rc = redisConnectUnix(sock);
	FILE *f = fopen(file, "r");
	char pass[128] = "";
	redisReply *r;

	if (!rc || rc->err || !f || !fgets(pass, sizeof pass, f))
		die("no Redis at %s", sock);
	fclose(f);
	pass[strcspn(pass, "\n")] = '\0';
	r = redisCommand(rc, "AUTH worker %s", pass);
	if (!r || r->type == REDIS_REPLY_ERROR)
		die("Redis: %s", r ? r->str : rc->errstr);
	freeReplyObject(r);
	return rc;
}

static void
publish(redisContext *rc, int stream, int seq)
{
	char body[512];
	int n = snprintf(body, sizeof body, "{\"id\":\"sevt_%s\",\"type\":\"agent.message\",\"content\":[{\"type\":\"text\",\"text\":\"" TEXT "\"}],\"t\":%.0f}",
	    sessions[stream] + 5, now_us());

	redisAppendCommand(rc, "XADD sse:0 MAXLEN ~ 20000 * s %s t agent.message q %d p %b", sessions[stream], seq, body, (size_t)n);
}

/* Each stream an event per second, evenly, in millisecond ticks. */
static void *
publisher(void *arg)
{
	redisContext *rc = redis();
	double start = now_us();
	long total = (long)nstreams * seconds, k = 0;

	while (k < total) {
		long due = (long)((now_us() - start) * nstreams / 1e6), first = k;

		for (; k < total && k < due; k++)
			publish(rc, (int)(k % nstreams), (int)(k / nstreams) + 1);
		for (long i = first; i < k; i++) {
			redisReply *r = NULL;

			if (redisGetReply(rc, (void **)&r) != REDIS_OK || r->type == REDIS_REPLY_ERROR)
				die("XADD: %s", r ? r->str : rc->errstr);
			freeReplyObject(r);
		}
		sent = k;
		usleep(1000);
	}
	redisFree(rc);
	done = true;
	return NULL;
}

/* Take the events that are whole out of what was read. */
static void
count(struct result *out, struct buf *b)
{
	double now = now_us();
	size_t used = 0;
	char *end;

	while (b->len > used && (end = strstr(b->data + used, "\n\n"))) {
		char *t;

		*end = '\0';
		t = strstr(b->data + used, "\"t\":");
		used = (size_t)(end + 2 - b->data);
		if (!t)
			continue;		/* a ping */
		out->got++;
		samples_add(&out->late, now - atof(t + 4));
	}
	if (used)
		buf_shift(b, used);
}

static void
listen_to_all(struct result *out)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev[256];
	double until = 0;

	for (int i = 0; i < nstreams; i++) {
		ev[0] = (struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i };
		if (epoll_ctl(ep, EPOLL_CTL_ADD, http_fd(streams[i]), ev) < 0)
			die("epoll: %s", strerror(errno));
	}
	while (!done || (out->got < sent && now_us() < until)) {
		int n = epoll_wait(ep, ev, 256, 20);

		if (!done)
			until = now_us() + 5e6;
		for (int i = 0; i < n; i++) {
			http_hear(streams[ev[i].data.u32], &text[ev[i].data.u32]);
			count(out, &text[ev[i].data.u32]);
		}
	}
	close(ep);
}

/* What is there so far belongs to opening: pings. */
static void
forget(void)
{
	for (int i = 0; i < nstreams; i++) {
		http_hear(streams[i], &text[i]);
		buf_free(&text[i]);
	}
}

static double
memory(const char *const *classes)
{
	double kb = 0;

	for (; *classes; classes++)
		kb += memory_kb(*classes);
	return kb * 1024;
}

static double
cpu(const char *const *classes)
{
	double ms = 0;

	for (; *classes; classes++)
		ms += cpu_ms_of(*classes);
	return ms * 1000;
}

/* Let what opening left behind be freed, and a round of the hub pass: the peer collects its garbage. */
static void
settle(int port)
{
	const char *pid = getenv("PEER_PID");

	if (port && pid)
		kill(atoi(pid), SIGUSR2);
	sleep(ROUND_S);
}

/* classes: who serves; the first one is the hub. */
static void
measure(int port, const char *const *classes, struct result *out)
{
	const char *const hub[] = { classes[0], NULL };
	int first = nstreams / 4;		/* the first let grow what grows once */
	double front0 = 0, hub0 = 0;
	pthread_t t;

	for (int i = 0; i < nstreams; i++) {
		AUTO(str) char *path = xasprintf("/v1/sessions/%s/events/stream", sessions[i]);

		if (i == first) {
			settle(port);
			front0 = memory(classes);
			hub0 = memory(hub);
		}
		streams[i] = http_stream_at(port, path);
	}
	settle(port);
	forget();
	out->front_b = (memory(classes) - front0) / (nstreams - first);
	out->hub_b = (memory(hub) - hub0) / (nstreams - first);
	done = false;
	sent = 0;
	out->cpu_us = -cpu(classes);
	out->hub_us = -cpu(hub);
	if (pthread_create(&t, NULL, publisher, NULL) != 0)
		die("no thread");
	listen_to_all(out);
	pthread_join(t, NULL);
	out->sent = sent;
	out->cpu_us = (out->cpu_us + cpu(classes)) / (double)out->got;
	out->hub_us = (out->hub_us + cpu(hub)) / (double)out->got;
	for (int i = 0; i < nstreams; i++) {
		http_close(streams[i]);
		buf_free(&text[i]);
	}
}

static void
load_sessions(const char *file)
{
	FILE *f = fopen(file, "r");

	sessions = xcalloc((size_t)nstreams, sizeof *sessions);
	streams = xcalloc((size_t)nstreams, sizeof(struct http *));
	text = xcalloc((size_t)nstreams, sizeof *text);
	for (int i = 0; i < nstreams; i++)
		if (!f || fscanf(f, "%63s", sessions[i]) != 1)
			die("%s: no %d sessions", file, nstreams);
	fclose(f);
}

static void
compare(const char *what, double ours, double theirs, double most, double share, const char *unit, const char *goal)
{
	AUTO(str) char *amount = xasprintf("%.1f %s", ours, unit), *ratio = xasprintf("%.2f × Node's %.1f", ours / theirs, theirs);

	judged(ours <= most && ours <= share * theirs, what, -1, -1, amount, ratio, goal);
}

static void
print(struct result *us, struct result *node)
{
	double p50 = samples_at(&us->late, 0.5), p99 = samples_at(&us->late, 0.99);
	double n50 = samples_at(&node->late, 0.5), n99 = samples_at(&node->late, 0.99);
	AUTO(str) char *what = xasprintf("%d streams × 1 event/s: publish to client", nstreams);
	AUTO(str) char *got = xasprintf("%ld of %ld", us->got, us->sent), *theirs = xasprintf("%ld of %ld", node->got, node->sent);
	AUTO(str) char *ratio = xasprintf("p50 %.2f ×, p99 %.2f × Node's", p50 / n50, p99 / n99);
	AUTO(str) char *hub = xasprintf("%.0f B", us->hub_b), *hub_us = xasprintf("%.1f µs", us->hub_us);

	judged(p99 <= 5000 && p99 <= 0.7 * n99 && us->got == us->sent, what, p50, p99, got, ratio, "p99 ≤ 5 ms and ≤ 0.7 × Node's");
	row("the same, Node terminating TLS itself", n50, n99, theirs, "", "");
	judged(us->hub_b <= 512, "per idle stream: roost-stream", -1, -1, hub, "", "≤ 512 B");
	compare("per idle stream: roost-stream and nginx, TLS", us->front_b / 1024, node->front_b / 1024, 35, 0.95, "kB", "≤ 35 kB and ≤ 0.95 × Node's");
	row("CPU per event: roost-stream", -1, -1, hub_us, "", "");
	compare("CPU per event: roost-stream and nginx", us->cpu_us, node->cpu_us, 1e9, 0.9, "µs", "≤ 0.9 × Node's");
}

int
main(int argc, char **argv)
{
	static struct result us, node;
	struct rlimit rl;

	if (argc != 5)
		die("usage: sse PEER_PORT SESSIONS STREAMS SECONDS");
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	nstreams = atoi(argv[3]);
	seconds = atoi(argv[4]);
	if ((rlim_t)nstreams + 100 > rl.rlim_max)
		die("%d streams need as many descriptors; the limit is %ld", nstreams, (long)rl.rlim_max);
	load_sessions(argv[2]);
	http_init();
	measure(0, (const char *const[]){ "stream", "nginx", NULL }, &us);
	measure(atoi(argv[1]), (const char *const[]){ "ssepeer", NULL }, &node);
	print(&us, &node);
	return 0;
}
