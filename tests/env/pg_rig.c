/* pg_rig: see pg_rig.h. */
#include "pg_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "db.h"
#include "xalloc.h"

char pgr_dir[64];
PGconn *pgr_owner;

void
pgr_start(const char *name)
{
	AUTO(str) char *up = NULL, *dsn = NULL;

	snprintf(pgr_dir, sizeof pgr_dir, "/tmp/roost-%s-%d", name, (int)getpid());
	up = xasprintf("tests/env/postgres start %s", pgr_dir);
	dsn = pgr_dsn("roost_admin");
	must(system(up) == 0);
	pgr_owner = PQconnectdb(dsn);
	must(PQstatus(pgr_owner) == CONNECTION_OK);
}

int
pgr_stop(void)
{
	AUTO(str) char *down = xasprintf("tests/env/postgres stop %s", pgr_dir);

	PQfinish(pgr_owner);
	return system(down);
}

char *
pgr_dsn(const char *role)
{
	return xasprintf("host=%s dbname=roost user=%s", pgr_dir, role);
}

PGconn *
pgr_begun(const char *sql)
{
	AUTO(str) char *admin = pgr_dsn("roost_admin");
	PGconn *c = PQconnectdb(admin);

	PQclear(PQexec(c, "BEGIN"));
	PQclear(PQexec(c, sql));
	return c;
}

char *
ask(const char *fmt, ...)
{
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&sql, fmt, ap) >= 0);
	va_end(ap);
	r = PQexec(pgr_owner, sql);
	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(pgr_owner));
	return xstrdup(PQntuples(r) && !PQgetisnull(r, 0, 0) ? PQgetvalue(r, 0, 0) : "");
}
