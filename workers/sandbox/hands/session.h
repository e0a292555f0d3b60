/*
 * session: which session has which sandbox, and who may talk to it.
 *
 * Fencing: the highest epoch seen for a session is kept; a lower one is refused. A higher one takes over: `result`, `ack` and `cancel`
 * hand the named call over, anything that starts or ends something first kills the calls of older epochs that were not handed over.
 * A session without sandbox, calls and unpublished outputs is remembered for its epoch alone, for as long as there is room (SESSIONS_MAX).
 */
#ifndef ROOST_SANDBOX_SESSION_H
#define ROOST_SANDBOX_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "box.h"
#include "files.h"
#include "hands.h"
#include "outputs.h"
#include "waiter.h"

#define SESSION_ID_MAX 64
#define OLD_SHELLS 8

struct session {
	TAILQ_ENTRY(session) link;
	LIST_ENTRY(session) in_bucket;
	struct hands *h;
	char id[SESSION_ID_MAX];
	int64_t epoch;
	struct box *box;		/* NULL: none */
	struct waiter *provisions;	/* answered when the box is ready */
	struct call_queue calls;	/* in order of arrival; finished ones stay until acknowledged */
	struct call *bash;		/* the command that the shell runs now */
	int running;			/* calls handed to the sandbox */
	uint32_t next_num;		/* numbers calls towards roost-init */
	uint32_t shell_gen;
	int shell_errno;		/* why the last shell could not be started */
	struct leaf shell;		/* the shell's group; fd -1: no shell */
	struct leaf old[OLD_SHELLS];	/* groups of shells that ended: their background processes live on */
	int nold;
	bool pause_wanted;		/* freeze once nothing runs */
	struct files files;		/* mounted in it */
	struct outputs outputs;		/* collected from it */
	bool replaced;			/* its sandbox went while it was idle: the next result says so */
};

void session_init(struct hands *h);
/* The session of this id, made when unknown; fenced by epoch (EK_CONFLICT). kill_older: see above. */
struct session *session_enter(struct hands *h, const char *id, int64_t epoch, bool kill_older, struct err *e);

/* The session of this id, or NULL: not fenced. */
struct session *session_find(struct hands *h, const char *id);

/*
 * See that there is a living, thawed sandbox or one on its way. *fresh: it was started now. On a full host the sandbox that has been
 * frozen for longest gives way; EK_LIMIT when none is frozen.
 */
int session_provision(struct session *s, bool *fresh, struct err *e);
/* The session's files, as a request names them (files.h): at once where there is a sandbox. NULL: no change. EK_INVALID. */
int session_files(struct session *s, const json_t *list, struct err *e);
/* Freeze it as soon as nothing runs. */
void session_pause(struct session *s);
/* A call ended or went: freeze when that was wanted. */
void session_settle(struct session *s);
/* Kill the sandbox; running calls end with `why`; results are forgotten. */
void session_destroy(struct session *s);
/* The sandbox is unusable: end it as if it had died by itself. */
void session_lose_box(struct session *s, const char *why);

/* Let go of the present shell: kill its group, or keep it for its background processes. */
void session_shell_drop(struct session *s, bool kill);
/* restart: kill this shell and what older ones left. */
void session_shells_kill(struct session *s);

#endif
