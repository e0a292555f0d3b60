/*
 * migrate: brings a database to the state that a folder describes, forward only: first DIR/migrations, then DIR/functions.
 *
 * Each migrations/NNNN_what.sql runs in one transaction together with its line in the ledger, so a failing or killed run leaves whole
 * migrations only. Refused: a file that was edited after it had been applied, two files with one number, a database that is newer than
 * the folder. functions/NAME.sql are applied when their text differs from what was last applied, all of them after a migration, in the
 * order of their names and in one transaction: all or none. Two runs at once wait for each other. The ledgers' tables are made with
 * the database (sql/setup).
 *
 * The instance may be at work meanwhile. Who waits for a table's lock holds up everybody who comes later, so a migration waits for a
 * moment only, steps back, and tries again for a minute; then it says so and leaves the schema as it is.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "db_stmts.h"
#include "xalloc.h"

#define SQL_MAX   (8u << 20)
#define TRY_MS    60000		/* how long one migration tries to get its locks; each time it waits as migration_patience says */
#define REST_MS   250		/* between two attempts, for those who had to wait behind it */

#define LOCK_NOT_AVAILABLE "55P03"
#define DEADLOCK_DETECTED  "40P01"

DEFINE_CLEANUP(PGconn *, pgconn, PQfinish)

struct migration {
	long version;		/* 0: a file of functions */
	char *name;		/* file name */
	char *sql;
	char sha256[65];
	int due;		/* functions: to be applied */
};

struct migrations {
	struct migration *list;
	int n;
};

static void
migrations_cleanup(struct migrations *m)
{
	for (int i = 0; i < m->n; i++) {
		free(m->list[i].name);
		free(m->list[i].sql);
	}
	free(m->list);
}

/* "0012_what.sql" -> 12; 0 when it is no migration. */
static long
version_of(const char *name)
{
	size_t digits = strspn(name, "0123456789"), len = strlen(name);

	if (digits != 4 || name[4] != '_' || len < 10 || strcmp(name + len - 4, ".sql") != 0)
		return 0;
	return strtol(name, NULL, 10);
}

static int
by_version(const void *a, const void *b)
{
	const struct migration *x = a, *y = b;

	return x->version != y->version ? (x->version > y->version) - (x->version < y->version) : strcmp(x->name, y->name);
}

/* "what.sql", and nothing that an editor leaves behind. */
static int
is_functions(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, ".sql") == 0 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len - 4;
}

static int
load_one(const char *dir, struct migration *m, struct err *e)
{
	AUTO(str) char *path = xasprintf("%s/%s", dir, m->name);
	unsigned char sum[crypto_hash_sha256_BYTES];
	size_t len;

	m->sql = ctl_read_file(path, SQL_MAX, &len, e);
	if (!m->sql)
		return -1;
	crypto_hash_sha256(sum, (const unsigned char *)m->sql, len);
	sodium_bin2hex(m->sha256, sizeof(m->sha256), sum, sizeof(sum));
	return 0;
}

static int
load_all(const char *root, const char *sub, int numbered, struct migrations *out, struct err *e)
{
	AUTO(str) char *dir = xasprintf("%s/%s", root, sub);
	DIR *d = opendir(dir);
	struct dirent *de;

	if (!d)
		return err_set(e, EK_INVALID, errno, "%s: %s", dir, strerror(errno));
	while ((de = readdir(d))) {
		long version = version_of(de->d_name);

		if (numbered ? !version : !is_functions(de->d_name))
			continue;
		out->list = xrealloc(out->list, (size_t)(out->n + 1) * sizeof(*out->list));
		out->list[out->n++] = (struct migration){ .version = numbered ? version : 0, .name = xstrdup(de->d_name) };
	}
	closedir(d);
	if (out->n == 0)
		return err_set(e, EK_INVALID, 0, "%s has no %s", root, sub);
	qsort(out->list, (size_t)out->n, sizeof(*out->list), by_version);
	for (int i = 0; i < out->n; i++) {
		if (i > 0 && numbered && out->list[i].version == out->list[i - 1].version)
			return err_set(e, EK_INVALID, 0, "%s and %s have one number", out->list[i - 1].name, out->list[i].name);
		if (load_one(dir, &out->list[i], e) < 0)
			return -1;
	}
	return 0;
}

