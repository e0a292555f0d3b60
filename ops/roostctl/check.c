/*
 * check: `roostctl check`: does the database keep what the service promises?
 *
 * The table is checks.def. Everything that can be seen at one moment is looked at in one read-only snapshot; what needs time (a lease, an
 * item that waits) is looked at twice, two seconds apart, and only what is still there counts. Safe beside a running instance: reads
 * only, takes no lock that anybody waits for. Exit status 1 when anything is violated, or could not be read.
 */
#include "check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credential.h"
#include "jx.h"
#include "xalloc.h"

#define PATIENCE_MS 3600000
#define AGAIN_MS 2100

enum how { ONCE, TWICE, WALK, DISK, HISTORY };

static const struct row {
	const char *name, *invariants, *sentence;
	enum how how;
	enum db_stmt stmt;
} rows[CK_COUNT] = {
#define CHECK(id, text, inv, h, s, what) \
	[CK_##id] = { .name = text, .invariants = inv, .sentence = what, .how = h, .stmt = (enum db_stmt)(s) },
#include "checks.def"
#undef CHECK
};

void
check_fail(struct check *ck, enum check_id id, const char *session, const char *fmt, ...)
{
	struct offender *o;
	va_list ap;

	if (ck->violations[id]++ >= CHECK_SHOWN)
		return;
	o = &ck->first[id][ck->violations[id] - 1];
	snprintf(o->session, sizeof o->session, "%s", session != NULL ? session : "-");
	va_start(ap, fmt);
	vsnprintf(o->detail, sizeof o->detail, fmt, ap);
	va_end(ap);
}

/* --- statements whose rows are offenders ----------------------------------------------------------------------------------- */

static int
ask(struct check *ck, enum check_id id, PGresult **out, struct err *e)
{
	struct db *db = ck->c->db;

	if ((id == CK_VAULTS ? DB_RUN(db, rows[id].stmt, out, e, ck->session, DBN(CREDENTIALS_MAX))
	    : DB_RUN(db, rows[id].stmt, out, e, ck->session)) < 0)
		return err_wrap(e, "check %s", rows[id].name);
	return 0;
}

static int
ask_once(struct check *ck, struct err *e)
{
	for (int id = 0; id < CK_COUNT; id++) {
		AUTO(pgres) PGresult *r = NULL;

		if (rows[id].how != ONCE)
			continue;
		if (ask(ck, (enum check_id)id, &r, e) < 0)
			return -1;
		for (int i = 0; i < PQntuples(r); i++)
			check_fail(ck, (enum check_id)id, pg_str(r, i, 0), "%s", pg_str(r, i, 1));
	}
	return 0;
}

static bool
still(const PGresult *r, const char *session, const char *mark)
{
	for (int i = 0; i < PQntuples(r); i++)
		if (strcmp(pg_str(r, i, 0), session) == 0 && strcmp(pg_str(r, i, 2), mark) == 0)
			return true;
	return false;
}

static void
again(struct check *ck, enum check_id id, const PGresult *first, const PGresult *second)
{
	for (int i = 0; i < PQntuples(first); i++)
		if (still(second, pg_str(first, i, 0), pg_str(first, i, 2)))
			check_fail(ck, id, pg_str(first, i, 0), "%s", pg_str(first, i, 1));
}

static void
pause_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0)
		continue;
}

/* Outside the snapshot: two looks at the present. */
static int
ask_twice(struct check *ck, struct err *e)
{
	PGresult *first[CK_COUNT] = { NULL };
	bool suspects = false;
	int rc = 0;

	for (int id = 0; id < CK_COUNT && rc == 0; id++)
		if (rows[id].how == TWICE) {
			rc = ask(ck, (enum check_id)id, &first[id], e);
			suspects |= rc == 0 && PQntuples(first[id]) > 0;
		}
	if (rc == 0 && suspects)
		pause_ms(AGAIN_MS);
	for (int id = 0; id < CK_COUNT && rc == 0; id++) {
		AUTO(pgres) PGresult *second = NULL;

		if (first[id] == NULL || PQntuples(first[id]) == 0)
			continue;
		rc = ask(ck, (enum check_id)id, &second, e);
		if (rc == 0)
			again(ck, (enum check_id)id, first[id], second);
	}
	for (int id = 0; id < CK_COUNT; id++)
		PQclear(first[id]);
	return rc;
}

/* --- the snapshot ---------------------------------------------------------------------------------------------------------- */

