/*
 * check_files: are the bytes there that files promise? Asks the database for blobs, a page at a time, and looks each up in the store. A
 * blob that is not whole is only an offender if a file still names it afterwards: a deleted file's bytes go a minute after its row. Sizes
 * are compared, not contents: reading a store of terabytes is a backup's business. Needs to run as root or with the store's group.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "blob.h"

#define PAGE "1000"

/* Is the blob missing or of another size? Then tell who names it, if anybody still does. */
static int
look(struct check *ck, const char *id, int64_t size, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	char path[BLOB_PATH];
	struct stat st;
	int rc = stat(blob_path(ck->c->conf.blob_dir, id, path), &st), sys = errno;

	if (rc == 0 && st.st_size == size)
		return 0;
	if (DB_RUN(ck->c->db, STMT_CHECK_BLOB_NAMED, &res, e, id) < 0)
		return err_wrap(e, "check blobs");
	if (PQntuples(res) == 0)
		return 0;
	if (rc < 0)
		check_fail(ck, CK_BLOBS, pg_str(res, 0, 1), "file %s: %s: %s", pg_str(res, 0, 0), path, strerror(sys));
	else
		check_fail(ck, CK_BLOBS, pg_str(res, 0, 1), "file %s: blob %s has %" PRId64 " bytes instead of %" PRId64, pg_str(res, 0, 0), id,
		    (int64_t)st.st_size, size);
	return 0;
}

int
check_blobs(struct check *ck, struct err *e)
{
	char last[BLOB_ID] = "";
	int n;

	if (!ck->c->conf.blob_dir[0])
		return 0;
	do {
		AUTO(pgres) PGresult *res = NULL;

		if (DB_RUN(ck->c->db, STMT_CHECK_BLOBS, &res, e, ck->session, last, PAGE) < 0)
			return err_wrap(e, "check blobs");
		n = PQntuples(res);
		for (int i = 0; i < n; i++) {
			if (look(ck, pg_str(res, i, 0), pg_int(res, i, 1), e) < 0)
				return -1;
			snprintf(last, sizeof last, "%s", pg_str(res, i, 0));
		}
	} while (n > 0);
	return 0;
}
