/*
 * roost-vault: the door to the keys that open credentials. It listens for roost-egress and starts a roost-opener for each connection
 * (lib/base/each.h); it reads no key itself. ops starts it in a network namespace of its own that has no interface, so that neither it nor
 * an opener can reach anything but unix sockets.
 *
 * When it is away, what needs a secret answers 503 and nothing else is touched.
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
	log_open("roost-vault", log_level_of(c.log_level));
	return each_run(&(struct each){ .socket = c.vault_socket, .users = c.vault_users, .program = "roost-opener",
	    .conf_path = argv[2], .max = c.openers_max, .seconds = c.opener_s });
}
