/*
 * peers: which of the living workers should take a session that all are told of.
 *
 * Work is packed: on each machine the first workers (the oldest) have it all and the others wait in reserve, because what one process does
 * for many sessions at once costs the database less than the same done by several. How many are at work, the machine's spread, is said by
 * the first of them in its row and follows the load of those that are. Among the first of all machines each session has a favourite (the
 * highest hash of both names), so that its turns find their context in memory and one worker answers a doorbell.
 *
 * A worker stands in this line while its row is fresh, it reaches hands (if any worker does) and has said that it takes sessions. A hint:
 * the others come a moment later for what was left, by their place in the line, and a list that is a second old costs that moment only.
 */
#ifndef ROOST_HARNESS_PEERS_H
#define ROOST_HARNESS_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "dbq.h"

#define PEERS_MAX 64		/* more workers than that: the first ones the database names */
#define PEERS_HIGH 75		/* percent: more than this each, and the machine's next worker is at work too */
#define PEERS_LOW 50		/* less than this each with one worker fewer, */
#define PEERS_CALM 10		/* so many looks in a row: then it is one fewer */

struct peer {
	uint32_t hash, host;	/* id_hash() of its name, of its machine's */
	bool open, hands;
	int load, spread;	/* percent of what it can do; how many of its machine it thinks are to be at work */
};

struct peers {
	struct peer all[PEERS_MAX];	/* oldest first */
	int n;
	uint32_t first[PEERS_MAX];	/* those at work */
	int nfirst;
	int behind;		/* 0: this worker is one of them; else how many places behind them */
	int spread;		/* what its own row is to say */
	int calm;
	uint32_t me, host;
	int64_t fresh_ms;	/* how old a living worker's row may be */
	bool asking;
};

/* host: the machine's name; fresh_ms: who has not beaten for so long is passed over. */
void peers_begin(struct peers *p, const char *me, const char *host, int64_t fresh_ms);
/* Ask the database who lives; peers_look() follows. */
void peers_refresh(struct peers *p, struct dbq *db);
/* all and n have been read: who is at work, and how many are to be on this machine. */
void peers_look(struct peers *p);
/* Is this worker the session's favourite? True while nobody else is known. */
bool peers_favourite(const struct peers *p, const char *session);

#endif
