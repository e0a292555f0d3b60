/*
 * roost-hands: makes, keeps and ends sandboxes on behalf of workers. See workers/sandbox/README.md.
 *
 * Start, in this order: settings; one lock per instance, so that a second hands cannot sweep the first one's sandboxes; private mount
 * namespace with the made /etc; the instance's cgroups (leftovers of a predecessor are killed and removed); uid range; filter; then
 * all but ten capabilities are dropped, and a filter leaves us the system calls of tools and those that making a sandbox takes. One trial
 * sandbox is started and must come up before the socket is opened: a host that lacks something refuses here, with the step that failed,
 * and never offers half a sandbox.
 *
 * On SIGTERM the sandboxes are killed and everything is removed; on a crash the kernel ends them (PDEATHSIG) and the next start sweeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blobs.h"
#include "box.h"
#include "cleanup.h"
#include "clock.h"
#include "etc.h"
#include "filter.h"
#include "hands.h"
#include "log.h"
#include "priv.h"
#include "server.h"
#include "session.h"

#define TRIAL_MS 20000
#define STOP_MS 5000
#define DYING_MAX 64	/* uid ranges beyond sandboxes_max, for those that are still dying */
#define FILES_EACH 10	/* descriptors of one sandbox with a call or two */
#define INODE_BYTES 2048	/* kernel memory of one tmpfs inode with its name, rounded up */

/* The file systems live in the sandbox's memory: full disks must not become killed processes. */
static int
check_limits(const struct conf *c, struct err *e)
{
	int64_t fs = (c->sandbox_disk_mb << 20) + c->sandbox_inodes * INODE_BYTES, most = (c->sandbox_memory_mb << 20) / 4 * 3;
	const char *p;

	for (p = c->instance; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *p))
			return err_fault(e, EK_INVALID, 0, "instance: only letters, digits, - and _");
	if (!c->instance[0] || strlen(c->instance) > 40)
		return err_fault(e, EK_INVALID, 0, "instance: 1 to 40 characters");
	if (fs > most)
		return err_fault(e, EK_INVALID, 0, "sandbox_disk_mb (%lld) and sandbox_inodes (%lld, 2 KiB each) need %lld MiB: more than "
		    "three quarters of sandbox_memory_mb (%lld)", (long long)c->sandbox_disk_mb, (long long)c->sandbox_inodes,
		    (long long)(fs >> 20), (long long)c->sandbox_memory_mb);
	return 0;
}

static int
lock_instance(const char *dir, struct err *e)
{
	char path[320];
	int fd;

	snprintf(path, sizeof path, "%s/lock", dir);
	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || chmod(dir, 0700) < 0 || chown(dir, 0, 0) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot use sandbox_dir %s", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "another roost-hands runs on %s", dir);
	return 0;	/* held until the process ends */
}

/* A mount namespace of our own: nothing we mount is ever seen, or left behind, outside. */
static int
prepare_mounts(struct hands *h, struct err *e)
{
	char view[320];

	snprintf(h->root_dir, sizeof h->root_dir, "%s/root", h->conf.sandbox_dir);
	snprintf(h->etc_dir, sizeof h->etc_dir, "%s/etc", h->conf.sandbox_dir);
	if ((mkdir(h->root_dir, 0700) < 0 && errno != EEXIST) || (mkdir(h->etc_dir, 0700) < 0 && errno != EEXIST))
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make directories in %s", h->conf.sandbox_dir);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make a mount namespace");
	if (mount("etc", h->etc_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=16m,nr_inodes=4096") < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot mount a tmpfs");
	snprintf(view, sizeof view, "%s/view", h->conf.sandbox_dir);
	if (blobs_open(&h->blobs, h->conf.blob_dir, view, h->conf.blob_spare_mb << 20, e) < 0)
		return -1;
	return etc_build(h->etc_dir, e);
}

