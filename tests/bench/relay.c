/*
 * relay: see relay.h. Three processes in a ring of sockets, this one among them; each does a fixed amount of work with the byte and hands it
 * on. The work is counted, not timed: a core that is taken away while it is done makes it longer, as it would anything else.
 */
#include "relay.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http.h"

#define LAPS 5
#define WORK_US 80		/* of each of three processes: a lap is 0.3 ms with its wake-ups */
#define TRIES 20		/* the quickest of them tells how much work that is */

static uint64_t loops;

static void
work(uint64_t n)
{
	volatile uint64_t x = 0;

	while (x < n)
		x = x + 1;
}

static void
measure(void)
{
	double best = 1e9;

	for (int i = 0; i < TRIES; i++) {
		double t0 = now_us();

		work(100000);
		if (now_us() - t0 < best)
			best = now_us() - t0;
	}
	loops = (uint64_t)(100000 * WORK_US / best);
}

static char
take(int fd)
{
	char byte;
	ssize_t n;

	while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR)
		;
	if (n != 1)
		_exit(0);
	return byte;
}

static void
give(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1)
		_exit(0);
}

static pid_t
runner(int from, int to)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork: %d", errno);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent) {
		char byte = take(from);

		work(loops);
		give(to, byte);
	}
	_exit(0);
}

void
relay_open(struct relay *r)
{
	int pair[3][2];

	measure();
	for (int i = 0; i < 3; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair[i]) < 0)
			die("socketpair: %d", errno);
	r->pid[0] = runner(pair[0][1], pair[1][0]);
	r->pid[1] = runner(pair[1][1], pair[2][0]);
	r->out = pair[0][0];
	r->in = pair[2][1];
	close(pair[0][1]);
	close(pair[1][0]);
	close(pair[1][1]);
	close(pair[2][0]);
}

static double
once(const struct relay *r)
{
	double t0 = now_us();

	for (int i = 0; i < LAPS; i++) {
		give(r->out, 'x');
		(void)take(r->in);
		work(loops);
	}
	return now_us() - t0;
}

void
relay_runs(const struct relay *r, struct samples *each)
{
	for (int i = 0; i < RELAY_RUNS; i++)
		samples_add(each, once(r));
}

void
relay_close(struct relay *r)
{
	for (int i = 0; i < 2; i++) {
		kill(r->pid[i], SIGKILL);
		waitpid(r->pid[i], NULL, 0);
	}
	close(r->out);
	close(r->in);
}
