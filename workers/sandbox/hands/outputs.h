/*
 * outputs: what a session wrote below /mnt/session/outputs, copied into the blob store when its sandbox is paused, and kept in a list until
 * a worker says that it is published. The list survives a crash of hands (a file per session in sandbox_dir/outputs), so a copy whose
 * publication is in doubt is offered again: publishing is idempotent by its blob id.
 */
#ifndef ROOST_SANDBOX_OUTPUTS_H
#define ROOST_SANDBOX_OUTPUTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "collect.h"
#include "hands.h"
#include "jw.h"
#include "waiter.h"

struct session;

/* The latest content of a path that was collected. */
struct output {
	char *path;
	char sha256[65];
	struct collect_stamp stamp;
};

/* A content that is not published yet; a path may have several. */
struct unpublished {
	char *path, *name;
	char blob[33], sha256[65];
	int64_t size;
};

struct outputs {
	struct output *list;		/* sorted by path */
	struct unpublished *pending;	/* in order of collection */
	int n, npending;
	bool shorter;			/* the list on disk names more */
	int taken;			/* contents collected so far, and their bytes */
	int64_t bytes;
	int64_t print;			/* of what was collected last; 0: nothing yet */
	int64_t printing;		/* of what is being collected */
	int64_t told_ms;		/* when the list was last handed out */
	char *note;			/* what was left out, for the next result; or NULL */
	struct collecting *collecting;	/* or NULL */
	bool again;			/* paused once more meanwhile: look again at its end */
	bool destroy;			/* asked for meanwhile: the sandbox goes at its end */
	struct waiter *waiters;		/* for its end */
};

/* Where lists are kept (outputs_list.c); those of a predecessor are taken up. EK_UNAVAILABLE. */
int outputs_open(struct hands *h, struct err *e);

/*
 * The session is being paused: collect what is new. Answers the request (server_outputs) at once when there is nothing to do, else at the
 * end of the collection.
 */
void outputs_pause(struct session *s, uint64_t conn, int64_t n);
/* The sandbox is gone. What was collected stays, and what is being collected goes on: the child holds on to the directory. */
void outputs_lost(struct session *s);
/* A list that nobody has been offered for a while (or ever): its session, or NULL. */
struct session *outputs_forgotten(struct hands *h);
/* Write what is pending as members of the reply: "session", "outputs", "more" (there is more than fits). */
void outputs_write(struct session *s, struct jw *w);
/* These are published, or (keep false) are to be thrown away. */
void outputs_done(struct session *s, const json_t *blobs, bool keep);
void outputs_free(struct session *s);

#endif
