/*
 * peers: which of the living workers should take a session. Each session has a favourite among them (the highest hash of both names), so
 * that its turns find their context in memory and one worker answers a doorbell, not all. A hint: the others come a moment later for what
 * it has left, and a list that is a second old costs that moment only.
 */
#ifndef ROOST_HARNESS_PEERS_H
#define ROOST_HARNESS_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "dbq.h"

#define PEERS_MAX 64		/* more workers than that: the first ones the database names */

struct peers {
	uint32_t hash[PEERS_MAX];
	int n;
	bool asking;
};

uint32_t peers_hash(const char *name);
/* Ask the database who lives. */
void peers_refresh(struct peers *p, struct dbq *db);
/* Is this worker the session's favourite? True while nobody else is known. */
bool peers_favourite(const struct peers *p, const char *me, const char *session);

#endif
