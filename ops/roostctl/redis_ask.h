/* redis_ask: what an operator wants to know of Redis, in one visit as the ACL user `ctl`. */
#ifndef ROOST_OPS_REDIS_ASK_H
#define ROOST_OPS_REDIS_ASK_H

#include "conf.h"
#include "err.h"

struct redis_facts {
	char version[32];
	char memory[32];	/* for people: 1.23M */
	long long clients;
	long long jobs;		/* entries of the doorbell stream */
	long long fanout;	/* entries of the fan-out stream */
};

int redis_ask(const struct conf *c, struct redis_facts *out, struct err *e);

#endif
