/*
 * uncache: `roostctl uncache DIR`: makes the kernel forget what it holds in memory of the files below DIR, so that whoever reads them
 * next gets what the disk has.
 *
 * The supervisor calls it before Postgres recovers from anything but a clean end (ops/setup/services.sh), because of what Linux does when
 * a page could not be written: it reports that once, then calls the page clean and goes on serving it from memory. Worse, ext4 keeps a
 * new block whose first write failed marked as never written, even when a later write of the same cached page succeeds and fsync says so;
 * it reads as zeros once the page has left the memory. Recovery through such pages would end in a checkpoint that the disk does not hold.
 *
 * What is dirty is written first. When that fails, the page is clean for the kernel, and forgotten too: Postgres has its content in its
 * log, and nothing was acknowledged that is not in the log on the disk. Follows symbolic links (pg_wal, tablespaces), changes no file.
 * Runs as Postgres' user: what that may not read (lost+found) is not Postgres'. Fails when DIR or a file cannot be opened for another
 * reason; what was forgotten by then stays so, which costs reading it again.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_FOLDERS = 32 };	/* deeper ones are opened again: only time */

/* Starts to write what is dirty: the file system then commits many files at once, and not each by itself. */
static int
flush_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	int fd;

	(void)at;
	if (type == FTW_F && S_ISREG(st->st_mode) && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) >= 0) {
		(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		close(fd);
	}
	return 0;
}

static int
uncache_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	int fd, rc;

	(void)at;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EACCES)
		return 0;
	if (fd < 0) {
		fprintf(stderr, "roostctl: uncache: %s: %s\n", path, strerror(errno));
		return -1;
	}
	if (fsync(fd) < 0)
		fprintf(stderr, "roostctl: uncache: %s was not on the disk: %s\n", path, strerror(errno));
	rc = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (rc != 0)
		fprintf(stderr, "roostctl: uncache: %s: %s\n", path, strerror(rc));
	close(fd);
	return rc == 0 ? 0 : -1;
}

int
cmd_uncache(struct ctl *c, int argc, char **argv)
{
	(void)c;
	if (argc != 2)
		return CTL_USAGE;
	if (access(argv[1], R_OK | X_OK) < 0) {
		fprintf(stderr, "roostctl: uncache: %s: %s\n", argv[1], strerror(errno));
		return CTL_FAILED;
	}
	if (nftw(argv[1], flush_file, OPEN_FOLDERS, 0) < 0 || nftw(argv[1], uncache_file, OPEN_FOLDERS, 0) != 0)
		return CTL_FAILED;
	return CTL_OK;
}
