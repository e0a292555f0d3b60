/*
 * call: one tool call from request to acknowledged result. A call id runs at most once; asking again attaches to it.
 */
#ifndef ROOST_SANDBOX_CALL_H
#define ROOST_SANDBOX_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "input.h"
#include "session.h"

/* Contract appendix C, C-1. */
#define CALL_INTERRUPTED "Tool execution was interrupted before completion. Please retry."

enum call_state { CALL_QUEUED, CALL_RUNNING, CALL_DONE };
enum call_why { CALL_ENDED, CALL_TIMED_OUT, CALL_CANCELLED };

struct call {
	TAILQ_ENTRY(call) in_session, in_done;
	struct session *s;
	char id[64];
	int64_t epoch;
	uint32_t num;			/* its number towards roost-init, while running */
	enum call_state state;
	enum call_why why;		/* what we did to end it */
	struct input in;
	int64_t timeout_ms;
	int out;			/* memfd that its output goes to, while running */
	struct leaf leaf;		/* its group (bash: the shell's, kept in the session) */
	int64_t until;			/* restart: no longer than this */
	struct loop_timer *timer;	/* its time limit, then the grace after the kill */
	struct waiter *waiters;
	char *text;			/* the result, once done */
	size_t len;
	bool is_error, spilled;
	bool forget;			/* acknowledged before its end: nobody will ask */
	bool retried;			/* bash: given to a second shell */
};

/* The call of this id, or NULL. Handing over: it gets the session's epoch. */
struct call *call_find(struct session *s, const char *id);
/* Start one (in is taken); the waiter is told when it is done. The id must be new. */
void call_start(struct session *s, const char *id, struct input *in, uint64_t conn, int64_t n);
/* A call that ends before it starts, with this text as error. */
void call_refused(struct session *s, const char *id, const char *text, uint64_t conn, int64_t n);
void call_cancel(struct call *c);
void call_cancel_older(struct session *s, int64_t epoch);
/* Acknowledged: forget it, now or when it ends. */
void call_ack(struct call *c);
void call_forget_all(struct session *s);
/* Start the shell before it is needed: a sandbox asked for ahead of its first call has the time. */
void call_warm(struct session *s);
/* Hand over to the sandbox what can run now. */
void call_pump(struct session *s);
/* roost-init says that one ended. */
void call_done(struct session *s, const struct sb_msg *m);
/* The sandbox is gone: unfinished calls end with this text. */
void call_all_lost(struct session *s, const char *text);

#endif
