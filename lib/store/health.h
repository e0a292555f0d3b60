/* health: what the database says of the service's health (gateway/ready.h). */
#ifndef ROOST_STORE_HEALTH_H
#define ROOST_STORE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"

struct health {
	bool writable;		/* it took a write, which has reached the disk, and had room for some more */
	int64_t workers;	/* that live */
	bool hands;		/* one of them reached hands at its latest heartbeat */
	int64_t timeline;	/* how often the database was restored to an earlier time */
	bool archive_fails;	/* Postgres could not get rid of its log when it tried last */
};

/*
 * 0, or -1: it does not answer (*out untouched). A connection that was lost before is none to judge by: a new one is. Takes a millisecond or two
 * when all is well, a second more while somebody keeps the row it writes, db_open()'s timeout at most for each of three statements; but a
 * commit that waits for a synchronous standby waits as long as that is away.
 */
int health_ask(struct db *db, struct health *out, struct err *e);

#endif
