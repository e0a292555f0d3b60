/*
 * cgroup: see cgroup.h. Which backend is used is decided by what is mounted where and which controllers v2 has; nothing is remounted.
 *
 * On a v2 host the controllers must be handed down from the root (cgroup.subtree_control); where the host has not done so, they are
 * added there, once, which changes no group that exists. On a hybrid host nothing at all is written outside our own groups.
 *
 * Removal is retried by the caller: after the last exit rmdir may say EBUSY for some milliseconds. A crash of hands leaves the groups,
 * and pid 1 of each sandbox dies with it (PDEATHSIG, socket); the next start of the same instance kills and removes what is left.
 */
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "xalloc.h"

#define SWEEP_MS 10000

static const char *const controllers[CG_JOINS] = { "memory", "pids", "cpu" };

struct cg {
	bool hybrid;
	char name[64];				/* roost-<instance> */
	char v2[256], v1[CG_JOINS][256];	/* mount points */
	int fd, v1fd[CG_JOINS];			/* our group in each */
};

static int
put(int dir, const char *file, const char *text)
{
	AUTO(fd) int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

static int
put_num(int dir, const char *file, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)value);
	return put(dir, file, text);
}

static int
get(int dir, const char *file, char *text, size_t size)
{
	AUTO(fd) int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || (n = read(fd, text, size - 1)) < 0)
		return -1;
	text[n] = '\0';
	return 0;
}

/* Is word one of the list's, separated by any of seps? */
static bool
listed(const char *list, const char *word, const char *seps)
{
	size_t len = strlen(word);
	const char *p = list;

	while (*p) {
		size_t n = strcspn(p, seps);

		if (n == len && strncmp(p, word, n) == 0)
			return true;
		p += n;
		p += strspn(p, seps);
	}
	return false;
}

/* Remember where each hierarchy is mounted; the first mount of each wins. */
static int
find_mounts(struct cg *cg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	int i;

	if (!f)
		return -1;
	while (getline(&line, &cap, f) > 0) {
		char point[256], type[32], opts[512];
		const char *tail = strstr(line, " - ");

		if (sscanf(line, "%*s %*s %*s %*s %255s", point) != 1 || !tail || sscanf(tail, " - %31s %*s %511s", type, opts) != 2)
			continue;
		if (strcmp(type, "cgroup2") == 0 && !cg->v2[0])
			snprintf(cg->v2, sizeof cg->v2, "%s", point);
		for (i = 0; strcmp(type, "cgroup") == 0 && i < CG_JOINS; i++)
			if (listed(opts, controllers[i], ",") && !cg->v1[i][0])
				snprintf(cg->v1[i], sizeof cg->v1[i], "%s", point);
	}
	free(line);
	fclose(f);
	return 0;
}

