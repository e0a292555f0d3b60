/*
 * gaps: model requests that may have cost the host and that nobody was billed for, because nobody knows what they took: by organization,
 * model and cause (workers/harness/README.md, Poison). Reads only.
 */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>

int
cmd_gaps(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	const char *days = ctl_option(&argc, argv, "--days");
	char *end;

	if (argc != 1)
		return CTL_USAGE;
	if (days && (strtol(days, &end, 10) < 1 || *end || strtol(days, NULL, 10) > 36500)) {
		fprintf(stderr, "roostctl: --days takes a number from 1 to 36500\n");
		return CTL_FAILED;
	}
	if (DB_RUN(c->db, STMT_GAPS, &res, &e, days ? days : "30") < 0)
		return ctl_fail("gaps", &e);
	ctl_print(c, res);
	return CTL_OK;
}
