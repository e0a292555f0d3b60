/*
 * collect: see collect.h. Each folder is opened by one name below its parent's descriptor, without links, magic links or mounts; each file
 * likewise, without blocking, and looked at again through the descriptor: what was swapped meanwhile is simply no file. A file that
 * changes while it is copied is left for the next time. Stores through mmap() to a tmpfs move no time stamp, so such a change alone is
 * seen only together with another one.
 *
 * Runs in a child of hands (outputs.c) that holds little else; the walk's memory is one path and one folder per level.
 */
#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blobs.h"
#include "cleanup.h"
#include "fdio.h"
#include "jw.h"
#include "text.h"

#define DEPTH_MAX 32
#define PATH_BYTES 4096
#define PRINT_ENTRIES 512	/* looked at in passing */
#define WALK_ENTRIES 20000	/* looked at when collecting */
#define CHUNK (256u << 10)
#define BATCH 32		/* files that are made durable together */

DEFINE_CLEANUP(DIR *, dirp, closedir)

struct walk {
	int entries, most;
	int (*file)(struct walk *w, int dir, const char *name, const struct stat *st);
	char path[PATH_BYTES];	/* below the root, of the present folder, with a slash at its end unless empty */
	size_t len;
	/* of a print */
	uint64_t print;
	/* of a collection */
	struct blobs *blobs;
	const struct collect_known *known;
	int nknown;
	struct collect_limits left;
	int64_t file_bytes;
	struct buf *out;
	int skipped;
	const char *why;
	bool busy;		/* one changed while it was copied */
	char *chunk;
	struct blob_new batch[BATCH];
	struct buf told[BATCH];	/* what is said of each when it is kept */
	int nbatch;
};

