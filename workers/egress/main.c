/*
 * roost-egress: the door to the internet for what our other processes may not reach themselves. It listens for gateways and starts a
 * roost-probe for each connection (lib/base/each.h), which validates one credential against its server and ends. It cannot log in to
 * Postgres; what it may use is released by roost-vault.
 *
 * When it is away, validations answer 503 and nothing else is touched.
 */
#include <stdlib.h>

#include "conf.h"
#include "each.h"
#include "log.h"

int
main(int argc, char **argv)
{
	struct conf c;

	conf_args(&c, argc, argv);
	log_open("roost-egress", log_level_of(c.log_level));
	return each_run(&(struct each){ .socket = c.egress_socket, .users = c.egress_users, .program = "roost-probe",
	    .conf_path = argv[2], .max = c.probes_max, .seconds = c.probe_s + 10 });
}
