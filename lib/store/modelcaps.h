/*
 * modelcaps: what a model may be asked for beyond a plain request: levels of effort, the fast speed, geographies. Reads what the catalogue
 * keeps (catfile.h: "capabilities"). Pure.
 */
#ifndef ROOST_STORE_MODELCAPS_H
#define ROOST_STORE_MODELCAPS_H

#include <stdbool.h>

/* The wire's words, ended by NULL; efforts from the lowest to the highest. */
extern const char *const modelcaps_efforts[], *const modelcaps_geos[];

struct modelcaps {
	unsigned efforts, geos;		/* bits in the order of the words */
	bool fast;
};

/* text: of the catalogue, or NULL: every effort, standard speed, global. */
void modelcaps_read(const char *text, struct modelcaps *out);

bool modelcaps_effort(const struct modelcaps *c, const char *level);
bool modelcaps_geo(const struct modelcaps *c, const char *geo);
/* speed: "standard", "fast". */
bool modelcaps_speed(const struct modelcaps *c, const char *speed);

/* The effort of an agent that names none: high, else the next lower one, else the lowest there is. NULL: the model takes none. */
const char *modelcaps_usual_effort(const struct modelcaps *c);

#endif