/* Run text with parameters; no parameters: several statements are allowed. */
static int
exec(PGconn *conn, const char *sql, int n, const char *const *params, PGresult **out, struct err *e)
{
	AUTO(pgres) PGresult *res = n > 0 ? PQexecParams(conn, sql, n, NULL, params, NULL, NULL, 0) : PQexec(conn, sql);
	ExecStatusType st = PQresultStatus(res);
	const char *at = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);

	if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK && st != PGRES_EMPTY_QUERY) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		long line = 1;

		if (state && (strcmp(state, LOCK_NOT_AVAILABLE) == 0 || strcmp(state, DEADLOCK_DETECTED) == 0))
			return err_set(e, EK_TIMEOUT, 0, "%s", PQerrorMessage(conn));
		for (long i = 0; at && i < atol(at) - 1 && sql[i]; i++)
			line += sql[i] == '\n';
		if (at)
			return err_set(e, EK_INVALID, 0, "line %ld: %s", line, PQerrorMessage(conn));
		return err_set(e, EK_INVALID, 0, "%s", PQerrorMessage(conn));
	}
	if (out)
		*out = steal(res);
	return 0;
}

static int
apply(PGconn *conn, const struct migrations *one, struct err *e)
{
	const struct migration *m = one->list;
	char version[24];
	const char *params[] = { version, m->name, m->sha256 };

	snprintf(version, sizeof(version), "%ld", m->version);
	if (exec(conn, "BEGIN", 0, NULL, NULL, e) < 0 || exec(conn, m->sql, 0, NULL, NULL, e) < 0 ||
	    exec(conn, db_stmts[STMT_MIGRATION_PUT].sql, 3, params, NULL, e) < 0 ||
	    exec(conn, db_stmts[STMT_FUNCTION_FORGET].sql, 0, NULL, NULL, e) < 0)
		return -1;
	return exec(conn, "COMMIT", 0, NULL, NULL, e);
}

/* One transaction, again and again while somebody holds what it needs; not at once: who waits behind it shall get a turn. */
static int
patiently(PGconn *conn, int (*transaction)(PGconn *, const struct migrations *, struct err *), const struct migrations *what, struct err *e)
{
	const struct timespec rest = { .tv_nsec = REST_MS * 1000000L };
	int64_t end = clock_mono_ms() + TRY_MS;

	for (;;) {
		struct err own = ERR_INIT;

		if (transaction(conn, what, &own) == 0)
			return 0;
		PQclear(PQexec(conn, "ROLLBACK"));
		if (own.kind != EK_TIMEOUT) {
			*e = own;
			return -1;
		}
		if (clock_mono_ms() >= end)
			return err_set(e, EK_TIMEOUT, 0, "its tables are in use by a long transaction (pg_stat_activity names it); nothing was "
			    "changed, try again: %s", own.pub);
		nanosleep(&rest, NULL);
	}
}

/* What the ledger says of this version: 1 applied with this text, 0 not applied, -1 applied with another text. */
static int
applied(const PGresult *ledger, const struct migration *m)
{
	for (int row = 0; row < PQntuples(ledger); row++)
		if (pg_int(ledger, row, 0) == m->version)
			return strcmp(pg_str(ledger, row, 1), m->sha256) == 0 ? 1 : -1;
	return 0;
}

