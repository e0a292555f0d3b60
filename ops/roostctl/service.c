/*
 * service: looks at the instance from outside: the supervisor's files, unix sockets, small programs.
 *
 * Promises: nothing blocks for longer than its time limit and nothing is changed. Fails when the caller may not look (the supervisor's
 * files are root's) or when a process does not answer; the caller says what that means.
 */
#include "service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

/* The first line of a small file; "" when it cannot be read. */
static void
first_line(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");

	out[0] = '\0';
	if (!f)
		return;
	if (fgets(out, (int)size, f))
		out[strcspn(out, "\n")] = '\0';
	fclose(f);
}

static void
service_read(const struct conf *c, const char *dir, struct service *s)
{
	const char *name = strrchr(dir, '/') + 1;
	char path[600], text[64];

	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(path, sizeof(path), "%s/supervise/%s/stat", c->run_dir, name);
	first_line(path, text, sizeof(text));
	snprintf(s->state, sizeof(s->state), "%.15s", text[0] ? text : "unknown");
	snprintf(path, sizeof(path), "%s/supervise/%s/pid", c->run_dir, name);
	first_line(path, text, sizeof(text));
	s->pid = atoi(text);
	snprintf(path, sizeof(path), "%s/supervise/%s.started", c->run_dir, name);
	first_line(path, text, sizeof(text));
	s->seconds = text[0] ? (int64_t)time(NULL) - atoll(text) : 0;
}

int
service_list(const struct conf *c, struct service out[SERVICES_MAX], struct err *e)
{
	char pattern[300];
	glob_t found;
	int n = 0;

	snprintf(pattern, sizeof(pattern), "%s/supervise", c->run_dir);
	if (access(pattern, R_OK) != 0)
		return err_set(e, EK_UNAVAILABLE, errno, "%s: %s (is it up? are you root?)", pattern, strerror(errno));
	snprintf(pattern, sizeof(pattern), "%s/service/*", c->run_dir);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc && n < SERVICES_MAX; i++)
		service_read(c, found.gl_pathv[i], &out[n++]);
	globfree(&found);
	return n;
}

/* Read until end of file or deadline. Returns 0 at the end of file. */
static int
read_until(int fd, int64_t deadline_ms, char *out, int size)
{
	int used = 0;
	char drop[512];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline_ms - clock_mono_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -1;
		n = used < size - 1 ? read(fd, out + used, (size_t)(size - 1 - used)) : read(fd, drop, sizeof(drop));
		if (n <= 0)
			return 0;
		if (used < size - 1)
			used += (int)n;
		out[used] = '\0';
	}
}

int
service_capture(const char *const *argv, int seconds, char *out, int size)
{
	int fds[2], status = -1;
	pid_t pid;

	out[0] = '\0';
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fds[1]);
	if (pid > 0 && read_until(fds[0], clock_mono_ms() + seconds * 1000, out, size) != 0)
		kill(pid, SIGKILL);
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return -1;
	return WEXITSTATUS(status);
}

static int
unix_open(const char *path, int timeout_ms, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, EK_INVALID, 0, "%s: path too long for a socket", path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	}
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		return err_set(e, EK_UNAVAILABLE, errno, "%s: %s", path, strerror(errno));
	return steal_fd(fd);
}

int
service_connect(const char *path, int timeout_ms, struct err *e)
{
	AUTO(fd) int fd = unix_open(path, timeout_ms, e);

	return fd < 0 ? -1 : 0;
}

/* One frame of lib/base/frame.h each way, blocking. */
int
service_hands(const struct conf *c, char *out, int size, struct err *e)
{
	static const char ask[] = "{\"op\":\"status\",\"n\":1}";
	AUTO(fd) int fd = unix_open(c->hands_socket, 2000, e);
	uint32_t len = htonl(sizeof(ask) - 1);

	if (fd < 0)
		return -1;
	if (send(fd, &len, sizeof(len), MSG_NOSIGNAL) != sizeof(len) || send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) != sizeof(ask) - 1)
		return err_set(e, EK_UNAVAILABLE, errno, "%s: %s", c->hands_socket, strerror(errno));
	if (recv(fd, &len, sizeof(len), MSG_WAITALL) != sizeof(len) || ntohl(len) >= (uint32_t)size ||
	    recv(fd, out, ntohl(len), MSG_WAITALL) != (ssize_t)ntohl(len))
		return err_set(e, EK_UNAVAILABLE, errno, "%s: no answer", c->hands_socket);
	out[ntohl(len)] = '\0';
	return 0;
}
