/*
 * roost-stream: the process that holds the event streams. Main thread: the hub's loop. Door threads: accept, authorise, hand over.
 *
 * Started as `roost-stream -c FILE`, as its own system user, with a read-only database role. Crashing costs clients a reconnect and
 * loses nothing. SIGTERM and SIGINT: no new streams, every open one gets a retry hint and a proper end, then exit 0.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth.h"
#include "conf.h"
#include "db.h"
#include "door.h"
#include "harden.h"
#include "hub.h"
#include "log.h"
#include "still.h"
#include "xalloc.h"

#define STOP_MS 2000
#define SPARE_FDS 64			/* descriptors that are not streams */

struct stop {
	struct hub *hub;
	struct doors *doors;
};

/* libfcgi installs handlers that only set a flag (performance.md F1), so this comes after FCGX_Init(). Inherited by all threads. */
static int
signals(void)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	must(fd >= 0);
	return fd;
}

static void
on_signal(void *ctx, int fd, uint32_t events)
{
	struct stop *s = ctx;
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof si) != sizeof si)
		return;
	log_info("stopping", NULL);
	doors_shut(s->doors);
	hub_stop(s->hub, STOP_MS);
}

/* One stream is one descriptor: take all the system allows, and admit no more than that. */
static void
limit_streams(struct conf *c)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_max != RLIM_INFINITY && c->sse_max > (int64_t)rl.rlim_max - SPARE_FDS)
		c->sse_max = (int64_t)rl.rlim_max - SPARE_FDS;
}

/* A unix socket for nginx: 0660, the group of conf. It listens before it takes its name, so that nobody finds a deaf one. */
static int
listen_at(const char *path, const char *group, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const struct group *g = *group ? getgrnam(group) : NULL;
	int fd, rc;

	if (!*path || (size_t)snprintf(sa.sun_path, sizeof sa.sun_path, "%s.new", path) >= sizeof sa.sun_path)
		return err_set(e, EK_INVALID, 0, "listen_socket: \"%s\" is no usable path", path);
	if (*group && !g)
		return err_set(e, EK_INVALID, 0, "listen_group: no group \"%s\"", group);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_fault(e, EK_INTERNAL, errno, "socket");
	(void)unlink(sa.sun_path);
	umask(0117);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
	umask(0077);
	if (rc < 0 || (g && chown(sa.sun_path, (uid_t)-1, g->gr_gid) < 0) || listen(fd, 4096) < 0 || rename(sa.sun_path, path) < 0) {
		err_set(e, EK_INTERNAL, errno, "listen on %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/* Does it answer? A stream only reads (lib/store/still.h). */
static int
ask_postgres(struct db *db, struct err *e)
{
	return DB_RUN(db, STMT_STREAM_SESSION, NULL, e, "", "");
}

static int
run(struct conf *c, struct err *e)
{
	struct loop *loop = loop_new();
	struct auth *auth = auth_open(c, e);
	static struct stop stop;	/* outlives the loop: door threads may still use what it names */
	int listen_fd, sig;

	if (!auth)
		return -1;
	if (FCGX_Init() != 0)
		return err_fault(e, EK_INTERNAL, errno, "FCGX_Init");
	sig = signals();
	limit_streams(c);
	listen_fd = listen_at(c->listen_socket, c->listen_group, e);
	if (listen_fd < 0)
		return -1;
	still_watch(db_open(c->pg_dsn, DB_STREAM, (int)c->pg_timeout_ms), ask_postgres, (int)c->pg_timeout_ms / 2);
	stop.hub = hub_new(loop, c);
	stop.doors = doors_open(c, auth, stop.hub, listen_fd);
	loop_watch(loop, sig, EPOLLIN, on_signal, &stop);
	log_info("started", "socket", c->listen_socket, "streams_max", LOGN(c->sse_max), NULL);
	loop_run(loop);
	(void)unlink(c->listen_socket);
	log_info("stopped", NULL);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct conf conf;
	struct err e = ERR_INIT;

	conf_args(&conf, argc, argv);
	harden_process(false);		/* it has the pepper */
	log_open("roost-stream", log_level_of(conf.log_level));
	if (run(&conf, &e) == 0)
		return 0;		/* door threads may still be in a query: exit ends them, they hold nothing that needs saving */
	log_err("start_failed", &e, NULL);
	fprintf(stderr, "roost-stream: %s\n", e.pub);
	return 1;
}