/* roost-init as a sealed file in memory: no path of the host leads into a sandbox. */
static int
load_init(const char *path, struct err *e)
{
	AUTO(fd) int from = open(path, O_RDONLY | O_CLOEXEC);
	AUTO(fd) int to = -1;
	struct stat st;
	off_t left;
	ssize_t n;

	if (from < 0 || fstat(from, &st) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "init_path: cannot open %s", path);
	to = memfd_create("roost-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	for (left = st.st_size; to >= 0 && left > 0; left -= n)
		if ((n = sendfile(to, from, NULL, (size_t)left)) <= 0)
			return err_fault(e, EK_UNAVAILABLE, errno, "cannot copy %s", path);
	if (to < 0 || fchmod(to, 0555) < 0 || fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot seal roost-init in memory");
	return steal_fd(to);
}

static int
prepare(struct hands *h, struct err *e)
{
	/* for all collections together: the CPU of one sandbox; memory, which is the store's pages in the main, of four */
	const struct cg_limits collecting = { .memory_bytes = h->conf.sandbox_memory_mb << 22, .pids = h->conf.sandbox_pids,
		.cpu_pct = h->conf.sandbox_cpu_pct };
	struct rlimit files;

	umask(022);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (files.rlim_cur < (rlim_t)h->conf.sandboxes_max * FILES_EACH)
		log_warn("few_descriptors", "limit", LOGN((int64_t)files.rlim_cur), "sandboxes_max", LOGN(h->conf.sandboxes_max), NULL);
	if (geteuid() != 0)
		return err_fault(e, EK_UNAVAILABLE, 0, "roost-hands must be started as root");
	if (check_limits(&h->conf, e) < 0 || lock_instance(h->conf.sandbox_dir, e) < 0 || prepare_mounts(h, e) < 0)
		return -1;
	if ((h->init = load_init(h->conf.init_path, e)) < 0 || (h->filter = filter_compile(e)) < 0)
		return -1;
	if (access("/usr/bin/rg", X_OK) < 0)
		log_warn("ripgrep_missing", "note", "glob and grep will say so; install ripgrep", NULL);
	if (outputs_open(h, e) < 0)
		return -1;
	if (cg_open(&h->cg, h->conf.instance, e) < 0 || cg_box_make(h->cg, "collect", &collecting, 0, &h->collectors, e) < 0)
		return -1;
	if (uids_open(&h->uids, h->conf.instance, h->conf.uid_base, (int)h->conf.sandboxes_max + DYING_MAX, e) < 0)
		return -1;
	return priv_drop(e) < 0 ? -1 : filter_self(e);
}

static struct { bool ended; char why[256]; struct box *box; } trial;

static void trial_ready(void *owner) { (void)owner; trial.ended = true; }
static void trial_message(void *owner, const struct sb_msg *m) { (void)owner; (void)m; }

static void
trial_lost(void *owner, const char *why)
{
	(void)owner;
	trial.ended = true;
	trial.box = NULL;
	snprintf(trial.why, sizeof trial.why, "%s", why ? why : "roost-init ended at once");
}

/* Start one and wait until it is up (0) or gone (-1 with e). */
static int
try_once(struct hands *h, struct err *e)
{
	static const struct box_hooks hooks = { .ready = trial_ready, .message = trial_message, .lost = trial_lost };
	int64_t until = clock_mono_ms() + TRIAL_MS;

	trial.ended = false;
	if (box_start(h, &hooks, &trial, &trial.box, e) < 0)
		return err_wrap(e, "trial sandbox");
	while (!trial.ended && clock_mono_ms() < until)
		loop_once(h->loop, 100);
	if (!trial.box)
		return err_fault(e, EK_UNAVAILABLE, 0, "this host cannot make a sandbox: %s (Linux 5.14 or newer with user namespaces, "
		    "seccomp and cgroup v2 is needed; `roostctl doctor` says more)", trial.why);
	box_drop(&trial.box);
	while (h->boxes > 0 && clock_mono_ms() < until)
		loop_once(h->loop, 100);
	return 0;
}

/* Can this host make a sandbox at all? */
static int
try_one(struct hands *h, struct err *e)
{
	struct err first = ERR_INIT;

	if (try_once(h, &first) == 0)
		return 0;
	h->join_by_write = true;
	if (try_once(h, e) < 0)
		return -1;
	log_warn("cgroup_once_killed", "note", "this process is in a cgroup that was killed before; starts are slower", NULL);
	return 0;
}

static bool stopping;

static void
on_signal(void *ctx, int fd, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)ctx;
	(void)events;
	while (read(fd, &si, sizeof si) > 0)
		stopping = true;
}

/* End all sandboxes and remove what we made; also after a start that failed half-way. */
static void
stop(struct hands *h)
{
	int64_t until = clock_mono_ms() + STOP_MS;
	struct session *s;

	server_stop();
	box_drop(&trial.box);
	TAILQ_FOREACH(s, &h->sessions, link)
		session_destroy(s);
	while (h->boxes > 0 && clock_mono_ms() < until)
		loop_once(h->loop, 50);
	cg_box_close(&h->collectors);
	cg_close(&h->cg);
	uids_free(&h->uids);
}

int
main(int argc, char **argv)
{
	static struct hands h = { .collectors = { .fd = -1, .join = { -1, -1, -1 } } };
	struct err e = ERR_INIT;
	sigset_t set;
	int sigfd;

	conf_args(&h.conf, argc, argv);
	log_open("roost-hands", log_level_of(h.conf.log_level));
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	h.loop = loop_new();
	session_init(&h);
	if (prepare(&h, &e) < 0 || try_one(&h, &e) < 0 || server_start(&h, &e) < 0) {
		log_err("start_refused", &e, NULL);
		stop(&h);
		return 1;
	}
	loop_watch(h.loop, sigfd, EPOLLIN, on_signal, &h);
	log_info("ready", "socket", h.conf.hands_socket, "cgroups", cg_backend(h.cg), "landlock", h.landlock ? "yes" : "no", NULL);
	while (!stopping)
		loop_once(h.loop, -1);
	stop(&h);
	log_info("stopped", NULL);
	return 0;
}
