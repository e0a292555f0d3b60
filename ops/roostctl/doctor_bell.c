/*
 * doctor_bell: the workers' sockets (lib/bus/bell.h): may gateways, and nobody else, reach their folder, and does each worker that runs here
 * listen there? What is wrong here costs time only, doorbells then go by Redis, unless others may write into the folder: what is read from
 * a bell is believed.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cleanup.h"
#include "service.h"

#define AGAIN "run `make up` again: it makes the folder"

static bool
folder_good(struct doctor *d, const char *path)
{
	const struct passwd *worker = getpwnam("roost-worker");
	const struct group *gw = getgrnam("roost-gw");
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		doctor_warn(d, AGAIN, "no folder %s: doorbells go by Redis", path);
		return false;
	}
	if (!worker || !gw || st.st_uid != worker->pw_uid || st.st_gid != gw->gr_gid || (st.st_mode & 07777) != 02710) {
		doctor_fail(d, AGAIN, "%s should be roost-worker's, of group roost-gw, with mode 2710", path);
		return false;
	}
	return true;
}

/* What lies there and is no socket of the folder's owner, which nobody of ours makes. Gateways do not write to such (lib/bus/bell.h). */
static bool
foreign(const char *path, char out[256])
{
	DIR *dir = opendir(path);
	const struct dirent *f;
	struct stat folder, st;
	bool found = false;

	while (dir && !found && fstat(dirfd(dir), &folder) == 0 && (f = readdir(dir))) {
		found = strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0 && fstatat(dirfd(dir), f->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (!S_ISSOCK(st.st_mode) || st.st_uid != folder.st_uid);
		if (found)
			snprintf(out, 256, "%s", f->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool
listens(const char *path, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return (size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", path, name) < sizeof(sa.sun_path) && fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;
}

static int
listeners(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *f;
	int n = 0;

	while (dir && (f = readdir(dir)))
		n += f->d_name[0] != '.' && listens(path, f->d_name);
	if (dir)
		closedir(dir);
	return n;
}

void
doctor_bell(struct doctor *d)
{
	const struct conf *c = &d->ctl->conf;
	struct service list[SERVICES_MAX];
	struct err e = ERR_INIT;
	int n = service_list(c, list, &e), workers = 0, heard;
	char other[256];

	if (!c->bell_dir[0]) {
		doctor_ok(d, "no bell_dir is set: doorbells go by Redis");
		return;
	}
	if (!folder_good(d, c->bell_dir))
		return;
	if (foreign(c->bell_dir, other)) {
		doctor_fail(d, "find out who put it there, a worker may have been broken into; then remove it", "%s/%s is not a socket of roost-worker's",
		    c->bell_dir, other);
		return;
	}
	for (int i = 0; i < n; i++)
		workers += strncmp(list[i].name, "worker-", 7) == 0 && strcmp(list[i].state, "run") == 0;
	heard = listeners(c->bell_dir);
	if (heard < workers)
		doctor_warn(d, "see the log of the workers (no_bell)", "%d of %d workers listen: the others' doorbells go by Redis", heard, workers);
	else
		doctor_ok(d, "%d workers listen", heard);
}
