/*
 * each: see each.h. One poll loop over the socket and the signals. A program inherits the connection, stderr (its log) and nothing else:
 * no descriptor, no environment but PATH, default signals. Its deadline is an alarm, which survives exec, so that it ends even when we do
 * not; PDEATHSIG ends it when we die.
 *
 * Fails at the start (exit 1) when a name of `users` is unknown or the socket cannot be made; later only by losing its socket.
 */
#include "each.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "xalloc.h"

#define USERS_MAX 8
#define BACKLOG 128
#define STOP_MS 8000	/* programs under way at SIGTERM; the supervisor waits longer */

struct state {
	const struct each *s;
	char program[512];
	uid_t users[USERS_MAX];
	int nusers, running, fd, sigfd;
	bool stopping;
};

/* --- start ------------------------------------------------------------------------------------------------------------------- */

/* A system user of this machine, straight from its file: name services would want libraries in a program that has none. */
static bool
find_user(const char *name, uid_t *out)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw = NULL;
	bool found = false;

	while (f && !found && (pw = fgetpwent(f)) != NULL)
		if (strcmp(pw->pw_name, name) == 0) {
			*out = pw->pw_uid;
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

static int
find_users(struct state *st, struct err *e)
{
	AUTO(str) char *names = xstrdup(st->s->users);
	char *save = NULL;

	for (char *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		if (st->nusers == USERS_MAX || !find_user(name, &st->users[st->nusers]))
			return err_fault(e, EK_UNAVAILABLE, 0, "user %s: there is none, or one too many", name);
		st->nusers++;
	}
	return 0;
}

static int
find_program(struct state *st, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", st->program, sizeof st->program - 1);
	char *slash;

	st->program[n > 0 ? n : 0] = '\0';
	slash = strrchr(st->program, '/');
	if (!slash || (size_t)(slash + 1 - st->program) + strlen(st->s->program) >= sizeof st->program)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot tell where %s is", st->s->program);
	snprintf(slash + 1, sizeof st->program - (size_t)(slash + 1 - st->program), "%s", st->s->program);
	return access(st->program, X_OK) == 0 ? 0 : err_fault(e, EK_UNAVAILABLE, errno, "cannot run %s", st->program);
}

static int
open_socket(struct state *st, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(str) char *dir = xstrdup(st->s->socket);
	char *slash = strrchr(dir, '/');
	struct stat folder;

	if (strlen(st->s->socket) >= sizeof addr.sun_path || !slash)
		return err_fault(e, EK_UNAVAILABLE, 0, "socket path %s is too long, or not from the root", st->s->socket);
	*slash = '\0';
	if (stat(dir, &folder) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot use folder %s", dir);
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", st->s->socket);
	st->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(addr.sun_path);
	(void)umask(0177);	/* nobody's between bind and chmod */
	if (st->fd < 0 || bind(st->fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chown(addr.sun_path, (uid_t)-1, folder.st_gid) < 0 ||
	    chmod(addr.sun_path, 0660) < 0 || listen(st->fd, BACKLOG) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot listen on %s: %s", addr.sun_path, strerror(errno));
	(void)umask(022);
	return 0;
}

static void
open_signals(struct state *st)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must((st->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) >= 0);
}

/* --- programs ---------------------------------------------------------------------------------------------------------------- */

static void
become(const struct state *st, int conn, pid_t parent)
{
	const char *const argv[] = { st->program, "-c", st->s->conf_path, NULL };
	const char *const envp[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL };
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(conn, EACH_FD) < 0 || (conn == EACH_FD && fcntl(conn, F_SETFD, 0) < 0))
		_exit(127);
	(void)signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)alarm((unsigned)st->s->seconds);
	execve(st->program, (char *const *)argv, (char *const *)envp);
	_exit(127);
}

static void
say_busy(int conn)
{
	char frame[64] = { 0 };
	int n = snprintf(frame + 4, sizeof frame - 4, "{\"error\":\"%s\"}", err_name(EK_OVERLOADED));

	frame[3] = (char)n;	/* as ask_refuse() makes it, without its JSON library */
	(void)send(conn, frame, 4 + (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool
served(const struct state *st, int conn)
{
	struct ucred who;
	socklen_t len = sizeof who;

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	for (int i = 0; i < st->nusers; i++)
		if (st->users[i] == who.uid)
			return true;
	log_warn("refused", "uid", LOGN((int64_t)who.uid), "pid", LOGN((int64_t)who.pid), NULL);
	return false;
}

/* False: nobody waits. */
static bool
take(struct state *st)
{
	pid_t parent = getpid(), pid;
	/* cppcheck-suppress nullPointer ; the peer's address may be NULL */
	AUTO(fd) int conn = accept4(st->fd, NULL, NULL, SOCK_CLOEXEC);

	if (conn < 0)
		return false;
	if (!served(st, conn))
		return true;
	if (st->running >= st->s->max) {
		log_warn("busy", "running", LOGN(st->running), NULL);
		say_busy(conn);
		return true;
	}
	pid = fork();
	if (pid == 0)
		become(st, conn, parent);
	if (pid < 0)
		log_warn("fork_failed", "error", strerror(errno), NULL);
	else
		st->running++;
	return true;
}

static void
reap(struct state *st)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		st->running--;
		if (WIFSIGNALED(status))
			log_warn("program_killed", "program", st->s->program, "pid", LOGN(pid), "signal", LOGN(WTERMSIG(status)), NULL);
		else if (WEXITSTATUS(status) != 0)
			log_warn("program_failed", "program", st->s->program, "pid", LOGN(pid), "status", LOGN(WEXITSTATUS(status)), NULL);
	}
}

static void
on_signals(struct state *st)
{
	struct signalfd_siginfo si;

	while (read(st->sigfd, &si, sizeof si) == (ssize_t)sizeof si)
		if (si.ssi_signo != SIGCHLD)
			st->stopping = true;
	reap(st);
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

/* One wait; ms -1: as long as it takes. */
static void
once(struct state *st, bool listening, int ms)
{
	struct pollfd fds[2] = { { .fd = st->sigfd, .events = POLLIN }, { .fd = listening ? st->fd : -1, .events = POLLIN } };

	if (poll(fds, 2, ms) < 0)
		return;
	if (fds[0].revents)
		on_signals(st);
	if (fds[1].revents && !st->stopping)
		(void)take(st);
}

int
each_run(const struct each *s)
{
	struct state st = { .s = s, .fd = -1 };
	struct err e = ERR_INIT;
	int64_t until;

	open_signals(&st);
	if (find_users(&st, &e) < 0 || find_program(&st, &e) < 0 || open_socket(&st, &e) < 0) {
		log_err("start_failed", &e, NULL);
		return 1;
	}
	log_info("started", "socket", s->socket, "users", s->users, NULL);
	while (!st.stopping)
		once(&st, true, -1);
	(void)unlink(s->socket);
	for (int n = 0; n < BACKLOG && take(&st); n++)
		continue;	/* who has connected is served: it cannot know that nobody has heard it */
	close(st.fd);
	log_info("stopping", "running", LOGN(st.running), NULL);
	until = clock_mono_ms() + STOP_MS;
	while (st.running > 0 && clock_mono_ms() < until)
		once(&st, false, 100);
	return 0;
}
