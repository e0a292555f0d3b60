/*
 * keygen: makes the instance key pair: who has the public half can seal a provider's key, only the private half opens it.
 *
 * Never replaces an existing key: what was sealed for it would be lost. Who may read the files is the caller's affair (ops/setup).
 */
#include "ctl.h"

#include <stdio.h>

#include "seal.h"

int
cmd_keygen(struct ctl *c, int argc, char **argv)
{
	struct err e = ERR_INIT;
	int made = 0;

	if (argc != 3)
		return CTL_USAGE;
	if (seal_keygen(argv[1], argv[2], &made, &e) < 0)
		return ctl_fail("keygen", &e);
	if (!c->quiet)
		printf("%s\t%s\n", made ? "made" : "kept", argv[1]);
	return CTL_OK;
}