static int
run(struct ctl *c, PGconn *conn, const struct migrations *all, struct err *e)
{
	AUTO(pgres) PGresult *ledger = NULL;
	int rows;

	if (exec(conn, db_stmts[STMT_MIGRATION_LOCK].sql, 0, NULL, NULL, e) < 0 ||
	    exec(conn, db_stmts[STMT_MIGRATION_PATIENCE].sql, 0, NULL, NULL, e) < 0 ||
	    exec(conn, db_stmts[STMT_MIGRATION_LIST].sql, 0, NULL, &ledger, e) < 0)
		return -1;
	rows = PQntuples(ledger);
	if (rows > 0 && pg_int(ledger, rows - 1, 0) > all->list[all->n - 1].version)
		return err_set(e, EK_CONFLICT, 0, "the database has migration %s, newer than this folder: update the checkout",
		    pg_str(ledger, rows - 1, 0));
	for (int i = 0; i < all->n; i++) {
		const struct migration *m = &all->list[i];
		int state = applied(ledger, m);

		if (state < 0)
			return err_set(e, EK_CONFLICT, 0, "%s was edited after it had been applied: write a new migration instead", m->name);
		if (state > 0)
			continue;
		if (patiently(conn, apply, &(struct migrations){ &all->list[i], 1 }, e) < 0)
			return err_wrap(e, "%s", m->name);
		if (!c->quiet)
			printf("applied\t%s\n", m->name);
	}
	return 0;
}

/* Was this text the last that was applied under this name? */
static int
current(const PGresult *ledger, const struct migration *f)
{
	for (int row = 0; row < PQntuples(ledger); row++)
		if (strcmp(pg_str(ledger, row, 0), f->name) == 0)
			return strcmp(pg_str(ledger, row, 1), f->sha256) == 0;
	return 0;
}

static int
apply_functions(PGconn *conn, const struct migrations *all, struct err *e)
{
	if (exec(conn, "BEGIN", 0, NULL, NULL, e) < 0)
		return -1;
	for (int i = 0; i < all->n; i++) {
		const struct migration *f = &all->list[i];
		const char *params[] = { f->name, f->sha256 };

		if (f->due && (exec(conn, f->sql, 0, NULL, NULL, e) < 0 ||
			       exec(conn, db_stmts[STMT_FUNCTION_PUT].sql, 2, params, NULL, e) < 0))
			return err_wrap(e, "%s", f->name);
	}
	return exec(conn, "COMMIT", 0, NULL, NULL, e);
}

static int
run_functions(struct ctl *c, PGconn *conn, struct migrations *all, struct err *e)
{
	AUTO(pgres) PGresult *ledger = NULL;
	int n = 0;

	if (exec(conn, db_stmts[STMT_FUNCTION_LIST].sql, 0, NULL, &ledger, e) < 0)
		return -1;
	for (int i = 0; i < all->n; i++)
		n += all->list[i].due = !current(ledger, &all->list[i]);
	if (n > 0 && patiently(conn, apply_functions, all, e) < 0)
		return -1;
	for (int i = 0; i < all->n && !c->quiet; i++)
		if (all->list[i].due)
			printf("applied\t%s\n", all->list[i].name);
	return 0;
}

static void
no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

int
cmd_migrate(struct ctl *c, int argc, char **argv)
{
	__attribute__((cleanup(migrations_cleanup))) struct migrations all = { NULL, 0 }, functions = { NULL, 0 };
	AUTO(pgconn) PGconn *conn = NULL;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	if (load_all(argv[1], "migrations", 1, &all, &e) < 0 || load_all(argv[1], "functions", 0, &functions, &e) < 0)
		return ctl_fail("migrate", &e);
	conn = PQconnectdb(c->conf.pg_dsn);
	if (PQstatus(conn) != CONNECTION_OK) {
		err_set(&e, EK_UNAVAILABLE, 0, "%s", PQerrorMessage(conn));
		return ctl_fail("migrate", &e);
	}
	PQsetNoticeReceiver(conn, no_notice, NULL);
	if (run(c, conn, &all, &e) < 0 || run_functions(c, conn, &functions, &e) < 0)
		return ctl_fail("migrate", &e);
	return CTL_OK;
}
