/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * Many turns at once in one worker, each with a model that streams: all are answered, memory per turn and CPU per streamed delta are
 * printed and stay within bounds. TURNS (default 500 in the test; the bench runs 2,000), RATE deltas a second of each stream (10), FOR so
 * many windows of a second (3; the bench takes 7), the median of which is told.
 *
 * The model is a process of its own, one loop of this file: it answers every request with deltas, spread evenly over time, until it is
 * told to end them all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../env/child.h"
#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define FDS 20000
#define TICKS 50		/* a second */
#define WINDOWS_MAX 60

/* Between this process and the model. */
struct shared {
	volatile int active, requests, finish, rate;
	volatile long deltas;
};
static struct shared *shared;
static pid_t model_pid;
static int turns, windows;

static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],"
    "\"model\":\"drip\",\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
#define WORDS "a few words "
static const char delta[] =
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" WORDS "\"}}\n\n";
static const char tail[] = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
    "\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/* --- the model ------------------------------------------------------------------------------------------------------------------- */

enum { NONE, READING, STREAMING };
static unsigned char what[FDS];

static void
put(int fd, const char *text, size_t n)
{
	if (send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
		_exit(3);	/* the reader is far behind */
}

static void
drop(int fd)
{
	shared->active -= what[fd] == STREAMING;
	what[fd] = NONE;
	close(fd);
}

/* A request has come, small enough for one read. */
static void
request(int fd)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0) {
		drop(fd);
	} else if (what[fd] == READING && memmem(buf, (size_t)n, "}", 1) != NULL) {
		put(fd, head, sizeof(head) - 1);
		what[fd] = STREAMING;
		shared->active++;
		shared->requests++;
	}
}

/* One delta for every stream whose turn it is. */
static void
tick(long t)
{
	int every = TICKS / shared->rate;

	for (int fd = 0; fd < FDS; fd++) {
		if (what[fd] != STREAMING)
			continue;
		if (shared->finish) {
			put(fd, tail, sizeof(tail) - 1);
			drop(fd);
		} else if (fd % every == t % every) {
			put(fd, delta, sizeof(delta) - 1);
			shared->deltas++;
		}
	}
}

static void
model(int listener)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = listener }, got[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), n, fd;
	int64_t next = clock_mono_ms();

	(void)epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	for (long t = 0;;) {
		int64_t now = clock_mono_ms();

		if (now >= next) {
			tick(t++);
			next = now > next + 1000 ? now : next + 1000 / TICKS;
			continue;
		}
		n = epoll_wait(ep, got, 256, (int)(next - now));
		for (int i = 0; i < n; i++) {
			if (got[i].data.fd != listener) {
				request(got[i].data.fd);
			} else if ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 && fd < FDS) {
				what[fd] = READING;
				ev.data.fd = fd;
				(void)epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
			}
		}
	}
}

/* --- the driver ------------------------------------------------------------------------------------------------------------------ */

