/*
 * bench: what a tool call costs, cold and warm, against fork+exec of a small program on the host in the same interleaved rounds. Prints
 * one row per variant: p50 and p99 in microseconds and as ratios to the floor. No assertions: machines are noisy.
 *
 * A cold start moves a process into v1 cgroups on hybrid hosts; after some quiet the kernel lets that wait for an RCU grace period
 * (8-11 ms) unless it runs with favordynmods. Rounds follow each other here, so both the fast and the slow case are in the figures.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define ROUNDS 200
#define WARM "sesn_warm"

enum variant { FLOOR, WARM_READ, WARM_BUILTIN, WARM_EXEC, JOINED, COLD_READ, COLD_BASH, VARIANTS };

static const char *const names[VARIANTS] = {
	"fork+exec of /bin/true on the host (floor)", "warm: read of a small file", "warm: bash, builtin `true`", "warm: bash, /bin/true",
	"first bash call, provisioned 20 ms before", "cold: first call is a read", "cold: first call is bash",
};

static const char *pending;	/* call to acknowledge, outside the measured time */
static double samples[VARIANTS][ROUNDS];

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void
fork_exec(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* A call as a worker makes it: one request, one reply. */
static void
plain_call(const char *session, const char *name, json_t *input)
{
	pending = fresh_call();
	json_decref(ask(shared, req_call(session, 1, pending, name, input)));
}

static void
acknowledge(const char *session)
{
	json_t *ack = req_of("ack", session, 1);

	json_object_set_new(ack, "call", json_string(pending));
	json_decref(ask(shared, ack));
}

static void
one(enum variant v, int round)
{
	char session[32];
	double t;

	snprintf(session, sizeof session, "sesn_b%d_%d", v, round);
	if (v == JOINED) {
		json_decref(ask(shared, req_of("provision", session, 1)));
		(void)poll(NULL, 0, 20);	/* the model's first words take longer than this */
	}
	t = now_us();
	switch (v) {
	case FLOOR:
		fork_exec();
		break;
	case WARM_READ:
		plain_call(WARM, "read", json_pack("{s:s}", "file_path", "/etc/hostname"));
		break;
	case WARM_BUILTIN:
		plain_call(WARM, "bash", json_pack("{s:s}", "command", "true"));
		break;
	case WARM_EXEC:
		plain_call(WARM, "bash", json_pack("{s:s}", "command", "/bin/true"));
		break;
	case COLD_READ:
		plain_call(session, "read", json_pack("{s:s}", "file_path", "/etc/hostname"));
		break;
	default:
		plain_call(session, "bash", json_pack("{s:s}", "command", "true"));
		break;
	}
	samples[v][round] = now_us() - t;
	if (v != FLOOR)
		acknowledge(v < JOINED ? WARM : session);
	if (v >= JOINED)
		json_decref(ask(shared, req_of("destroy", session, 1)));
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void
bench(void)
{
	double floor50, floor99;
	int v, round;

	(void)sh(WARM, "true");
	for (round = 0; round < ROUNDS; round++)
		for (v = 0; v < VARIANTS; v++)
			one((enum variant)v, round);
	for (v = 0; v < VARIANTS; v++)
		qsort(samples[v], ROUNDS, sizeof samples[v][0], by_value);
	floor50 = samples[FLOOR][ROUNDS / 2];
	floor99 = samples[FLOOR][ROUNDS * 99 / 100];
	printf("%-48s %9s %9s %7s %7s\n", "sandbox, microseconds", "p50", "p99", "x p50", "x p99");
	for (v = 0; v < VARIANTS; v++) {
		double p50 = samples[v][ROUNDS / 2], p99 = samples[v][ROUNDS * 99 / 100];

		printf("%-48s %9.0f %9.0f %7.2f %7.2f\n", names[v], p50, p99, p50 / floor50, p99 / floor99);
	}
}
