/*
 * bell: see bell.h. Who rings has a connected socket for each of the owners that it rang last; one socket, watched by the worker's loop,
 * reads. A connection is to the very socket that was looked at, however the names of the folder change meanwhile or later: it is made by
 * way of a descriptor of it. So a ring costs one system call, without a look at any path.
 *
 * Promises: nothing here waits; a letter is delivered whole or not at all; an owner's name cannot lead out of the folder; of a letter that
 * is malformed what stands before the fault is heard, and the rest is nothing. The kernel bounds what waits for a reader
 * (net.unix.max_dgram_qlen letters, and the writer's send buffer): a worker that stands still fills its own queue, and is rung by Redis.
 *
 * A crash leaves the socket's file, which refuses connections: whoever starts next removes it. A file that is younger than FRESH_S may be
 * one that is being bound at this moment, and stays.
 */
#include "bell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "xalloc.h"

#define LETTERS_MAX 64		/* read in one round of the loop; the rest in the next */
#define SWEEP_MAX 1024		/* files looked at by who starts */
#define FRESH_S 10
#define KNOWN_MAX 16		/* owners that one thread rings without looking for them */
#define MODE 0620		/* of the socket: its group may write */

/* The socket of that name. False: it cannot be one. */
static bool
address(struct sockaddr_un *out, const char *dir, const char *name)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return id_is_name(name) && (size_t)snprintf(out->sun_path, sizeof out->sun_path, "%s/%s", dir, name) < sizeof out->sun_path;
}

static int
open_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* --- who rings ---------------------------------------------------------------------------------------------------------------------- */

struct known { int fd; char name[ID_MAX]; };	/* fd: connected to that owner's socket, -1: to nobody */

struct bells {
	char dir[256];
	struct known known[KNOWN_MAX], *to;
	int next;		/* to be forgotten for the next new one */
	bool warned;		/* about somebody's having put something else there */
	size_t len;
	char text[BELL_MAX];
};

struct bells *
bells_open(const char *dir)
{
	struct bells *b;

	if (!dir[0])
		return NULL;
	b = xcalloc(1, sizeof *b);
	for (int i = 0; i < KNOWN_MAX; i++)
		b->known[i].fd = -1;
	snprintf(b->dir, sizeof b->dir, "%s", dir);
	return b;
}

