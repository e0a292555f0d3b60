/* link: tests/env/pg_rig.c */
/*
 * Files between a real Postgres and a real folder: what is kept is there, copies live on, quotas are exact, expiry takes the bytes, and
 * housekeeping removes exactly what nobody names, at whatever line it was interrupted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../env/pg_rig.h"
#include "blob.h"
#include "file.h"
#include "id.h"
#include "xalloc.h"

#define QUOTA 1000

static char store[96];
static struct db *gw, *wk;

static int
start(void **state)
{
	struct err e = ERR_INIT;

	AUTO(str) char *gw_dsn = NULL, *wk_dsn = NULL;

	pgr_start("files");
	snprintf(store, sizeof store, "%s/blobs", pgr_dir);
	gw_dsn = pgr_dsn("roost_gw");
	wk_dsn = pgr_dsn("roost_worker");
	gw = db_open(gw_dsn, DB_GW, 40000);
	wk = db_open(wk_dsn, DB_WORKER, 40000);
	free(ask("INSERT INTO organization (id, name) VALUES ('org', 'Org'), ('org2', 'Two')"));
	free(ask("INSERT INTO organization (id, name, state) VALUES ('org3', 'Three', 'suspended')"));
	free(ask("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One'), ('w2', 'org', 'Two'), ('w3', 'org2', 'Three')"));
	assert_int_equal(blob_setup(store, &e), 0);
	assert_int_equal(blob_setup(store, &e), 0);
	return 0;
}

static int
stop(void **state)
{
	db_close(&gw);
	db_close(&wk);
	return pgr_stop();
}

/* A kept blob of n bytes; its id into id. */
static void
keep(size_t n, char id[BLOB_ID], char sha[BLOB_SHA])
{
	AUTO(blob_writer) struct blob_writer w = BLOB_WRITER_INIT;
	AUTO(str) char *bytes = xcalloc(1, n + 1);
	struct err e = ERR_INIT;

	assert_int_equal(blob_create(store, &w, &e), 0);
	assert_int_equal(blob_write(&w, bytes, n / 2, &e), 0);
	assert_int_equal(blob_write(&w, bytes, n - n / 2, &e), 0);
	memcpy(id, w.id, BLOB_ID);
	assert_int_equal(blob_keep(&w, sha, &e), 0);
	assert_int_equal(w.fd, -1);
}

static bool
there(const char *id)
{
	char path[BLOB_PATH];

	return access(blob_path(store, id, path), F_OK) == 0;
}

/* Insert an upload of n bytes; -1 when refused. */
static int
upload(const char *organization, const char *workspace, size_t n, int64_t expires, char id[ID_MAX], char blob[BLOB_ID], struct err *e)
{
	char sha[BLOB_SHA];
	struct file_new f = { .id = id_new("file_", id), .organization = organization, .workspace = workspace, .origin = "upload",
	    .filename = "a.txt", .mime = "text/plain", .blob_id = blob, .sha256 = sha, .size = (int64_t)n, .expires_s = expires };

	keep(n, blob, sha);
	return file_insert(gw, &f, QUOTA, e);
}

static void
make_session(char id[ID_MAX])
{
	free(ask("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent,"
	    " last_at, created_at, updated_at) SELECT '%s', 'org', 'w1', 'agent_x', 1, 'env_x', 'sthr_x', '{}', t, t, t"
	    " FROM (SELECT clock_timestamp() AS t) x", id_new("sesn_", id)));
}

static int64_t
sweep(void)
{
	struct err e = ERR_INIT;
	int64_t n;

	if (file_remove_blobs(gw, store, 100, 0, &n, &e) < 0)
		fail_msg("%s", e.detail);
	return n;
}

static int
clean(void **state)
{
	free(ask("DELETE FROM file"));
	free(ask("DELETE FROM session"));
	while (sweep() > 0)
		continue;
	expect("0", "SELECT count(*) FROM blob");
	expect("0", "SELECT coalesce(sum(bytes) + sum(files), 0) FROM file_usage");
	free(ask("DELETE FROM file_usage"));
	return 0;
}