static int
choose(struct cg *cg, struct err *e)
{
	char have[512] = "", missing[64] = "";
	AUTO(fd) int root = -1;
	int i, on_v2 = 0, on_v1 = 0;

	if (find_mounts(cg) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot read /proc/self/mountinfo");
	if (!cg->v2[0])
		return err_fault(e, EK_UNAVAILABLE, 0, "no cgroup2 file system is mounted; mount one at /sys/fs/cgroup/unified");
	root = open(cg->v2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || get(root, "cgroup.controllers", have, sizeof have) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot read %s", cg->v2);
	for (i = 0; i < CG_JOINS; i++) {
		bool v2 = listed(have, controllers[i], " \n");

		on_v2 += v2;
		on_v1 += cg->v1[i][0] != '\0';
		if (!v2 && !cg->v1[i][0])
			snprintf(missing + strlen(missing), sizeof missing - strlen(missing), " %s", controllers[i]);
	}
	cg->hybrid = on_v2 < CG_JOINS;
	if (missing[0])
		return err_fault(e, EK_UNAVAILABLE, 0, "the kernel offers no cgroup controller for:%s", missing);
	if (cg->hybrid && on_v1 < CG_JOINS)
		return err_fault(e, EK_UNAVAILABLE, 0, "memory, pids and cpu are spread over cgroup v1 and v2; they must be on one side");
	return 0;
}

static bool
populated(int fd)
{
	char text[256];

	return get(fd, "cgroup.events", text, sizeof text) == 0 && strstr(text, "populated 1") != NULL;
}

/* rmdir a group and all below it. -1 when any is still busy. */
static int
remove_tree(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	dir = fdopendir(fd);
	while (dir && (d = readdir(dir)) != NULL)
		if (d->d_type == DT_DIR && strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			rc |= remove_tree(fd, d->d_name);
	if (dir)
		closedir(dir);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		rc = -1;
	return rc;
}

/* Kill and remove what a predecessor left, in every hierarchy. */
static int
sweep(struct cg *cg, struct err *e)
{
	int64_t until = clock_mono_ms() + SWEEP_MS;
	AUTO(fd) int root = open(cg->v2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(fd) int old = openat(root, cg->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int i, rc;

	if (old >= 0) {
		log_info("sweep", "cgroup", cg->name, NULL);
		cg_kill(old);
		while (populated(old) && clock_mono_ms() < until)
			(void)poll(NULL, 0, 5);
	}
	for (;;) {
		rc = remove_tree(root, cg->name);
		for (i = 0; cg->hybrid && i < CG_JOINS; i++) {
			AUTO(fd) int v1 = open(cg->v1[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			rc |= remove_tree(v1, cg->name);
		}
		if (rc == 0)
			return 0;
		if (clock_mono_ms() >= until)
			return err_fault(e, EK_UNAVAILABLE, errno, "cannot remove the old cgroups %s", cg->name);
		(void)poll(NULL, 0, 10);
	}
}

static int
make_group(const char *mount, const char *name)
{
	AUTO(fd) int root = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 || (mkdirat(root, name, 0755) < 0 && errno != EEXIST))
		return -1;
	return openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* v2: every level must hand the controllers down. */
static int
hand_down(const struct cg *cg)
{
	AUTO(fd) int root = open(cg->v2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char have[512], text[32];
	int i;

	if (get(root, "cgroup.subtree_control", have, sizeof have) < 0)
		return -1;
	for (i = 0; i < CG_JOINS; i++) {
		snprintf(text, sizeof text, "+%s", controllers[i]);
		if (!listed(have, controllers[i], " \n")) {
			log_warn("cgroup_controller_enabled", "controller", controllers[i], "at", cg->v2, NULL);
			if (put(root, "cgroup.subtree_control", text) < 0)
				return -1;
		}
		if (put(cg->fd, "cgroup.subtree_control", text) < 0)
			return -1;
	}
	return 0;
}

/* The first number after key in file, or 0. */
static int64_t
number_in(const char *file, const char *key)
{
	char text[4096];
	const char *p;

	if (get(AT_FDCWD, file, text, sizeof text) < 0 || !(p = strstr(text, key)))
		return 0;
	return strtoll(p + strlen(key), NULL, 10);
}

/*
 * What all sandboxes together may take: limits of single ones add up to more than the host. Three quarters of the memory (tools die
 * first there as well), half of the process ids, and half the weight of anything else that wants the CPU.
 */
static int
limit_all(const struct cg *cg)
{
	int64_t memory = number_in("/proc/meminfo", "MemTotal:") * 1024 / 4 * 3, pids = number_in("/proc/sys/kernel/pid_max", "") / 2;

	if (memory <= 0 || pids <= 0)
		return -1;
	if (!cg->hybrid)
		return put_num(cg->fd, "memory.max", memory) < 0 || put_num(cg->fd, "pids.max", pids) < 0 ||
		    put(cg->fd, "cpu.weight", "50") < 0 ? -1 : 0;
	return put_num(cg->v1fd[0], "memory.limit_in_bytes", memory) < 0 || put_num(cg->v1fd[1], "pids.max", pids) < 0 ||
	    put(cg->v1fd[2], "cpu.shares", "512") < 0 ? -1 : 0;
}

int
cg_open(struct cg **out, const char *instance, struct err *e)
{
	struct cg *cg = xcalloc(1, sizeof *cg);
	int i;

	cg->fd = -1;
	for (i = 0; i < CG_JOINS; i++)
		cg->v1fd[i] = -1;
	snprintf(cg->name, sizeof cg->name, "roost-%s", instance);
	if (choose(cg, e) < 0 || sweep(cg, e) < 0) {
		cg_close(&cg);
		return -1;
	}
	cg->fd = make_group(cg->v2, cg->name);
	for (i = 0; cg->fd >= 0 && cg->hybrid && i < CG_JOINS; i++)
		cg->v1fd[i] = make_group(cg->v1[i], cg->name);
	if (cg->fd < 0 || (cg->hybrid && (cg->v1fd[0] < 0 || cg->v1fd[1] < 0 || cg->v1fd[2] < 0))) {
		err_fault(e, EK_UNAVAILABLE, errno, "cannot make the cgroup %s", cg->name);
		cg_close(&cg);
		return -1;
	}
	if (faccessat(cg->fd, "cgroup.kill", W_OK, 0) < 0 || faccessat(cg->fd, "cgroup.freeze", W_OK, 0) < 0) {
		err_fault(e, EK_UNAVAILABLE, errno, "cgroup.kill or cgroup.freeze is missing: Linux 5.14 or newer is needed");
		cg_close(&cg);
		return -1;
	}
	if (!cg->hybrid && hand_down(cg) < 0) {
		err_fault(e, EK_UNAVAILABLE, errno, "cannot hand memory, pids and cpu down to %s", cg->name);
		cg_close(&cg);
		return -1;
	}
	if (limit_all(cg) < 0) {
		err_fault(e, EK_UNAVAILABLE, errno, "cannot set the limits of %s", cg->name);
		cg_close(&cg);
		return -1;
	}
	*out = cg;
	return 0;
}

void
cg_close(struct cg **cgp)
{
	struct cg *cg = *cgp;
	int i;

	if (!cg)
		return;
	if (cg->fd >= 0) {
		AUTO(fd) int root = open(cg->v2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		(void)remove_tree(root, cg->name);
		close(cg->fd);
	}
	for (i = 0; i < CG_JOINS; i++)
		if (cg->v1fd[i] >= 0) {
			AUTO(fd) int root = open(cg->v1[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			(void)remove_tree(root, cg->name);
			close(cg->v1fd[i]);
		}
	free(cg);
	*cgp = NULL;
}

const char *
cg_backend(const struct cg *cg)
{
	return cg->hybrid ? "hybrid" : "v2";
}

static int
limit_v2(int fd, const struct cg_limits *lim)
{
	char cpu[48];

	snprintf(cpu, sizeof cpu, "%lld 100000", (long long)lim->cpu_pct * 1000);
	if (put_num(fd, "memory.max", lim->memory_bytes) < 0 || put_num(fd, "pids.max", lim->pids) < 0 || put(fd, "cpu.max", cpu) < 0)
		return -1;
	(void)put(fd, "memory.swap.max", "0");		/* absent without swap accounting */
	return 0;
}

static int
limit_v1(const int dir[CG_JOINS], const struct cg_limits *lim)
{
	if (put_num(dir[0], "memory.limit_in_bytes", lim->memory_bytes) < 0)
		return -1;
	(void)put_num(dir[0], "memory.memsw.limit_in_bytes", lim->memory_bytes);	/* absent without swap accounting */
	if (put_num(dir[1], "pids.max", lim->pids) < 0)
		return -1;
	return put_num(dir[2], "cpu.cfs_quota_us", lim->cpu_pct * 1000);		/* of the default period of 100 ms */
}

static int
box_v1(struct cg *cg, const struct cg_limits *lim, struct cg_box *box)
{
	int dir[CG_JOINS] = { -1, -1, -1 }, i, rc = 0;

	for (i = 0; i < CG_JOINS && rc == 0; i++) {
		if (mkdirat(cg->v1fd[i], box->name, 0755) < 0)
			rc = -1;
		else if ((dir[i] = openat(cg->v1fd[i], box->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			rc = -1;
		else if ((box->join[i] = openat(dir[i], "cgroup.procs", O_WRONLY | O_CLOEXEC)) < 0)
			rc = -1;
		else
			box->njoin++;
	}
	if (rc == 0)
		rc = limit_v1(dir, lim);
	for (i = 0; i < CG_JOINS; i++)
		if (dir[i] >= 0)
			close(dir[i]);
	return rc;
}

int
cg_box_make(struct cg *cg, const char *name, const struct cg_limits *lim, uid_t owner, struct cg_box *box, struct err *e)
{
	int rc;

	*box = (struct cg_box){ .fd = -1, .join = { -1, -1, -1 } };
	snprintf(box->name, sizeof box->name, "%s", name);
	rc = mkdirat(cg->fd, name, 0755);
	if (rc == 0)
		rc = (box->fd = openat(cg->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ? -1 : 0;
	/* pid 1 starts processes in groups below: the kernel asks for write access to the common ancestor's list */
	if (rc == 0)
		rc = fchownat(box->fd, "cgroup.procs", owner, owner, 0);
	if (rc == 0)
		rc = cg->hybrid ? box_v1(cg, lim, box) : limit_v2(box->fd, lim);
	if (rc == 0)
		return 0;
	err_fault(e, EK_UNAVAILABLE, errno, "cannot make the cgroups of %s", name);
	cg_box_close(box);
	(void)cg_box_remove(cg, box);
	return -1;
}

int
cg_box_enter(const struct cg_box *box, bool placed)
{
	int i;

	if (!placed && put(box->fd, "cgroup.procs", "0") < 0)
		return -1;
	for (i = 0; i < box->njoin; i++)
		if (write(box->join[i], "0", 1) < 0)
			return -1;
	return 0;
}

void
cg_box_joined(struct cg_box *box)
{
	int i;

	for (i = 0; i < CG_JOINS; i++) {
		if (box->join[i] >= 0)
			close(box->join[i]);
		box->join[i] = -1;
	}
}

void
cg_box_close(struct cg_box *box)
{
	cg_box_joined(box);
	if (box->fd >= 0)
		close(box->fd);
	box->fd = -1;
}

int
cg_box_remove(struct cg *cg, const struct cg_box *box)
{
	int i, rc = remove_tree(cg->fd, box->name);

	for (i = 0; cg->hybrid && i < CG_JOINS; i++)
		if (unlinkat(cg->v1fd[i], box->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			rc = -1;
	return rc;
}

int
cg_leaf_make(const struct cg_box *box, const char *leaf, uid_t owner)
{
	int fd;

	if (mkdirat(box->fd, leaf, 0755) < 0)
		return -1;
	fd = openat(box->fd, leaf, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fchownat(fd, "cgroup.procs", owner, owner, 0) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	(void)unlinkat(box->fd, leaf, AT_REMOVEDIR);
	return -1;
}

int
cg_leaf_remove(const struct cg_box *box, const char *leaf)
{
	return unlinkat(box->fd, leaf, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}

void
cg_kill(int fd)
{
	if (fd >= 0)
		(void)put(fd, "cgroup.kill", "1");
}

void
cg_freeze(const struct cg_box *box, bool frozen)
{
	if (box->fd >= 0)
		(void)put(box->fd, "cgroup.freeze", frozen ? "1" : "0");
}