static void
forget(struct known *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

void
bells_close(struct bells **bp)
{
	struct bells *b = *bp;

	if (!b)
		return;
	for (int i = 0; i < KNOWN_MAX; i++)
		forget(&b->known[i]);
	free(b);
	*bp = NULL;
}

/* What has that name in the folder, if it is a socket of the folder's owner: a descriptor of it that can only be looked at; else -1. */
static int
look(struct bells *b, const char *name)
{
	AUTO(fd) int dir = open(b->dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(fd) int fd = dir < 0 ? -1 : openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat folder, it;

	if (fd < 0 || fstat(dir, &folder) < 0 || fstat(fd, &it) < 0)
		return -1;
	if (S_ISSOCK(it.st_mode) && it.st_uid == folder.st_uid)
		return steal_fd(fd);
	if (!b->warned)
		log_warn("bell_not_a_workers", "dir", b->dir, "name", name, "uid", LOGN((int64_t)it.st_uid), NULL);
	b->warned = true;
	return -1;
}

/* A socket connected to that one, or -1. */
static int
connect_to(struct bells *b, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int at = look(b, name);
	AUTO(fd) int fd = at < 0 ? -1 : open_socket();

	if (fd < 0)
		return -1;
	snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d", at);
	return connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? -1 : steal_fd(fd);
}

bool
bells_to(struct bells *b, const char *owner)
{
	int fd;

	if (!b || !id_is_name(owner))
		return false;
	b->len = 0;
	for (int i = 0; i < KNOWN_MAX; i++)
		if (b->known[i].fd >= 0 && strcmp(b->known[i].name, owner) == 0) {
			b->to = &b->known[i];
			return true;
		}
	fd = connect_to(b, owner);
	if (fd < 0)
		return false;
	b->to = &b->known[b->next++ % KNOWN_MAX];
	forget(b->to);
	b->to->fd = fd;
	snprintf(b->to->name, sizeof b->to->name, "%s", owner);
	return true;
}

bool
bells_add(struct bells *b, const char *workspace, const char *session, const char *told, size_t told_len)
{
	char head[2 * ID_MAX + 32];
	size_t len;

	if (!told)
		told_len = 0;
	if (strlen(workspace) >= ID_MAX || strlen(session) >= ID_MAX)
		return true;		/* no ids of ours: nobody would take them */
	len = (size_t)snprintf(head, sizeof head, "%zu %s %s\n", told_len, workspace, session);
	if (len + told_len + 1 > sizeof b->text)
		return bells_add(b, workspace, session, NULL, 0);
	if (b->len + len + told_len + 1 > sizeof b->text)
		return false;
	memcpy(b->text + b->len, head, len);
	if (told_len > 0)
		memcpy(b->text + b->len + len, told, told_len);
	b->len += len + told_len;
	b->text[b->len++] = '\0';
	return true;
}

int
bells_send(struct bells *b)
{
	ssize_t n;

	if (b->len == 0)
		return -1;
	FAILPOINT(BELL);
	n = send(b->to->fd, b->text, b->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		forget(b->to);		/* it has died; no other has its name */
	return n == (ssize_t)b->len ? 0 : -1;
}

/* --- who is rung -------------------------------------------------------------------------------------------------------------------- */

struct bell {
	struct loop *loop;
	int fd;
	bell_fn *fn;
	void *ctx;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char text[BELL_MAX + 1];
};

/* The ring at *at, which moves behind it; false when there is no whole one. The line is taken apart where it stands. */
static bool
ring_read(char **at, const char *end, struct bell_ring *out)
{
	char *line = *at, *nl = memchr(line, '\n', (size_t)(end - line)), *p;
	unsigned long long len;

	if (!nl || *line < '0' || *line > '9')
		return false;
	*nl = '\0';
	errno = 0;
	len = strtoull(line, &p, 10);
	if (errno || *p != ' ' || len >= (size_t)(end - nl - 1) || nl[1 + len] != '\0')
		return false;
	out->workspace = p + 1;
	p += 1 + strcspn(p + 1, " ");
	if (*p != ' ')
		return false;
	*p = '\0';
	out->session = p + 1;
	p[1 + strcspn(p + 1, " ")] = '\0';
	out->told = nl + 1;
	out->told_len = (size_t)len;
	*at = nl + 1 + len + 1;
	return id_is_name(out->workspace) && id_is_name(out->session);
}

static void
read_letter(struct bell *b, size_t len)
{
	char *at = b->text, *end = b->text + len;
	struct bell_ring ring;

	b->text[len] = '\0';
	while (at < end) {
		if (!ring_read(&at, end, &ring)) {
			log_warn("bell_malformed", "bytes", LOGN(len), NULL);
			return;
		}
		b->fn(b->ctx, &ring);
	}
}

static void
on_letters(void *ctx, int fd, uint32_t events)
{
	struct bell *b = ctx;
	ssize_t n;

	(void)events;
	for (int i = 0; i < LETTERS_MAX; i++) {
		n = recv(fd, b->text, BELL_MAX, MSG_TRUNC);
		if (n < 0)
			return;
		FAILPOINT(BELL_HEARD);
		if (n <= BELL_MAX)
			read_letter(b, (size_t)n);
	}
}

/* Nobody listens there, and nobody is about to. */
static bool
is_left(int dir, const char *dir_path, const char *name)
{
	struct sockaddr_un sa;
	struct stat st;
	AUTO(fd) int fd = -1;

	if (!address(&sa, dir_path, name) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode) ||
	    time(NULL) - st.st_mtime < FRESH_S)
		return false;
	fd = open_socket();
	return fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 && errno == ECONNREFUSED;
}

/* Remove what killed workers have left. */
static void
sweep(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *f;

	if (!d)
		return;
	for (int i = 0; i < SWEEP_MAX && (f = readdir(d)); i++)
		if (is_left(dirfd(d), path, f->d_name))
			(void)unlinkat(dirfd(d), f->d_name, 0);
	closedir(d);
}

static int
listen_at(const struct sockaddr_un *sa)
{
	AUTO(fd) int fd = open_socket();
	mode_t old = umask(0777 & ~MODE);
	int rc = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)sa, sizeof *sa);

	umask(old);
	return rc < 0 ? -1 : steal_fd(fd);
}

struct bell *
bell_new(struct loop *l, const char *dir, const char *name, bell_fn *fn, void *ctx)
{
	struct sockaddr_un sa;
	struct bell *b;
	int fd;

	if (!dir[0])
		return NULL;
	sweep(dir);
	errno = ENAMETOOLONG;
	fd = address(&sa, dir, name) ? listen_at(&sa) : -1;
	if (fd < 0) {
		log_warn("no_bell", "dir", dir, "error", strerror(errno), NULL);
		return NULL;
	}
	b = xcalloc(1, sizeof *b);
	b->loop = l;
	b->fd = fd;
	b->fn = fn;
	b->ctx = ctx;
	snprintf(b->path, sizeof b->path, "%s", sa.sun_path);
	loop_watch(l, fd, EPOLLIN, on_letters, b);
	return b;
}

void
bell_free(struct bell **bp)
{
	struct bell *b = *bp;

	if (!b)
		return;
	loop_unwatch(b->loop, b->fd);
	close(b->fd);
	(void)unlink(b->path);
	free(b);
	*bp = NULL;
}