/* --- the store alone -------------------------------------------------------------------------------------------------------- */

static void
test_blob(void **state)
{
	char id[BLOB_ID], sha[BLOB_SHA], path[BLOB_PATH], text[4];
	AUTO(blob_writer) struct blob_writer w = BLOB_WRITER_INIT;
	struct err e = ERR_INIT;
	AUTO(fd) int fd = -1;
	struct stat st;
	int64_t size;

	assert_int_equal(blob_create(store, &w, &e), 0);
	assert_int_equal(blob_write(&w, "abc", 3, &e), 0);
	memcpy(id, w.id, sizeof id);
	assert_true(blob_id_ok(id));
	assert_false(there(id));
	assert_int_equal(blob_keep(&w, sha, &e), 0);
	assert_string_equal(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	fd = blob_open(store, id, &size, &e);
	assert_true(fd >= 0 && size == 3 && read(fd, text, 4) == 3 && memcmp(text, "abc", 3) == 0);
	assert_true(stat(blob_path(store, id, path), &st) == 0 && (st.st_mode & 0777) == 0644);
	assert_int_equal(blob_remove(store, id, &e), 0);
	assert_int_equal(blob_remove(store, id, &e), 0);
	assert_true(blob_open(store, id, &size, &e) < 0 && e.kind == EK_INTERNAL);
	assert_false(blob_id_ok("../../../../../../../etc/passwd0"));
	assert_false(blob_id_ok("ABCDEF00000000000000000000000000"));
	assert_int_equal(blob_room(store, 1, 0, &(struct err){ 0 }), 0);
	assert_true(blob_room(store, INT64_MAX / 2, 0, &e) < 0 && e.kind == EK_UNAVAILABLE);
}

static void
test_left_in_tmp(void **state)
{
	struct blob_writer dead = BLOB_WRITER_INIT, live = BLOB_WRITER_INIT;
	struct err e = ERR_INIT;
	char path[160];

	assert_int_equal(blob_create(store, &dead, &e), 0);
	assert_int_equal(blob_create(store, &live, &e), 0);
	snprintf(path, sizeof path, "%s/tmp/%s", store, dead.id);
	assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){ { 0 }, { .tv_sec = time(NULL) - 1000 } }, 0), 0);
	assert_int_equal(blob_sweep_tmp(store, 900), 1);
	assert_int_equal(blob_sweep_tmp(store, 900), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	close(dead.fd);
	snprintf(path, sizeof path, "%s/tmp/%s", store, live.id);
	assert_int_equal(access(path, F_OK), 0);
	blob_drop(&live);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void
test_strays(void **state)
{
	char id[ID_MAX], named[BLOB_ID], stray[BLOB_ID], sha[BLOB_SHA];
	struct err e = ERR_INIT;
	int64_t n, sum = 0;

	assert_int_equal(upload("org", "w1", 10, 0, id, named, &e), 0);
	keep(5, stray, sha);
	for (unsigned f = 0; f < 256; f++) {
		assert_int_equal(file_remove_strays(gw, store, f, 60, &n, &e), 0);
		sum += n;
	}
	assert_int_equal(sum, 0);		/* too young: its row may be on its way */
	for (unsigned f = 0; f < 256; f++) {
		assert_int_equal(file_remove_strays(gw, store, f, 0, &n, &e), 0);
		sum += n;
	}
	assert_int_equal(sum, 1);
	assert_true(there(named));
	assert_false(there(stray));
}

/* --- rows ------------------------------------------------------------------------------------------------------------------- */

static void
test_upload_and_delete(void **state)
{
	char id[ID_MAX], blob[BLOB_ID];
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct file_row f;
	int64_t used;

	assert_int_equal(upload("org", "w1", 10, 0, id, blob, &e), 0);
	assert_int_equal(file_get(gw, "w1", id, &res, &f, &e), 0);
	assert_string_equal(f.filename, "a.txt");
	assert_true(f.size == 10 && !f.expires && !f.session_id && !f.expired && !f.downloadable && strlen(f.created) == 24);
	assert_string_equal(f.blob_id, blob);
	assert_int_equal(file_used(gw, "org", &used, &e), 0);
	assert_int_equal(used, 10);
	assert_true(file_delete(gw, "w2", id, &e) < 0 && e.kind == EK_NOT_FOUND);
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	assert_true(file_delete(gw, "w1", id, &e) < 0 && e.kind == EK_NOT_FOUND);
	assert_int_equal(file_used(gw, "org", &used, &e), 0);
	assert_int_equal(used, 0);
	assert_int_equal(sweep(), 1);
	assert_false(there(blob));
}

static void
test_quota_and_state(void **state)
{
	char id[ID_MAX], blob[BLOB_ID];
	struct err e = ERR_INIT;

	assert_int_equal(upload("org", "w1", QUOTA - 1, 0, id, blob, &e), 0);
	assert_true(upload("org", "w2", 2, 0, id, blob, &e) < 0 && e.kind == EK_INVALID && e.code == EC_STORAGE_QUOTA_EXCEEDED);
	assert_int_equal(upload("org", "w2", 1, 0, id, blob, &e), 0);
	assert_int_equal(upload("org2", "w3", 1, 0, id, blob, &e), 0);
	assert_true(upload("org3", "w3", 1, 0, id, blob, &e) < 0 && e.kind == EK_FORBIDDEN);
	expect("1000 2", "SELECT sum(bytes) || ' ' || sum(files) FROM file_usage WHERE organization_id = 'org'");
	for (int i = 0; i < 200; i++)
		assert_int_equal(upload("org2", "w3", 1, 0, id, blob, &e), 0);
	expect("201 201", "SELECT sum(bytes) || ' ' || sum(files) FROM file_usage WHERE organization_id = 'org2'");
	expect("t", "SELECT count(*) < 60 FROM file_usage WHERE organization_id = 'org2'");
}

/* A session's copies live on when the upload is deleted, do not count, and go with the session; the bytes go with the last of them. */
static void
test_copies(void **state)
{
	char id[ID_MAX], copy[ID_MAX], twin[ID_MAX], session[ID_MAX], blob[BLOB_ID];
	struct err e = ERR_INIT;
	AUTO(pgres) PGresult *res = NULL;
	struct file_row f;

	make_session(session);
	assert_int_equal(upload("org", "w1", QUOTA, 0, id, blob, &e), 0);
	expect("ok", "SELECT file_copy('%s', 'w1', '%s', '%s', '/mnt/session/uploads/a')", id_new("file_", copy), id, session);
	expect("ok", "SELECT file_copy('%s', 'w1', '%s', '%s', '/mnt/session/uploads/b')", id_new("file_", twin), copy, session);
	expect("missing", "SELECT file_copy('file_x', 'w2', '%s', '%s', '/x')", id, session);
	expect("1000", "SELECT file_bytes_used('org')");
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	expect("1000", "SELECT file_bytes_used('org')");	/* else one could store without end: attach, delete, upload again */
	assert_int_equal(sweep(), 0);
	assert_int_equal(file_get(gw, "w1", copy, &res, &f, &e), 0);
	assert_string_equal(f.session_id, session);
	assert_string_equal(f.path, "/mnt/session/uploads/a");
	assert_string_equal(f.origin, "mount");
	assert_true(there(blob));
	expect("0", "SELECT count(*) FROM blob_drop");
	free(ask("DELETE FROM session WHERE id = '%s'", session));
	expect("0", "SELECT file_bytes_used('org')");
	expect("0", "SELECT count(*) FROM file");
	assert_int_equal(sweep(), 1);
	assert_false(there(blob));
	expect("0", "SELECT count(*) FROM blob");
}

static void
test_outputs(void **state)
{
	char session[ID_MAX], id[ID_MAX], blob[BLOB_ID], sha[BLOB_SHA];
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct file_new f = { .organization = "org", .workspace = "w1", .session_id = session, .origin = "output", .path = "d/out.csv",
	    .filename = "out.csv", .mime = "text/csv", .blob_id = blob, .sha256 = sha, .size = 7, .downloadable = true };

	make_session(session);
	keep(7, blob, sha);
	f.id = id_new("file_", id);
	assert_int_equal(file_insert(wk, &f, QUOTA, &e), 0);
	assert_int_equal(file_list(gw, "w1", session, NULL, false, 20, &res, &e), 0);
	assert_int_equal(PQntuples(res), 1);
	PQclear(steal(res));
	assert_int_equal(file_list(gw, "w1", NULL, NULL, false, 20, &res, &e), 0);
	assert_int_equal(PQntuples(res), 0);
	PQclear(steal(res));
	assert_int_equal(file_list(gw, "w2", session, NULL, false, 20, &res, &e), 0);
	assert_int_equal(PQntuples(res), 0);
	/* offered again, also when it has been deleted meanwhile */
	assert_true(file_insert(wk, &f, QUOTA, &e) < 0);
	expect("again", "SELECT file_insert('file_x', 'org', 'w1', '%s', 'output', 'p', 'n', 'm', true, '%s', 7, '%s', NULL, 1000)", session, blob, sha);
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	expect("again", "SELECT file_insert('file_x', 'org', 'w1', '%s', 'output', 'p', 'n', 'm', true, '%s', 7, '%s', NULL, 1000)", session, blob, sha);
	f.session_id = "sesn_gone";
	keep(7, blob, sha);
	f.id = id_new("file_", id);
	assert_true(file_insert(wk, &f, QUOTA, &e) < 0 && e.kind == EK_NOT_FOUND);
}

static void
test_expiry(void **state)
{
	char id[ID_MAX], copy[ID_MAX], session[ID_MAX], blob[BLOB_ID];
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct file_row f;
	int64_t n;

	make_session(session);
	assert_int_equal(upload("org", "w1", 10, 3600, id, blob, &e), 0);
	expect("t", "SELECT expires_at = created_at + interval '1 hour' FROM file");
	assert_int_equal(file_expire(gw, 10, 60, &n, &e), 0);
	assert_int_equal(n, 0);
	expect("ok", "SELECT file_copy('%s', 'w1', '%s', '%s', '/a')", id_new("file_", copy), id, session);
	free(ask("UPDATE file SET expires_at = clock_timestamp() - interval '1 s' WHERE id = '%s'", id));
	assert_int_equal(file_list(gw, "w1", NULL, NULL, false, 20, &res, &e), 0);
	assert_int_equal(PQntuples(res), 0);
	PQclear(steal(res));
	expect("missing", "SELECT file_copy('file_x', 'w1', '%s', '%s', '/b')", id, session);
	assert_int_equal(file_expire(gw, 10, 60, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(file_get(gw, "w1", id, &res, &f, &e), 0);
	assert_true(f.expired && !f.blob_id);
	expect("10", "SELECT file_bytes_used('org')");		/* the copy's */
	assert_int_equal(sweep(), 0);
	assert_true(there(blob));		/* the copy's */
	free(ask("UPDATE file SET expires_at = clock_timestamp() - interval '61 s' WHERE id = '%s'", id));
	assert_int_equal(file_expire(gw, 10, 60, &n, &e), 0);
	assert_int_equal(n, 1);
	expect("1", "SELECT count(*) FROM file");
}

/* The last two files of a blob go in two transactions that do not see each other: the sweep releases it. */
static void
test_last_two(void **state)
{
	char id[ID_MAX], copy[ID_MAX], session[ID_MAX], blob[BLOB_ID];
	struct err e = ERR_INIT;

	make_session(session);
	assert_int_equal(upload("org", "w1", 10, 0, id, blob, &e), 0);
	expect("ok", "SELECT file_copy('%s', 'w1', '%s', '%s', '/a')", id_new("file_", copy), id, session);
	assert_int_equal(db_begin(gw, &e), 0);
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	free(ask("DELETE FROM session WHERE id = '%s'", session));
	assert_int_equal(db_commit(gw, &e), 0);
	expect("10", "SELECT file_bytes_used('org')");
	assert_int_equal(sweep(), 1);
	expect("0", "SELECT file_bytes_used('org')");
}

/* Interrupted after the bytes went: the doomed row is found again. */
static void
test_interrupted_sweep(void **state)
{
	char id[ID_MAX], blob[BLOB_ID];
	struct err e = ERR_INIT;

	assert_int_equal(upload("org", "w1", 10, 0, id, blob, &e), 0);
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	expect(blob, "SELECT id FROM blob_sweep(10, 0)");
	assert_int_equal(blob_remove(store, blob, &e), 0);
	assert_int_equal(sweep(), 1);
	expect("0", "SELECT count(*) FROM blob");
}

/* While a copy is being made its blob is locked: the sweep leaves it for later. */
static void
test_copy_against_sweep(void **state)
{
	char id[ID_MAX], copy[ID_MAX], session[ID_MAX], blob[BLOB_ID];
	struct err e = ERR_INIT;

	make_session(session);
	assert_int_equal(upload("org", "w1", 10, 0, id, blob, &e), 0);
	free(ask("INSERT INTO blob_drop (blob_id) VALUES ('%s')", blob));
	free(ask("BEGIN"));
	expect("ok", "SELECT file_copy('%s', 'w1', '%s', '%s', '/a')", id_new("file_", copy), id, session);
	assert_int_equal(sweep(), 0);
	expect("1", "SELECT count(*) FROM blob_drop");
	free(ask("COMMIT"));
	assert_int_equal(file_delete(gw, "w1", id, &e), 0);
	assert_int_equal(sweep(), 0);
	assert_true(there(blob));
}

static void
test_pages(void **state)
{
	char id[5][ID_MAX], blob[BLOB_ID];
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct file_row f;

	for (int i = 0; i < 5; i++)
		assert_int_equal(upload("org", "w1", 1, 0, id[i], blob, &e), 0);
	assert_int_equal(file_list(gw, "w1", NULL, NULL, false, 2, &res, &e), 0);
	assert_int_equal(PQntuples(res), 3);
	file_row(res, 0, &f);
	assert_string_equal(f.id, id[4]);
	PQclear(steal(res));
	assert_int_equal(file_list(gw, "w1", NULL, id[3], false, 20, &res, &e), 0);
	assert_int_equal(PQntuples(res), 3);
	PQclear(steal(res));
	assert_int_equal(file_list(gw, "w1", NULL, id[1], true, 2, &res, &e), 0);
	assert_int_equal(PQntuples(res), 3);
	file_row(res, 0, &f);
	assert_string_equal(f.id, id[2]);
	PQclear(steal(res));
	assert_int_equal(file_some(gw, "w1", NULL, (const char *[]){ id[0], "file_no", id[2] }, 3, &res, &e), 0);
	assert_int_equal(PQntuples(res), 2);
	file_row(res, 0, &f);
	assert_string_equal(f.id, id[2]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blob),
		cmocka_unit_test(test_left_in_tmp),
		cmocka_unit_test_teardown(test_strays, clean),
		cmocka_unit_test_teardown(test_upload_and_delete, clean),
		cmocka_unit_test_teardown(test_quota_and_state, clean),
		cmocka_unit_test_teardown(test_copies, clean),
		cmocka_unit_test_teardown(test_outputs, clean),
		cmocka_unit_test_teardown(test_expiry, clean),
		cmocka_unit_test_teardown(test_last_two, clean),
		cmocka_unit_test_teardown(test_interrupted_sweep, clean),
		cmocka_unit_test_teardown(test_copy_against_sweep, clean),
		cmocka_unit_test_teardown(test_pages, clean),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
