/*
 * dead: sessions that were given up because they stopped their worker again and again, or could not be read. List them; let one try again
 * when the cause is gone. A session without a dead letter, or one that was archived since, is refused and nothing changes.
 */
#include "ctl.h"

#include <stdio.h>

int
cmd_dead_list(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_DEAD_LIST, &res, &e) < 0)
		return ctl_fail("dead list", &e);
	ctl_print(c, res);
	return CTL_OK;
}

int
cmd_dead_retry(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_DEAD_RETRY, &res, &e, argv[1]) < 0)
		return ctl_fail("dead retry", &e);
	if (PQntuples(res) == 0) {
		fprintf(stderr, "roostctl: no dead letter of a session that can be tried again: %s\n", argv[1]);
		return CTL_FAILED;
	}
	ctl_print(c, res);
	return CTL_OK;
}
