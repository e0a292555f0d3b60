/*
 * shell: the persistent shell. One /bin/bash reads commands from a pipe; what one call set (directory, variables, functions) is there
 * for the next. A command is handed over as
 *
 *	\builtin eval 'text' </dev/null 9>&-
 *	\builtin printf '%d\n' "$?" >&9
 *
 * so the text cannot reach the lines around it, its own input is empty, and its end is told on a pipe that neither the command nor its
 * children hold: whatever it prints, and however it ends its last line, the output is exact. Status and output travel on two pipes, but
 * the foreground output was written before the status, so what the output pipe holds at that moment (FIONREAD) completes it.
 *
 * Output is drained all the time, of background processes between calls too, into a ring of the last 400 kB. What a running call puts out
 * beyond that, or beyond 100,000 characters, goes to a file as well (spill.h), up to 32 MiB: a flood costs CPU and disk of the sandbox
 * and nothing else. When the shell ends, so does the call; hands kills the shell's cgroup on restart and timeout.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "buf.h"
#include "confine.h"
#include "fdio.h"
#include "init.h"
#include "spill.h"
#include "utf8.h"

#define STATUS_FD 9
#define DRAIN_STEP 65536
#define COMMAND_MAX (32u << 20)		/* quoted text; hands lets 4 MiB through */

static struct shell {
	pid_t pid;
	uint32_t gen, call;	/* call 0: none runs */
	int in, out, ctl;	/* our ends; -1 when there is no shell */
	int result;		/* the running call's memfd */
	struct buf todo;	/* command text that the shell has not read yet */
	size_t sent;
	char status[16];	/* what came on ctl so far */
	size_t nstatus;
	char *ring;		/* the last SB_KEEP bytes of output, written at `bytes % SB_KEEP` */
	uint64_t bytes;		/* output since the last call ended */
	int spill;		/* the running call's file: -1 none yet, -2 there can be none */
	uint64_t spilled;	/* bytes written to it */
	bool part;		/* not all of them */
} sh = { .in = -1, .out = -1, .ctl = -1, .result = -1, .spill = -1 };

