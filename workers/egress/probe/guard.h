/*
 * guard: which addresses a request that a tenant caused may go to. The public internet, and networks that the operator lists.
 */
#ifndef ROOST_EGRESS_GUARD_H
#define ROOST_EGRESS_GUARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "err.h"

#define GUARD_NETS 32

struct guard {
	int n;
	struct guard_net {
		unsigned char addr[16];	/* IPv4 as ::ffff:a.b.c.d */
		int bits;		/* of 128 */
	} nets[GUARD_NETS];
};

/* "10.1.0.0/16 fd00::/8 192.168.3.4"; EK_INVALID with the entry that is none. */
int guard_parse(const char *list, struct guard *out, struct err *e);

/* May it be connected to? Only AF_INET and AF_INET6 ever. */
bool guard_allows(const struct guard *g, const struct sockaddr *addr);

/* Connected: from `own` to `peer`, addresses as text. false: that is this machine itself, by an address that is not on the list. */
bool guard_allows_peer(const struct guard *g, const char *peer, const char *own);

#endif
