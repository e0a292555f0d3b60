/*
 * file: rows of files (contract 2.6): uploads, the copies that sessions mount, what sessions put out. The bytes are a blob (blob.h), which
 * several rows may share; deleting a row never touches it at once.
 */
#ifndef ROOST_STORE_FILE_H
#define ROOST_STORE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"

/* Strings are borrowed from the result. */
struct file_row {
	const char *id, *filename, *mime, *created, *expires, *session_id, *origin, *path;
	const char *blob_id;		/* NULL: expired, and its bytes are gone */
	int64_t size;
	bool downloadable, expired;
};
void file_row(const PGresult *res, int row, struct file_row *out);

/* A file with a blob of its own that is kept already. */
struct file_new {
	const char *id, *organization, *workspace, *session_id;	/* session_id NULL: an upload */
	const char *origin;		/* upload, mount, output */
	const char *path, *filename, *mime;
	const char *blob_id, *sha256;
	int64_t size, expires_s;	/* expires_s 0: never */
	bool downloadable;
};
/* The words of a quota that is used up, of a file that a request names and nobody has (contract C-10). Always return -1. */
int file_quota_refused(struct err *e);
int file_absent(const char *id, struct err *e);
/* quota: bytes the organization may have. EK_INVALID storage_quota_exceeded, EK_FORBIDDEN (suspended), EK_NOT_FOUND (the session). */
int file_insert(struct db *db, const struct file_new *f, int64_t quota, struct err *e);

/* EK_NOT_FOUND "File not found."; an expired one is a row. The caller owns *res. */
int file_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct file_row *out, struct err *e);
int file_delete(struct db *db, const char *workspace, const char *id, struct err *e);

/*
 * A page, newest first, of a session's files or (session NULL) of uploads; expired ones are left out. With before: the files right
 * before position, and rows come oldest first. limit + 1 rows tell that there are more. The caller owns *res.
 */
int file_list(struct db *db, const char *workspace, const char *session, const char *position, bool before, int64_t limit,
    PGresult **res, struct err *e);
/* Those of n ids that exist, newest first. */
int file_some(struct db *db, const char *workspace, const char *session, const char *const *ids, int n, PGresult **res, struct err *e);

/* Bytes that an organization stores. */
int file_used(struct db *db, const char *organization, int64_t *out, struct err *e);

/*
 * Housekeeping, a bounded part at a time (limit rows): bytes of expired files, blobs that no file names any more. *out: how
 * much was done; limit means that there is more.
 */
int file_expire(struct db *db, int64_t limit, int64_t keep_s, int64_t *out, struct err *e);
int file_remove_blobs(struct db *db, const char *blob_dir, int64_t limit, int64_t grace_s, int64_t *out, struct err *e);
/* Remove this kept blob if no row names it. Not after a commit whose outcome is unknown: that may still come. */
int file_remove_stray(struct db *db, const char *blob_dir, const char *blob, int64_t *out, struct err *e);
/* Kept blobs without a row in one of the 256 folders, older than age_s: left by a crash before the commit. *out: how many were removed. */
int file_remove_strays(struct db *db, const char *blob_dir, unsigned folder, int64_t age_s, int64_t *out, struct err *e);

#endif