static char *const shell_argv[] = { (char *)"/bin/bash", (char *)"--noprofile", (char *)"--norc", NULL };
static char *const shell_env[] = {
	(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	(char *)"HOME=" SB_HOME, (char *)"USER=" SB_USER, (char *)"LOGNAME=" SB_USER, (char *)"SHELL=/bin/bash",
	(char *)"LANG=C.UTF-8", (char *)"TERM=dumb", (char *)"PWD=" SB_WORKDIR, NULL
};

static void
forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Let go of the shell, dead or replaced. Its processes are hands' business: it holds the cgroup. */
static void
shell_drop(void)
{
	forget(&sh.in);
	forget(&sh.out);
	forget(&sh.ctl);
	buf_reset(&sh.todo);
	sh.sent = sh.nstatus = 0;
	sh.bytes = 0;
	sh.pid = 0;
}

/* Write to the running call's file, as far as there is room. */
static void
spill_more(const char *data, size_t len)
{
	size_t room = sh.spilled < SB_SPILL_MAX ? (size_t)(SB_SPILL_MAX - sh.spilled) : 0, n;

	if (sh.spill < 0 || sh.part)
		return;
	n = fdio_write(sh.spill, data, len < room ? len : room);
	sh.spilled += n;
	sh.part = n < len;
}

/* Begin the running call's file with what is in the ring, oldest byte first. */
static void
spill_begin(void)
{
	size_t at = (size_t)(sh.bytes % SB_KEEP);

	sh.spill = spill_open(sh.call);
	if (sh.spill < 0) {
		sh.spill = -2;
		return;
	}
	if (sh.bytes > SB_KEEP)
		spill_more(sh.ring + at, SB_KEEP - at);
	spill_more(sh.ring, sh.bytes > SB_KEEP ? at : (size_t)sh.bytes);
}

/* Is what the ring holds more than the model may see? */
static bool
too_long(void)
{
	return sh.bytes > SB_KEEP || (sh.bytes > SB_SPILL_CHARS && utf8_count(sh.ring, (size_t)sh.bytes) > SB_SPILL_CHARS);
}

static uint32_t
spill_end(void)
{
	uint32_t flags = 0;

	if (sh.spill == -1 && too_long())
		spill_begin();
	if (sh.spill >= 0) {
		if (sh.spilled > 0)
			flags = SB_F_SPILLED | (sh.part ? SB_F_PART : 0);
		close(sh.spill);
	}
	sh.spill = -1;
	sh.spilled = 0;
	sh.part = false;
	return flags;
}

static void __attribute__((noreturn))
child(int in, int out, int ctl)
{
	char why[16];
	int n;

	/* first out of the way of the numbers they go to */
	in = fcntl(in, F_DUPFD_CLOEXEC, 20);
	out = fcntl(out, F_DUPFD_CLOEXEC, 20);
	ctl = fcntl(ctl, F_DUPFD_CLOEXEC, 20);
	if (in < 0 || out < 0 || ctl < 0 || dup2(ctl, STATUS_FD) < 0)
		_exit(121);
	if (confine_drop(CONFINE_SHELL) == 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2 &&
	    syscall(SYS_close_range, 3u, STATUS_FD - 1u, 0u) == 0 && syscall(SYS_close_range, STATUS_FD + 1u, ~0u, 0u) == 0 &&
	    chdir(SB_WORKDIR) == 0)
		execve(shell_argv[0], shell_argv, shell_env);
	/* such as too many processes: told in place of a status */
	n = snprintf(why, sizeof why, "E%d\n", errno);
	(void)!write(STATUS_FD, why, (size_t)n);
	_exit(122);
}

void
shell_start(uint32_t gen, int cgroup_fd)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, ctl[2] = { -1, -1 };

	if (sh.call) {		/* hands has killed it and does not wait for its end */
		(void)spill_end();
		init_send(SB_DONE, sh.call, ECANCELED, SB_F_FAILED, sh.bytes);
		sh.call = 0;
		forget(&sh.result);
	}
	shell_drop();
	sh.gen = gen;
	if (!sh.ring)
		sh.ring = malloc(SB_KEEP);
	if (!sh.ring || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(ctl, O_CLOEXEC) < 0)
		goto fail;
	sh.pid = init_fork(cgroup_fd);
	if (sh.pid == 0)
		child(in[0], out[1], ctl[1]);
	if (sh.pid < 0)
		goto fail;
	close(in[0]);
	close(out[1]);
	close(ctl[1]);
	sh.in = in[1];
	sh.out = out[0];
	sh.ctl = ctl[0];
	(void)fcntl(sh.in, F_SETFL, O_NONBLOCK);
	(void)fcntl(sh.out, F_SETFL, O_NONBLOCK);
	(void)fcntl(sh.ctl, F_SETFL, O_NONBLOCK);
	close(cgroup_fd);
	return;
fail:
	sh.pid = 0;
	init_send(SB_GONE, gen, errno, SB_F_FAILED, 0);
	for (int i = 0; i < 2; i++) {
		forget(&in[i]);
		forget(&out[i]);
		forget(&ctl[i]);
	}
	close(cgroup_fd);
}

/* Take what the output pipe holds, at most `most` bytes. */
static void
drain(size_t most)
{
	char chunk[DRAIN_STEP];

	while (most > 0 && sh.out >= 0) {
		ssize_t n = read(sh.out, chunk, most < sizeof chunk ? most : sizeof chunk);
		size_t at, len, skip;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		len = (size_t)n;
		most -= len;
		if (sh.call && sh.spill == -1 && sh.bytes + len > SB_KEEP)
			spill_begin();
		spill_more(chunk, len);
		skip = len > SB_KEEP ? len - SB_KEEP : 0;
		at = (size_t)((sh.bytes + skip) % SB_KEEP);
		if (at + len - skip <= SB_KEEP) {
			memcpy(sh.ring + at, chunk + skip, len - skip);
		} else {
			memcpy(sh.ring + at, chunk + skip, SB_KEEP - at);
			memcpy(sh.ring, chunk + skip + (SB_KEEP - at), len - skip - (SB_KEEP - at));
		}
		sh.bytes += len;
	}
}

static void
drain_waiting(void)
{
	int waiting = 0;

	if (sh.out >= 0 && ioctl(sh.out, FIONREAD, &waiting) == 0 && waiting > 0)
		drain((size_t)waiting);
}