static int
open_below(int dir, const char *name, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

	return (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
}

static void
skip(struct walk *w, const char *why)
{
	w->skipped++;
	if (!w->why)
		w->why = why;
}

/* 0, or -1 to stop the walk. Takes fd. */
static int
walk_dir(struct walk *w, int fd, int depth)
{
	AUTO(dirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;
	struct stat st;
	size_t had = w->len, n;
	int rc = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (rc == 0 && (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (++w->entries > w->most) {
			skip(w, "there are too many of them");
			return -1;
		}
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		n = strlen(d->d_name);
		if (had + n + 2 > sizeof w->path || depth == DEPTH_MAX) {
			skip(w, "folders are nested too deeply");
			continue;
		}
		if (S_ISREG(st.st_mode)) {
			rc = w->file(w, dirfd(dir), d->d_name, &st);
		} else if (S_ISDIR(st.st_mode)) {
			memcpy(w->path + had, d->d_name, n);
			memcpy(w->path + had + n, "/", 2);
			w->len = had + n + 1;
			rc = walk_dir(w, open_below(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY), depth + 1);
			w->len = had;
			w->path[had] = '\0';
		}
	}
	return rc;
}

static int
again(int dir)
{
	return open_below(dir, ".", O_RDONLY | O_DIRECTORY);
}

static struct collect_stamp
stamp_of(const struct stat *st)
{
	return (struct collect_stamp){ .ino = st->st_ino, .size = st->st_size,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
		.ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec };
}

static bool
same(const struct collect_stamp *a, const struct collect_stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/* --- a print ----------------------------------------------------------------------------------------------------------------- */

static void
mix(struct walk *w, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		w->print = (w->print ^ *p++) * 1099511628211u;
}

static int
print_file(struct walk *w, int dir, const char *name, const struct stat *st)
{
	struct collect_stamp stamp = stamp_of(st);

	(void)dir;
	mix(w, w->path, w->len);
	mix(w, name, strlen(name) + 1);
	mix(w, &stamp, sizeof stamp);
	return 0;
}

int64_t
collect_print(int dir)
{
	struct walk w = { .most = PRINT_ENTRIES, .file = print_file, .print = 14695981039346656037u };
	struct stat st;

	if (fstat(dir, &st) < 0)
		return -1;
	if (st.st_nlink == 2 && st.st_size == 0)	/* a tmpfs counts its entries there */
		return 0;
	if (walk_dir(&w, again(dir), 0) < 0)
		return -1;
	return (int64_t)(w.print & INT64_MAX) | 1;
}

/* --- a collection ------------------------------------------------------------------------------------------------------------ */

/* Both sides are what text_path() makes; by bytes. */
static const struct collect_known *
known_find(const struct walk *w, const char *path)
{
	int from = 0, to = w->nknown, mid, c;

	while (from < to) {
		mid = (from + to) / 2;
		c = strcmp(w->known[mid].path, path);
		if (c == 0)
			return &w->known[mid];
		if (c < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

static bool
all_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/*
 * Copy size bytes, summed up; what is empty stays a hole, so that a file of nothing costs nothing. Only while the disk has
 * room beyond its reserve, asked for each part because others write too. 1: the file ended before.
 */
static int
copy(struct walk *w, int from, int to, int64_t size, char sha256[crypto_hash_sha256_BYTES * 2 + 1])
{
	unsigned char sum[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	if (ftruncate(to, size) < 0)
		return -1;
	while (size > 0) {
		ssize_t n;

		if (!blobs_room(w->blobs, size))
			return -1;
		n = read(from, w->chunk, size < (int64_t)CHUNK ? (size_t)size : CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -1 : 1;
		crypto_hash_sha256_update(&state, (unsigned char *)w->chunk, (size_t)n);
		if (all_zero(w->chunk, (size_t)n) ? lseek(to, n, SEEK_CUR) < 0 : fdio_write(to, w->chunk, (size_t)n) < (size_t)n)
			return -1;
		size -= n;
	}
	crypto_hash_sha256_final(&state, sum);
	sodium_bin2hex(sha256, sizeof sum * 2 + 1, sum, sizeof sum);
	return 0;
}

static void
tell(struct buf *out, const char *path, const char *name, const char *blob, const char *sha256, const struct collect_stamp *stamp)
{
	struct jw j;

	jw_begin(&j, out);
	jw_obj(&j);
	jw_kstr(&j, "path", path);
	if (blob) {
		AUTO(buf) struct buf shown = { 0 };

		text_name(&shown, name);
		jw_kstr(&j, "name", shown.data);
		jw_kstr(&j, "blob", blob);
		jw_kstr(&j, "sha256", sha256);
	} else {
		jw_kbool(&j, "same", true);
	}
	jw_kint(&j, "size", stamp->size);
	jw_kint(&j, "mtime", stamp->mtime_ns);
	jw_kint(&j, "ctime", stamp->ctime_ns);
	jw_kint(&j, "ino", (int64_t)(stamp->ino & INT64_MAX));
	jw_obj_end(&j);
	jw_end(&j);
	buf_ch(out, '\n');
}

/* Keep what was copied, and tell of what is kept. */
static void
flush(struct walk *w)
{
	blobs_keep(w->blobs, w->batch, w->nbatch);
	for (int i = 0; i < w->nbatch; i++) {
		if (w->batch[i].kept) {
			buf_put(w->out, w->told[i].data, w->told[i].len);
		} else {
			blobs_drop(w->blobs, w->batch[i].id);
			skip(w, "they could not be stored");
		}
		close(w->batch[i].fd);
		buf_free(&w->told[i]);
	}
	w->nbatch = 0;
}

/* A copy that is whole: it waits for the others of its batch. Takes fd. */
static void
keep(struct walk *w, int fd, const char *id, const char *path, const char *name, const char *sha256, const struct collect_stamp *stamp)
{
	struct blob_new *b = &w->batch[w->nbatch];

	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* begin with it */
	b->fd = fd;
	memcpy(b->id, id, sizeof b->id);
	w->left.files--;
	w->left.bytes -= stamp->size;
	tell(&w->told[w->nbatch++], path, name, id, sha256, stamp);
	if (w->nbatch == BATCH)
		flush(w);
}

/* One file that looks new. The descriptor decides what it is; its stamp must be the same before and after. */
static int
take(struct walk *w, int fd, const char *path, const char *name, const struct collect_known *k)
{
	char id[BLOB_ID], sha256[crypto_hash_sha256_BYTES * 2 + 1];
	AUTO(fd) int to = -1;
	struct collect_stamp stamp, then;
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	stamp = stamp_of(&st);
	if (stamp.size > w->file_bytes || stamp.size > w->left.bytes || w->left.files <= 0) {
		skip(w, stamp.size > w->file_bytes ? "it is too large" : w->left.files <= 0 ? "there are too many of them" :
		    "together they are too large");
		return 0;
	}
	to = blobs_create(w->blobs, id);
	if (to < 0) {
		skip(w, "they could not be stored");
		return -1;
	}
	rc = copy(w, fd, to, stamp.size, sha256);
	if (rc == 0 && (fstat(fd, &st) < 0 || (then = stamp_of(&st), !same(&then, &stamp))))
		rc = 1;
	if (rc == 0 && !(k && strcmp(k->sha256, sha256) == 0)) {
		keep(w, steal_fd(to), id, path, name, sha256, &stamp);
		return 0;
	}
	if (rc == 0)
		tell(w->out, path, name, NULL, NULL, &stamp);
	blobs_drop(w->blobs, id);
	w->busy |= rc > 0;
	if (rc != 0)
		skip(w, rc > 0 ? "it was being written" : "they could not be stored");
	return rc < 0 ? -1 : 0;
}

static int
collect_file(struct walk *w, int dir, const char *name, const struct stat *st)
{
	const struct collect_stamp stamp = stamp_of(st);
	const struct collect_known *k;
	AUTO(buf) struct buf path = { 0 };
	AUTO(fd) int fd = -1;

	text_path(&path, w->path);
	text_path(&path, name);
	k = known_find(w, path.data);
	if (k && same(&k->stamp, &stamp))
		return 0;
	fd = open_below(dir, name, O_RDONLY);
	return fd < 0 ? 0 : take(w, fd, path.data, name, k);
}

void
collect(int dir, struct blobs *blobs, const struct collect_known *known, int nknown, const struct collect_limits *lim, struct buf *out)
{
	struct walk w = { .most = WALK_ENTRIES, .file = collect_file, .blobs = blobs, .known = known, .nknown = nknown, .left = *lim,
		.file_bytes = lim->file_bytes, .out = out };
	struct jw j;

	w.chunk = malloc(CHUNK);
	if (w.chunk)
		(void)walk_dir(&w, again(dir), 0);
	flush(&w);
	free(w.chunk);
	jw_begin(&j, out);
	jw_obj(&j);
	jw_kint(&j, "skipped", w.skipped);
	jw_kstr(&j, "why", w.why ? w.why : "");
	jw_kbool(&j, "busy", w.busy);
	jw_obj_end(&j);
	jw_end(&j);
	buf_ch(out, '\n');
}