static int
in_snapshot(struct check *ck, int nfiles, char **files, struct err *e)
{
	struct db *db = ck->c->db;
	int rc;

	if (db_begin(db, e) < 0)
		return -1;
	db_patience(db, PATIENCE_MS);
	rc = DB_RUN(db, STMT_CHECK_SNAPSHOT, NULL, e) < 0 || DB_RUN(db, STMT_CHECK_PATIENCE, NULL, e, DBN(PATIENCE_MS)) < 0 ||
	    check_walk(ck, e) < 0 || ask_once(ck, e) < 0 || (nfiles > 0 && check_history(ck, nfiles, files, e) < 0) ? -1 : 0;
	db_rollback(db);
	db_patience(db, (int)ck->c->conf.pg_timeout_ms);
	return rc;
}

/* --- the report ------------------------------------------------------------------------------------------------------------ */

static bool
asked(const struct check *ck, int id)
{
	return rows[id].how != HISTORY || ck->nlines > 0;
}

static void
print_text(const struct check *ck, int bad)
{
	for (int id = 0; id < CK_COUNT; id++) {
		int64_t n = ck->violations[id];

		if (!asked(ck, id))
			continue;
		printf("%-4s %-11s %-8s %s\n", n > 0 ? "FAIL" : "ok", rows[id].name, rows[id].invariants, rows[id].sentence);
		for (int i = 0; i < n && i < CHECK_SHOWN; i++)
			printf("       %s  %s\n", ck->first[id][i].session, ck->first[id][i].detail);
		if (n > CHECK_SHOWN)
			printf("       and %" PRId64 " more\n", n - CHECK_SHOWN);
	}
	printf("read: %" PRId64 " sessions, %" PRId64 " events, %" PRId64 " meter rows\n", ck->nsessions, ck->nevents, ck->nmeters);
	if (ck->nlines > 0)
		printf("history: %" PRId64 " lines, %" PRId64 " acknowledged (%" PRId64 " flushed, %" PRId64 " sent again without a key and kept"
		    " twice), %" PRId64 " events read by %" PRId64 " readers\n", ck->nlines, ck->nacked, ck->nflushed, ck->ndoubled, ck->nread,
		    ck->nreaders);
	printf("%d checks violated\n", bad);
}

static json_t *
as_json(const struct check *ck, int id)
{
	json_t *list = json_array();

	for (int i = 0; i < ck->violations[id] && i < CHECK_SHOWN; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "session", ck->first[id][i].session, "detail", ck->first[id][i].detail));
	return json_pack("{s:s, s:s, s:s, s:I, s:o}", "name", rows[id].name, "invariants", rows[id].invariants, "sentence", rows[id].sentence,
	    "violations", (json_int_t)ck->violations[id], "offenders", list);
}

static void
print_json(const struct check *ck, int bad)
{
	AUTO(json) json_t *doc = json_pack("{s:b, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[]}", "ok", bad == 0, "violated", bad,
	    "sessions", (json_int_t)ck->nsessions, "events", (json_int_t)ck->nevents, "meter_rows", (json_int_t)ck->nmeters,
	    "history_lines", (json_int_t)ck->nlines, "acknowledged", (json_int_t)ck->nacked, "flushed", (json_int_t)ck->nflushed,
	    "doubled", (json_int_t)ck->ndoubled, "read", (json_int_t)ck->nread, "checks");
	AUTO(str) char *text = NULL;

	for (int id = 0; id < CK_COUNT; id++)
		if (asked(ck, id))
			json_array_append_new(json_object_get(doc, "checks"), as_json(ck, id));
	text = jx_dump(doc);
	puts(text);
}

int
cmd_check(struct ctl *c, int argc, char **argv)
{
	struct check *ck = xcalloc(1, sizeof *ck);
	struct err e = ERR_INIT;
	bool json = ctl_flag(&argc, argv, "--json"), history = ctl_flag(&argc, argv, "--history");
	int bad = 0, status;

	ck->c = c;
	ck->session = ctl_option(&argc, argv, "--session");
	if (history ? argc < 2 : argc != 1) {
		free(ck);
		return CTL_USAGE;
	}
	if (in_snapshot(ck, argc - 1, argv + 1, &e) < 0 || ask_twice(ck, &e) < 0 || check_blobs(ck, &e) < 0) {
		free(ck);
		return ctl_fail("check", &e);
	}
	for (int id = 0; id < CK_COUNT; id++)
		bad += ck->violations[id] > 0;
	if (json)
		print_json(ck, bad);
	else
		print_text(ck, bad);
	status = bad > 0 ? CTL_FAILED : CTL_OK;
	free(ck);
	return status;
}
