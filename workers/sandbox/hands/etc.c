/*
 * etc: see etc.h. Written by us: users, groups, hosts, name service. Copied from the host: what packages under /usr need to work at all
 * and what says nothing about the host (the alternatives' links, the linker's cache and paths, protocol and service names). The trust
 * store is put together from /usr/share/ca-certificates, so a host's private authorities stay out. Each file is optional: a host
 * without it has sandboxes without it.
 */
#include "etc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "wire.h"

DEFINE_CLEANUP(DIR *, dir, closedir)

static const struct { const char *name, *text; } files[] = {
	{ "passwd", "root:x:0:0:root:/root:/bin/bash\n" SB_USER ":x:1000:1000:" SB_USER ":" SB_HOME ":/bin/bash\n"
	    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
	{ "group", "root:x:0:\ntty:x:5:\n" SB_USER ":x:1000:\nnogroup:x:65534:\n" },
	{ "hostname", "sandbox\n" },
	{ "hosts", "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n" },
	{ "resolv.conf", "" },
	{ "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n" },
	{ "host.conf", "multi on\n" },
	{ "shells", "/bin/sh\n/bin/bash\n" },
	{ "timezone", "Etc/UTC\n" },
};

static const char *const copied[] = { "ld.so.cache", "ld.so.conf", "protocols", "services", "mime.types", "debian_version" };
static const struct { const char *name, *target; } links[] = {
	{ "os-release", "../usr/lib/os-release" }, { "localtime", "/usr/share/zoneinfo/Etc/UTC" }, { "mtab", "/proc/self/mounts" },
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static int
put_file(int dir, const char *name, const char *text)
{
	AUTO(fd) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t len = strlen(text);

	return fd >= 0 && write(fd, text, len) == (ssize_t)len ? 0 : -1;
}

/* Append the host's file to fd; -1 when it is not there. */
static int
append(int fd, const char *host)
{
	AUTO(fd) int in = open(host, O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t left;
	ssize_t n;

	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	for (left = st.st_size; left > 0; left -= n)
		if ((n = sendfile(fd, in, NULL, (size_t)left)) <= 0)
			return -1;
	return 0;
}

static void
copy_file(int dir, const char *name)
{
	char host[256];
	AUTO(fd) int fd = -1;

	snprintf(host, sizeof host, "/etc/%s", name);
	if (access(host, R_OK) < 0)
		return;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0)
		(void)append(fd, host);
}

/* The update-alternatives links: /usr/bin/awk is one of them. Only those that stay within /usr. */
static void
copy_alternatives(int dir)
{
	AUTO(dir) DIR *host = opendir("/etc/alternatives");
	char target[PATH_MAX];
	struct dirent *d;
	ssize_t n;

	if (!host || mkdirat(dir, "alternatives", 0755) < 0)
		return;
	while ((d = readdir(host)) != NULL) {
		char name[300];

		n = readlinkat(dirfd(host), d->d_name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, "/usr/", 5) != 0 || strncmp(target, "/usr/share/man/", 15) == 0 || strstr(target, "/man/"))
			continue;
		snprintf(name, sizeof name, "alternatives/%s", d->d_name);
		(void)!symlinkat(target, dir, name);
	}
}

/* Every *.crt below the distribution's own authorities, one after the other. */
static void
bundle(int fd, const char *path, int depth)
{
	AUTO(dir) DIR *dir = opendir(path);
	struct dirent *d;

	while (dir && (d = readdir(dir)) != NULL) {
		char sub[PATH_MAX];
		size_t len = strlen(d->d_name);

		snprintf(sub, sizeof sub, "%s/%s", path, d->d_name);
		if (d->d_type == DT_DIR && d->d_name[0] != '.' && depth > 0)
			bundle(fd, sub, depth - 1);
		else if (d->d_type == DT_REG && len > 4 && strcmp(d->d_name + len - 4, ".crt") == 0)
			(void)append(fd, sub);
	}
}

static void
trust_store(int dir)
{
	AUTO(fd) int fd = -1;

	if (mkdirat(dir, "ssl", 0755) < 0 || mkdirat(dir, "ssl/certs", 0755) < 0)
		return;
	fd = openat(dir, "ssl/certs/ca-certificates.crt", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0)
		bundle(fd, "/usr/share/ca-certificates", 3);
}

int
etc_build(const char *path, struct err *e)
{
	AUTO(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t i;

	if (dir < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot open %s", path);
	for (i = 0; i < COUNT(files); i++)
		if (put_file(dir, files[i].name, files[i].text) < 0)
			return err_fault(e, EK_UNAVAILABLE, errno, "cannot write %s/%s", path, files[i].name);
	for (i = 0; i < COUNT(links); i++)
		(void)!symlinkat(links[i].target, dir, links[i].name);
	for (i = 0; i < COUNT(copied); i++)
		copy_file(dir, copied[i]);
	copy_alternatives(dir);
	trust_store(dir);
	return 0;
}
