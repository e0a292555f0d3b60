/*
 * failpoints: `roostctl failpoints`: the places where this build can be made to fail (lib/base/failpoint.h), and what a crash there leaves.
 * A release build has none and says so.
 */
#include "ctl.h"

#include <stdio.h>

#include "failpoint.h"

int
cmd_failpoints(struct ctl *c, int argc, char **argv)
{
	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
#ifdef ROOST_FAILPOINTS
	for (int i = 0; i < FP_COUNT; i++)
		printf(c->quiet ? "%s\n" : "%s\t%s\t%s\n", failpoints[i].name, failpoints[i].process, failpoints[i].leaves);
#else
	(void)c;
	puts("compiled out: this is a release build");
#endif
	return CTL_OK;
}
