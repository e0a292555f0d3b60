/*
 * file: binds and decodes the statements on files. What must hold between files, blobs and quotas is the functions' of migration 0080;
 * removing bytes is here: first no row names a blob (doomed), then its bytes go, then its row.
 */
#include "file.h"

#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "log.h"
#include "xalloc.h"

#define STRAYS 500

void
file_row(const PGresult *res, int row, struct file_row *out)
{
	*out = (struct file_row){ .id = pg_str(res, row, 0), .filename = pg_str(res, row, 1), .mime = pg_str(res, row, 2),
	    .size = pg_int(res, row, 3), .created = pg_str(res, row, 4), .expires = pg_str(res, row, 5), .session_id = pg_str(res, row, 6),
	    .origin = pg_str(res, row, 7), .path = pg_str(res, row, 8), .blob_id = pg_str(res, row, 9),
	    .downloadable = pg_bool(res, row, 10), .expired = pg_bool(res, row, 11) };
}

#define PARAMS 14	/* of STMT_FILE_INSERT */
struct nums { struct db_num size, expires, quota; };

/* params borrow from f and num. */
static void
insert_params(const struct file_new *f, int64_t quota, struct nums *num, const char *params[PARAMS])
{
	const char *const all[PARAMS] = { f->id, f->organization, f->workspace, f->session_id, f->origin, f->path, f->filename, f->mime,
	    f->downloadable ? "t" : "f", f->blob_id, db_num(&num->size, f->size), f->sha256,
	    f->expires_s > 0 ? db_num(&num->expires, f->expires_s) : NULL, db_num(&num->quota, quota) };

	memcpy(params, all, sizeof all);
}

int
file_quota_refused(struct err *e)
{
	return err_coded(e, EC_STORAGE_QUOTA_EXCEEDED,
	    "The organization's file storage quota is exhausted. Delete files to free up space, then retry the upload.");
}

int
file_absent(const char *id, struct err *e)
{
	return err_set(e, EK_NOT_FOUND, 0, "One or more files not found. Check that each `file_id` exists and is accessible: %.128s", id);
}

static int
insert_result(const PGresult *res, struct err *e)
{
	const char *result = pg_str(res, 0, 0);

	if (strcmp(result, "ok") == 0)
		return 0;
	if (strcmp(result, "suspended") == 0)
		return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
	if (strcmp(result, "again") == 0)
		return err_fault(e, EK_INTERNAL, 0, "a blob that has a file got another one");
	if (strcmp(result, "gone") == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Session not found.");
	return file_quota_refused(e);
}

int
file_insert(struct db *db, const struct file_new *f, int64_t quota, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const char *params[PARAMS];
	struct nums num;

	insert_params(f, quota, &num, params);
	if (db_run(db, STMT_FILE_INSERT, PARAMS, params, &res, e) < 0)
		return err_wrap(e, "insert file %s", f->id);
	return insert_result(res, e);
}

int
file_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct file_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_FILE_GET, &r, e, workspace, id) < 0)
		return err_wrap(e, "get file %s", id);
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "File not found.");
	file_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
file_delete(struct db *db, const char *workspace, const char *id, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_FILE_DELETE, &res, e, workspace, id) < 0)
		return err_wrap(e, "delete file %s", id);
	return strcmp(PQcmdTuples(res), "0") == 0 ? err_set(e, EK_NOT_FOUND, 0, "File not found.") : 0;
}

int
file_list(struct db *db, const char *workspace, const char *session, const char *position, bool before, int64_t limit, PGresult **res,
    struct err *e)
{
	int rc;

	if (session)
		rc = DB_RUN(db, before ? STMT_FILE_SESSION_BEFORE : STMT_FILE_SESSION_AFTER, res, e, workspace, position, DBN(limit), session);
	else
		rc = DB_RUN(db, before ? STMT_FILE_UPLOADS_BEFORE : STMT_FILE_UPLOADS_AFTER, res, e, workspace, position, DBN(limit));
	return rc < 0 ? err_wrap(e, "list files") : 0;
}

