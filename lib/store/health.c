/* health: see health.h. Asks with a write first; whatever that fails of, a read tells whether the database is there at all. */
#include "health.h"

static bool
may_be_old(const struct err *e)
{
	return e->kind == EK_UNAVAILABLE || e->kind == EK_UNCERTAIN;
}

int
health_ask(struct db *db, struct health *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err why = ERR_INIT;
	bool writable = DB_RUN(db, STMT_HEALTH_WRITE, &res, &why) == 0;

	if (!writable && may_be_old(&why)) {
		err_clear(&why);
		writable = DB_RUN(db, STMT_HEALTH_WRITE, &res, &why) == 0;
	}
	if (!writable && DB_RUN(db, STMT_HEALTH_WORKERS, &res, e) < 0)
		return err_wrap(e, "look at the database");
	*out = (struct health){ .writable = writable, .workers = pg_int(res, 0, 0), .hands = pg_bool(res, 0, 1), .timeline = pg_int(res, 0, 2),
		.archive_fails = pg_bool(res, 0, 3) };
	return 0;
}
