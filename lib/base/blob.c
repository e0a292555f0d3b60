/*
 * blob: see blob.h. The order of blob_keep is what makes a row's promise true: content synced, renamed into place, folder synced; the row
 * comes after. A crash before the rename leaves a file in tmp/, after it one without a row: both are swept by age.
 *
 * Written pages are pushed to the disk as they come, so that the sync at the end of a large blob is short. Names come from this file or
 * were checked by blob_id_ok(); nothing a client says becomes part of a path.
 */
#include "blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "failpoint.h"
#include "fdio.h"
#include "id.h"
#include "xalloc.h"

#define FLUSH (8L << 20)

DEFINE_CLEANUP(DIR *, dir, closedir)

static int
fault(struct err *e, const char *what, const char *path)
{
	int sys = errno;

	return err_fault(e, sys == ENOSPC || sys == EDQUOT || sys == EIO || sys == EMFILE || sys == ENFILE ? EK_UNAVAILABLE : EK_INTERNAL, sys,
	    "%s %s: %s", what, path, strerror(sys));
}

int
blob_setup(const char *dir, struct err *e)
{
	char path[BLOB_PATH];

	for (int i = -2; i < 256; i++) {
		if (i == -2)
			snprintf(path, sizeof path, "%s", dir);
		else if (i == -1)
			snprintf(path, sizeof path, "%s/tmp", dir);
		else
			snprintf(path, sizeof path, "%s/%02x", dir, (unsigned)i);
		if (mkdir(path, 02750) < 0 && errno != EEXIST)
			return fault(e, "make folder", path);
	}
	return 0;
}

bool
blob_id_ok(const char *id)
{
	return strlen(id) == BLOB_ID - 1 && strspn(id, "0123456789abcdef") == BLOB_ID - 1;
}

char *
blob_path(const char *dir, const char *id, char out[BLOB_PATH])
{
	must(blob_id_ok(id));
	snprintf(out, BLOB_PATH, "%s/%.2s/%s", dir, id, id);
	return out;
}

static char *
tmp_path(const char *dir, const char *id, char out[BLOB_PATH])
{
	snprintf(out, BLOB_PATH, "%s/tmp/%s", dir, id);
	return out;
}

int
blob_room(const char *dir, int64_t want, int64_t spare, struct err *e)
{
	struct statvfs st;

	if (statvfs(dir, &st) < 0)
		return fault(e, "look at", dir);
	if ((int64_t)st.f_bavail * (int64_t)st.f_frsize < want + spare)
		return err_fault(e, EK_UNAVAILABLE, ENOSPC, "no room for %lld bytes in %s", (long long)want, dir);
	return 0;
}

int
blob_create(const char *dir, struct blob_writer *w, struct err *e)
{
	unsigned char bytes[(BLOB_ID - 1) / 2];
	char path[BLOB_PATH];

	*w = (struct blob_writer){ .dir = dir, .fd = -1 };
	id_random(bytes, sizeof bytes);
	sodium_bin2hex(w->id, sizeof w->id, bytes, sizeof bytes);
	w->fd = open(tmp_path(dir, w->id, path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (w->fd < 0)
		return fault(e, "create", path);
	crypto_hash_sha256_init(&w->sha);
	return 0;
}

int
blob_write(struct blob_writer *w, const void *data, size_t len, struct err *e)
{
	size_t done = fdio_write(w->fd, data, len);

	w->size += (int64_t)done;
	if (done < len)
		return fault(e, "write blob", w->id);
	crypto_hash_sha256_update(&w->sha, data, len);
	if (w->size - w->flushed >= FLUSH) {
		(void)sync_file_range(w->fd, w->flushed, w->size - w->flushed, SYNC_FILE_RANGE_WRITE);
		w->flushed = w->size;
	}
	return 0;
}

static int
sync_folder(const char *dir, const char *id, struct err *e)
{
	char path[BLOB_PATH];
	AUTO(fd) int fd = -1;

	snprintf(path, sizeof path, "%s/%.2s", dir, id);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? fault(e, "sync", path) : 0;
}

static int
put_in_place(struct blob_writer *w, struct err *e)
{
	char from[BLOB_PATH], to[BLOB_PATH];

	if (fsync(w->fd) < 0)
		return fault(e, "sync blob", w->id);
	FAILPOINT(BLOB_RENAME);
	if (rename(tmp_path(w->dir, w->id, from), blob_path(w->dir, w->id, to)) < 0)
		return fault(e, "rename to", to);
	FAILPOINT(BLOB_RENAMED);
	if (sync_folder(w->dir, w->id, e) < 0) {
		(void)unlink(to);
		return -1;
	}
	return 0;
}

int
blob_keep(struct blob_writer *w, char sha[BLOB_SHA], struct err *e)
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	if (put_in_place(w, e) < 0) {
		blob_drop(w);
		return -1;
	}
	crypto_hash_sha256_final(&w->sha, digest);
	sodium_bin2hex(sha, BLOB_SHA, digest, sizeof digest);
	close(w->fd);
	w->fd = -1;
	return 0;
}

void
blob_drop(struct blob_writer *w)
{
	char path[BLOB_PATH];

	if (w->fd < 0)
		return;
	(void)unlink(tmp_path(w->dir, w->id, path));
	close(w->fd);
	w->fd = -1;
}

int
blob_open(const char *dir, const char *id, int64_t *out_size, struct err *e)
{
	char path[BLOB_PATH];
	AUTO(fd) int fd = -1;
	struct stat st;

	fd = open(blob_path(dir, id, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fault(e, "open", path);
	*out_size = st.st_size;
	return steal_fd(fd);
}

int
blob_remove(const char *dir, const char *id, struct err *e)
{
	char path[BLOB_PATH];

	FAILPOINT(BLOB_UNLINK);
	if (unlink(blob_path(dir, id, path)) < 0 && errno != ENOENT)
		return fault(e, "remove", path);
	FAILPOINT(BLOB_UNLINKED);
	return 0;
}

/* Is the folder's entry a blob's file, untouched for age_s? */
static bool
old_blob(DIR *d, const char *name, int64_t age_s)
{
	struct stat st;

	return blob_id_ok(name) && fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    time(NULL) - st.st_mtime >= age_s;
}

int
blob_sweep_tmp(const char *dir, int64_t age_s)
{
	char path[BLOB_PATH];
	AUTO(dir) DIR *d = NULL;
	const struct dirent *entry;
	int n = 0;

	snprintf(path, sizeof path, "%s/tmp", dir);
	d = opendir(path);
	while (d && (entry = readdir(d)))
		if (old_blob(d, entry->d_name, age_s) && unlinkat(dirfd(d), entry->d_name, 0) == 0)
			n++;
	return n;
}

int
blob_list(const char *dir, unsigned folder, int64_t age_s, int64_t skip, char (*out)[BLOB_ID], int max)
{
	char path[BLOB_PATH];
	AUTO(dir) DIR *d = NULL;
	const struct dirent *entry;
	int n = 0;

	snprintf(path, sizeof path, "%s/%02x", dir, folder & 0xff);
	d = opendir(path);
	while (d && n < max && (entry = readdir(d)))
		if (old_blob(d, entry->d_name, age_s) && skip-- <= 0)
			memcpy(out[n++], entry->d_name, BLOB_ID);
	return n;
}
