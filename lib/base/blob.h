/*
 * blob: the store of file contents: one folder (setting blob_dir), one immutable file per blob.
 *
 *   blob_dir/tmp/<id>        being written; nobody reads it; left by a crash, it is swept by age
 *   blob_dir/<first 2>/<id>  complete, synced, never changed again; <id> is 32 random hex digits
 *
 * A writer goes blob_create, blob_write..., then blob_keep or blob_drop. A blob is in its place before a database row names it, and goes
 * after no row does, so what a row names is there. The folders belong to the gateway's user and may be entered by their group only:
 * workers and nginx read, hands (root) reads and writes. The files themselves are 0644, because inside a sandbox the reader of a
 * mounted one is nobody in particular. All functions block.
 */
#ifndef ROOST_BASE_BLOB_H
#define ROOST_BASE_BLOB_H

#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define BLOB_ID 33	/* 32 hex digits and NUL */
#define BLOB_SHA 65	/* 64 hex digits and NUL */
#define BLOB_PATH 320

struct blob_writer {
	const char *dir;	/* borrowed */
	int fd;			/* -1: none */
	char id[BLOB_ID];
	int64_t size, flushed;
	crypto_hash_sha256_state sha;
};
#define BLOB_WRITER_INIT { .fd = -1 }

/* Make the folders that are missing. Needed once per store, by its owner. */
int blob_setup(const char *dir, struct err *e);

/* Is id well-formed? Only then may it become part of a path. */
bool blob_id_ok(const char *id);
/* blob_dir/ab/abcd...; returns out. id must be well-formed. */
char *blob_path(const char *dir, const char *id, char out[BLOB_PATH]);

/* Room for `want` more bytes, with `spare` left over? EK_UNAVAILABLE otherwise. */
int blob_room(const char *dir, int64_t want, int64_t spare, struct err *e);

/* A fresh blob in tmp/. dir is borrowed until keep or drop. */
int blob_create(const char *dir, struct blob_writer *w, struct err *e);
/* EK_UNAVAILABLE: the disk is full or fails. */
int blob_write(struct blob_writer *w, const void *data, size_t len, struct err *e);
/* Sync it and put it in its place: afterwards it survives a power cut. sha gets the hex digest. The writer is closed either way. */
int blob_keep(struct blob_writer *w, char sha[BLOB_SHA], struct err *e);
/* Forget what was written, if anything. */
void blob_drop(struct blob_writer *w);

/* A descriptor to read a kept blob, and its size. EK_INTERNAL when it is not there. */
int blob_open(const char *dir, const char *id, int64_t *out_size, struct err *e);
/* Remove a kept blob; one that is not there is no error. Not synced: who removes looks again after a crash. */
int blob_remove(const char *dir, const char *id, struct err *e);

/* Remove what writers left in tmp/ when nothing was written to it for age_s; returns how many. */
int blob_sweep_tmp(const char *dir, int64_t age_s);
/* Names of kept blobs of one of the 256 folders that are older than age_s: up to max, behind the first `skip`. Returns how many. */
int blob_list(const char *dir, unsigned folder, int64_t age_s, int64_t skip, char (*out)[BLOB_ID], int max);

__attribute__((unused)) static inline void
blob_writer_cleanup(struct blob_writer *w)
{
	if (w->fd >= 0)
		blob_drop(w);
}

#endif