/* The running call ended: put the kept output into its memfd, oldest byte first, and tell hands. */
static void
finish(int status, uint32_t flags)
{
	size_t at = (size_t)(sh.bytes % SB_KEEP);
	ssize_t rc = 0;

	if (!sh.call)
		return;
	flags |= spill_end();
	if (sh.bytes > SB_KEEP) {
		rc = pwrite(sh.result, sh.ring + at, SB_KEEP - at, 0);
		if (rc >= 0)
			rc = pwrite(sh.result, sh.ring, at, (off_t)(SB_KEEP - at));
	} else if (sh.bytes > 0) {
		rc = pwrite(sh.result, sh.ring, (size_t)sh.bytes, 0);
	}
	(void)rc;		/* without memory for it the result is shorter */
	init_send(SB_DONE, sh.call, status, flags, sh.bytes);
	forget(&sh.result);
	sh.call = 0;
	sh.bytes = 0;
}

static void
feed(void)
{
	while (sh.in >= 0 && sh.sent < sh.todo.len) {
		ssize_t n = write(sh.in, sh.todo.data + sh.sent, sh.todo.len - sh.sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;		/* full: poll says when; broken: its end is reported by SIGCHLD */
		sh.sent += (size_t)n;
	}
	buf_reset(&sh.todo);
	sh.sent = 0;
}

void
shell_run(uint32_t call, int args_fd, int out_fd)
{
	struct args a = { 0 };
	char *p, *quote;

	if (!sh.pid || sh.call || args_load(&a, args_fd) < 0) {
		init_send(SB_DONE, call, sh.pid ? EBUSY : ESRCH, SB_F_FAILED, 0);
		close(args_fd);
		close(out_fd);
		return;
	}
	close(args_fd);
	sh.call = call;
	sh.result = out_fd;
	sh.nstatus = 0;
	sh.todo.max = COMMAND_MAX;
	buf_str(&sh.todo, "\\builtin eval '");
	for (p = a.data; (quote = strchr(p, '\'')) != NULL; p = quote + 1) {
		buf_put(&sh.todo, p, (size_t)(quote - p));
		buf_str(&sh.todo, "'\\''");
	}
	buf_str(&sh.todo, p);
	buf_str(&sh.todo, "' </dev/null 9>&-\n\\builtin printf '%d\\n' \"$?\" >&9\n");
	free(a.data);
	feed();
}

static void
read_status(void)
{
	ssize_t n = read(sh.ctl, sh.status + sh.nstatus, sizeof sh.status - 1 - sh.nstatus);

	if (n < 0)
		return;
	if (n == 0) {		/* closed by the shell (exec, exit): its end is reported by SIGCHLD */
		forget(&sh.ctl);
		return;
	}
	sh.nstatus += (size_t)n;
	sh.status[sh.nstatus] = '\0';
	if (strchr(sh.status, '\n') || sh.nstatus == sizeof sh.status - 1) {
		drain_waiting();
		sh.nstatus = 0;
		if (sh.status[0] == 'E')
			finish((int)strtol(sh.status + 1, NULL, 10), SB_F_FAILED);
		else
			finish((int)(strtol(sh.status, NULL, 10) & 255) << 8, 0);
	}
}

bool
shell_ended(pid_t pid, int status)
{
	if (!sh.pid || pid != sh.pid)
		return false;
	drain_waiting();
	if (sh.call)
		finish(status, SB_F_GONE);
	else
		init_send(SB_GONE, sh.gen, status, 0, 0);
	shell_drop();
	return true;
}

int
shell_polls(struct pollfd *fds)
{
	int n = 0;

	if (sh.out >= 0)
		fds[n++] = (struct pollfd){ .fd = sh.out, .events = POLLIN };
	if (sh.ctl >= 0)
		fds[n++] = (struct pollfd){ .fd = sh.ctl, .events = POLLIN };
	if (sh.in >= 0 && sh.sent < sh.todo.len)
		fds[n++] = (struct pollfd){ .fd = sh.in, .events = POLLOUT };
	return n;
}

void
shell_served(const struct pollfd *fds, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		if (!fds[i].revents)
			continue;
		if (fds[i].fd == sh.out) {
			drain(DRAIN_STEP);
			if (fds[i].revents & POLLHUP && !(fds[i].revents & POLLIN))
				forget(&sh.out);	/* closed by everyone: a shell without output goes on */
		} else if (fds[i].fd == sh.ctl) {
			read_status();
		} else if (fds[i].fd == sh.in) {
			feed();
		}
	}
}
