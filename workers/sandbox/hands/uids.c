/*
 * uids: see uids.h. Automatic stretches lie in 0x70000000..0xfffffffe, above what distributions hand out to users, subordinate ranges
 * and containers, in pieces of 576 sandboxes (the default and some that are dying); each piece is held by a lock on
 * UIDS_LOCKS/<piece>, which the kernel drops when we die.
 *
 * A user namespace costs a process to make (0.3 ms), so it is kept per slot for the next sandbox there: it holds nothing but the map.
 */
#include "uids.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "id.h"
#include "xalloc.h"

#define UIDS_LOCKS "/run/roost-uids"
#define FIRST 0x70000000u
#define EACH_PIECE 576u
#define PIECE (EACH_PIECE * UIDS_EACH)
#define PIECES 63
#define LOCKS_MAX 24		/* sandboxes_max is at most 10 000 */

struct uids {
	int64_t base;
	int slots;
	bool *used;
	int *userns;
	int locks[LOCKS_MAX], nlocks;
};

static void
unlock(struct uids *u)
{
	while (u->nlocks > 0)
		close(u->locks[--u->nlocks]);
}

/* Hold `need` neighbouring pieces from `at` on, or none. */
static bool
lock_pieces(struct uids *u, unsigned at, unsigned need)
{
	char path[64];
	unsigned i;

	for (i = 0; i < need; i++) {
		int fd;

		snprintf(path, sizeof path, UIDS_LOCKS "/%u", at + i);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (fd >= 0)
				close(fd);
			unlock(u);
			return false;
		}
		u->locks[u->nlocks++] = fd;
	}
	return true;
}

static int
find_base(struct uids *u, const char *instance, struct err *e)
{
	unsigned need = ((unsigned)u->slots + EACH_PIECE - 1) / EACH_PIECE, i, at;
	uint32_t hash = id_hash(instance);

	if (mkdir(UIDS_LOCKS, 0700) < 0 && errno != EEXIST)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make " UIDS_LOCKS);
	for (i = 0; i < PIECES; i++) {
		at = (hash + i) % PIECES;
		if (at + need <= PIECES && lock_pieces(u, at, need)) {
			u->base = (int64_t)FIRST + (int64_t)at * PIECE;
			return 0;
		}
	}
	return err_fault(e, EK_UNAVAILABLE, 0, "no free uid range for %d sandboxes: other instances hold them; set uid_base or lower "
	    "sandboxes_max", u->slots);
}

int
uids_open(struct uids **out, const char *instance, int64_t base, int slots, struct err *e)
{
	struct uids *u = xcalloc(1, sizeof *u);
	int i;

	u->slots = slots;
	u->base = base;
	u->used = xcalloc((size_t)slots, sizeof *u->used);
	u->userns = xcalloc((size_t)slots, sizeof *u->userns);
	for (i = 0; i < slots; i++)
		u->userns[i] = -1;
	if (base == 0 ? find_base(u, instance, e) < 0 : base + (int64_t)slots * UIDS_EACH > 0xfffffffeLL &&
	    err_fault(e, EK_UNAVAILABLE, 0, "uid_base leaves no room for %d sandboxes of 65536 uids", slots) < 0) {
		uids_free(&u);
		return -1;
	}
	*out = u;
	return 0;
}

void
uids_free(struct uids **up)
{
	struct uids *u = *up;
	int i;

	if (!u)
		return;
	for (i = 0; i < u->slots; i++)
		if (u->userns[i] >= 0)
			close(u->userns[i]);
	unlock(u);
	free(u->used);
	free(u->userns);
	free(u);
	*up = NULL;
}

/* The lowest free one: its user namespace is most likely there already. */
int
uids_take(struct uids *u)
{
	int i;

	for (i = 0; i < u->slots; i++)
		if (!u->used[i]) {
			u->used[i] = true;
			return i;
		}
	return -1;
}

void
uids_put(struct uids *u, int slot)
{
	u->used[slot] = false;
}

uid_t
uids_base(const struct uids *u, int slot)
{
	return (uid_t)(u->base + (int64_t)slot * UIDS_EACH);
}

static int
write_map(pid_t pid, const char *file, uid_t base)
{
	char path[64], text[64];
	AUTO(fd) int fd = -1;
	int n = snprintf(text, sizeof text, "0 %u %u\n", base, UIDS_EACH);

	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, (size_t)n) == n ? 0 : -1;
}

int
uids_userns(struct uids *u, int slot, struct err *e)
{
	char path[64];
	pid_t pid;
	int fd = -1, saved;

	if (u->userns[slot] >= 0)
		return u->userns[slot];
	/* the child only has to exist until its namespace is held */
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make a user namespace (see user.max_user_namespaces)");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			pause();
	}
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	if (write_map(pid, "uid_map", uids_base(u, slot)) == 0 && write_map(pid, "gid_map", uids_base(u, slot)) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	saved = errno;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (fd < 0)
		return err_fault(e, EK_UNAVAILABLE, saved, "cannot map uids %u+65536", uids_base(u, slot));
	u->userns[slot] = fd;
	return fd;
}