static int
start(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *n = getenv("TURNS"), *rate = getenv("RATE"), *seconds = getenv("FOR");

	turns = n != NULL ? atoi(n) : 500;
	windows = seconds != NULL ? atoi(seconds) : 3;
	must(windows > 0 && windows <= WINDOWS_MAX);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared->rate = rate != NULL ? atoi(rate) : 10;
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4096) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0);
	rig_start();
	model_pid = child_fork(SIGKILL);
	if (model_pid == 0) {
		model(fd);
		_exit(0);
	}
	close(fd);
	free(rig_sql("INSERT INTO provider (name, dialect, base_url) VALUES ('drip', 'anthropic', 'http://127.0.0.1:%d')", ntohs(at.sin_port)));
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('drip', 'Drip', 200000, 8192)"));
	free(rig_sql("INSERT INTO model_route VALUES ('drip', 0, 'drip', 'drip')"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	return 0;
}

static int
stop(void **state)
{
	(void)kill(model_pid, SIGKILL);
	(void)waitpid(model_pid, NULL, 0);
	rig_stop();
	return 0;
}

/* Sessions from..to, each with one message. */
static void
send_all(int from, int to)
{
	free(rig_sql("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at,"
	    " created_at, updated_at) SELECT 'sesn_' || k, 'org', 'w1', 'agent_x', 1, 'env_x', 'sthr_' || k,"
	    " '{\"name\":\"Bot\",\"model\":{\"id\":\"drip\"},\"system\":null,\"tools\":[]}', t, t, t"
	    " FROM generate_series(%d, %d) k, clock_timestamp() t", from, to));
	free(rig_sql("SELECT count(*) FROM generate_series(%d, %d) k, session_inbox_put('sesn_' || k, ARRAY['sevt_' || k], '{user.message}', ARRAY['{\"id\":\"sevt_' || k ||"
	    " '\",\"type\":\"user.message\",\"content\":[]'], '{u}', ARRAY['{\"type\":\"text\",\"text\":\"hello\"}'], '{f}', '{t}', '{NULL}', '{NULL}',"
	    " '{NULL}', '{h}')", from, to));
}

static long
status_kb(pid_t pid, const char *key)
{
	AUTO(str) char *path = xasprintf("/proc/%d/status", (int)pid), *line = xcalloc(1, 256);
	FILE *f = fopen(path, "r");
	long kb = 0;

	while (f != NULL && fgets(line, 256, f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			kb = atol(line + strlen(key) + 1);
	fclose(f);
	return kb;
}

/* CPU of a process so far (it has one thread), in microseconds. */
static double
cpu_us(pid_t pid)
{
	AUTO(str) char *path = xasprintf("/proc/%d/schedstat", (int)pid);
	FILE *f = fopen(path, "r");
	unsigned long long ns = 0;

	must(f != NULL && fscanf(f, "%llu", &ns) == 1);
	fclose(f);
	return (double)ns / 1e3;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* CPU of one delta: the median of windows of a second, so that a neighbour's burst does not count. Tells how many came a second. */
static double
cpu_each(pid_t worker, double *out_rate)
{
	double each[WINDOWS_MAX];
	long all = shared->deltas;
	int64_t began = clock_mono_ms();

	for (int i = 0; i < windows; i++) {
		double cpu = cpu_us(worker);
		long deltas = shared->deltas;

		while (shared->deltas - deltas < (long)turns * shared->rate)
			(void)usleep(20000);
		each[i] = (cpu_us(worker) - cpu) / (double)(shared->deltas - deltas);
	}
	*out_rate = (double)(shared->deltas - all) * 1000 / (double)(clock_mono_ms() - began);
	qsort(each, (size_t)windows, sizeof(each[0]), by_size);
	return each[windows / 2];
}

static void
wait_for(volatile int *value, int want)
{
	int64_t end = clock_mono_ms() + 90000;

	while (*value != want) {
		if (clock_mono_ms() > end)
			fail_msg("waited for %d, have %d", want, *value);
		(void)usleep(5000);	/* the step of a wait with a deadline */
	}
}

static void
many_turns(void **state)
{
	pid_t worker = rig_worker("log_level = info\nturns_max = 4000\npoll_ms = 200\n");
	long base, peak, before;
	double cpu, began, each, said, rate;

	send_all(1, 20);
	wait_for(&shared->active, 20);
	shared->finish = 1;
	rig_wait("20", "SELECT count(*) FROM event WHERE type = 'session.status_idle'");
	shared->finish = 0;
	base = status_kb(worker, "VmRSS:");
	before = shared->deltas;
	began = (double)clock_mono_ms();
	send_all(21, 20 + turns);
	wait_for(&shared->active, turns);
	print_message("%d turns stream after %.1f s\n", turns, ((double)clock_mono_ms() - began) / 1000);
	cpu = cpu_each(worker, &rate);
	peak = status_kb(worker, "VmRSS:");
	each = (double)(peak - base) / turns;
	said = (double)(shared->deltas - before) * (double)strlen(WORDS) / turns / 1024;	/* the longer it lasts, the more */
	print_message("%d streams of %d deltas/s, %.0f deltas/s arrived: %.1f us CPU a delta, %.1f kB a turn and %.1f kB of reply so far "
	    "(worker %ld kB, %ld kB before)\n", turns, shared->rate, rate, cpu, each - said, said, peak, base);
	shared->finish = 1;
	for (int i = 0; i < 8; i++) {
		AUTO(str) char *n = rig_sql("SELECT count(*) FROM event WHERE type = 'session.status_idle'");

		if (atoi(n) == 20 + turns)
			break;
		(void)usleep(1000000);
	}
	{
		AUTO(str) char *want = xasprintf("%d", 20 + turns);

		rig_wait(want, "SELECT count(*) FROM event WHERE type = 'session.status_idle'");
		free(want);
		want = xasprintf("%d", turns);
		rig_wait(want, "SELECT count(*) FROM event WHERE type = 'agent.message' AND session_id NOT IN (SELECT 'sesn_' || k FROM generate_series(1, 20) k)");
	}
#ifndef __SANITIZE_ADDRESS__
	assert_true(each - said < 64);		/* the reply so far is as long as the machine is slow */
	assert_true(cpu < 100);		/* the goal is 12; a test runs beside others */
#endif
	assert_int_equal(shared->requests, 20 + turns);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(many_turns) };

	return cmocka_run_group_tests_name("many turns", tests, start, stop);
}
