/*
 * ready: can this gateway serve, and what does the service do without at the moment? Looked at when somebody asks, once for all who ask
 * within a second: it costs Postgres a commit and a megabyte of temporary file, and whoever reaches the port may ask. A thread of its own
 * looks and answers, so no handler thread waits for it, and it is there when all of those are held.
 */
#ifndef ROOST_GATEWAY_READY_H
#define ROOST_GATEWAY_READY_H

#include <fcgiapp.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "park.h"
#include "req.h"

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
struct ready *ready_open(const struct conf *c, struct park *park);
/* After all park_run() have returned. */
void ready_close(struct ready **r);

/* For any thread, at once. True: what was seen last is new enough, or too many wait already; *out. False: ready_take() is to be called. */
bool ready_known(struct ready *r, struct verdict *out);

/*
 * A request to be answered with the next look's verdict, some seconds from now at the latest: Postgres that has not answered by then is down.
 * req->looks puts it into the reply. fcgi and all that req owns are ready's from now on; nothing of it lies in an arena.
 */
void ready_take(struct ready *r, const struct gw_req *req, FCGX_Request *fcgi, int64_t start_us);

#endif
