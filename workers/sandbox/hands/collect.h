/*
 * collect: reading a sandbox's outputs directory: a hostile tree, walked and copied by descriptor from outside. Nothing in it is followed
 * or opened but folders and plain files; what it holds is bounded before it is read.
 */
#ifndef ROOST_SANDBOX_COLLECT_H
#define ROOST_SANDBOX_COLLECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "buf.h"

struct blobs;

/* When a file was what it is. */
struct collect_stamp {
	uint64_t ino;
	int64_t size, mtime_ns, ctime_ns;
};

/* What was collected before, by path, sorted. */
struct collect_known {
	const char *path;		/* as text_path() */
	struct collect_stamp stamp;
	const char *sha256;		/* hex */
};

struct collect_limits {
	int files;			/* that may still be taken */
	int64_t bytes, file_bytes;	/* in all, and of one file */
};

/*
 * A number that stands for everything below dir: names, kinds, inodes, sizes and times. 0: the directory is empty. -1: too large to tell
 * cheaply (more than a few hundred entries), or unreadable.
 */
int64_t collect_print(int dir);

/*
 * Walk dir and copy into the store what is new or changed since known. Appends one JSON object per line to out:
 *   {"path","name","blob","sha256","size","mtime","ctime","ino"}   a new content, kept in the store
 *   {"path","same":true,"size","mtime","ctime","ino"}              a new stamp, the known content
 *   {"skipped":N,"why":"...","busy":false}                         the last line: what was left out and why, 0 and "" for nothing; busy:
 *                                                                  some of it was being written and may be whole next time
 */
void collect(int dir, struct blobs *blobs, const struct collect_known *known, int nknown, const struct collect_limits *lim, struct buf *out);

#endif
