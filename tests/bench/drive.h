/*
 * drive: agents, sessions and their turns through the API, for measuring. Dies with a message when something fails.
 */
#ifndef ROOST_BENCH_DRIVE_H
#define ROOST_BENCH_DRIVE_H

#include "buf.h"
#include "http.h"
#include "stats.h"

#define CONNS 16

extern struct http *api;		/* for everything that is not measured */
extern char environment[64], agent[64], tool_agent[64];	/* the latter with the toolset */

/* An environment and two agents of the scripted model. First of all. */
void prepare(void);
/* POST body to path; the id of what was made. */
void create(const char *path, const char *body, char out[64]);
/* Request bodies; the caller frees. */
char *agent_body(const char *model, bool tools);
char *session_body(const char *of);
void new_session(const char *of, char out[64]);

/* A session that is being driven: its stream, and the connection its messages go by. */
struct drive {
	struct http *post, *stream;
	struct buf text;
	char path[128];
	double sent, acked;	/* when; acked 0: not yet */
	int left;
};

/* A new session of this agent with its stream; query: NULL, or what follows the stream's path. */
void drive_open(struct drive *d, const char *of, int turns, const char *query);
void drive_close(struct drive *d);
void drive_send(struct drive *d, const char *text);
/* Take what came on both connections. True once the turn is over. */
bool drive_look(struct drive *d);
void drive_wait(struct drive *d);
/* When this stood in the stream first, waiting for it. */
double drive_until(struct drive *d, const char *text);
/* n sessions at once, `turns` each, closed loop. Returns the wall time; adds each turn's. */
double drive_many(struct drive *d, int n, int turns, const char *of, const char *text, struct samples *each);

#endif