int
file_some(struct db *db, const char *workspace, const char *session, const char *const *ids, int n, PGresult **res, struct err *e)
{
	AUTO(str) char *array = pg_array(ids, n);

	return DB_RUN(db, STMT_FILE_SOME, res, e, workspace, array, session) < 0 ? err_wrap(e, "list %d files", n) : 0;
}

int
file_used(struct db *db, const char *organization, int64_t *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_FILE_USED, &res, e, organization) < 0)
		return err_wrap(e, "sum up files");
	*out = pg_int(res, 0, 0);
	return 0;
}

/* --- housekeeping ----------------------------------------------------------------------------------------------------------- */

int
file_expire(struct db *db, int64_t limit, int64_t keep_s, int64_t *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_FILE_EXPIRE, &res, e, DBN(limit), DBN(keep_s)) < 0)
		return err_wrap(e, "expire files");
	*out = pg_int(res, 0, 0);
	return 0;
}

/* Remove the bytes of each id in column 0; the ids of those that are gone as a Postgres array, which the caller frees. */
static char *
remove_all(const PGresult *res, const char *blob_dir, int *out_n)
{
	const char **gone = xcalloc((size_t)PQntuples(res) + 1, sizeof *gone);
	char *array;
	int n = 0;

	for (int i = 0; i < PQntuples(res); i++) {
		const char *id = pg_str(res, i, 0);
		struct err e = ERR_INIT;

		if (blob_remove(blob_dir, id, &e) == 0)
			gone[n++] = id;
		else
			log_err("blob_remove", &e, "blob", id, NULL);
	}
	array = pg_array(gone, n);
	free(gone);
	*out_n = n;
	return array;
}

int
file_remove_blobs(struct db *db, const char *blob_dir, int64_t limit, int64_t grace_s, int64_t *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(str) char *gone = NULL;
	int n;

	*out = 0;
	if (DB_RUN(db, STMT_BLOB_SWEEP, &res, e, DBN(limit), DBN(grace_s)) < 0)
		return err_wrap(e, "find blobs to remove");
	if (PQntuples(res) == 0)
		return 0;
	gone = remove_all(res, blob_dir, &n);
	if (n > 0 && DB_RUN(db, STMT_BLOB_REMOVED, NULL, e, gone) < 0)
		return err_wrap(e, "forget removed blobs");
	*out = n;
	return 0;
}

/* Of n names: remove those that no row knows. */
static int
remove_strays(struct db *db, const char *blob_dir, const char *const *names, int n, int *out_removed, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(str) char *array = pg_array(names, n);

	if (DB_RUN(db, STMT_BLOB_STRAYS, &res, e, array) < 0)
		return err_wrap(e, "look for stray blobs");
	free(remove_all(res, blob_dir, out_removed));
	return 0;
}

int
file_remove_strays(struct db *db, const char *blob_dir, unsigned folder, int64_t age_s, int64_t *out, struct err *e)
{
	char names[STRAYS][BLOB_ID];
	const char *list[STRAYS];
	int64_t seen = 0;
	int n, removed;

	for (int i = 0; i < STRAYS; i++)
		list[i] = names[i];
	*out = 0;
	while ((n = blob_list(blob_dir, folder, age_s, seen, names, STRAYS)) > 0) {
		if (remove_strays(db, blob_dir, list, n, &removed, e) < 0)
			return -1;
		*out += removed;
		seen += n - removed;
	}
	return 0;
}

int
file_remove_stray(struct db *db, const char *blob_dir, const char *blob, int64_t *out, struct err *e)
{
	int removed = 0;

	if (remove_strays(db, blob_dir, &blob, 1, &removed, e) < 0)
		return -1;
	*out = removed;
	return 0;
}
