/*
 * ready: can this gateway serve, and what does the service do without at the moment? Looked at when somebody asks, once for all who ask
 * within a second: it costs Postgres a commit and a megabyte of temporary file, and whoever reaches the port may ask.
 */
#ifndef ROOST_GATEWAY_READY_H
#define ROOST_GATEWAY_READY_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "conf.h"
#include "db.h"

enum ready_part {
#define READY(part, need) READY_##part,
#include "ready.def"
#undef READY
	READY_PARTS
};

enum ready_state { PART_UNKNOWN, PART_OK, PART_READ_ONLY, PART_DOWN };

struct verdict {
	enum ready_state part[READY_PARTS];
	int64_t workers;	/* that live; -1: unknown */
	int64_t timeline;	/* how often the database was restored to an earlier time, as it was last known; -1: never yet */
	int64_t age_ms;		/* since when it was looked; what was so before need not be so any more */
};

extern const char *const ready_names[READY_PARTS];
const char *ready_word(enum ready_state s);
/* Is every part that the API cannot do without well? And every other one? */
bool ready_serves(const struct verdict *v);
bool ready_whole(const struct verdict *v);

struct ready;
struct ready *ready_new(const struct conf *c);
void ready_free(struct ready **r);

/*
 * For any number of threads at once, with connections of the caller's own: one of them looks, the others get what was seen last. Where that is
 * older than some seconds they wait for the look, and when it takes more than LATE_MS it has found that Postgres does not answer.
 */
void ready_ask(struct ready *r, struct db *db, struct bus *bus, struct verdict *out);

#endif
