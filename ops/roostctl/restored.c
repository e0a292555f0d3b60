/*
 * restored: what `ops/restore` does to a database that has come back from its archive, before anybody else may connect; and what is to be
 * done after an asynchronous standby was promoted, with every process of ours stopped (F13, F57). The function restored() says what.
 */
#include "ctl.h"

int
cmd_restored(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_RESTORED, &res, &e) < 0)
		return ctl_fail("restored", &e);
	ctl_print(c, res);
	return CTL_OK;
}
