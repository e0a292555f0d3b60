/*
 * calls: the tool calls of the latest reply: how one is settled without being run, what the answers that wait in the inbox do to
 * them, which still wait for the client.
 *
 * Pure. Outcomes are owned by their calls; a batch gets copies.
 */
#ifndef ROOST_HARNESS_CALLS_H
#define ROOST_HARNESS_CALLS_H

#include <stdbool.h>

struct arrival;
struct batch;
struct call;
struct turn;

#define CALL_TEXT_INTERRUPTED "Tool execution was interrupted before completion. Please retry."
#define CALL_TEXT_UNKNOWN "The outcome of this tool call is unknown: the process that ran it stopped before it could report. It has not been " \
	"run again. Check what it has done before you repeat it."

/* Settle a call. Takes content. */
void call_outcome(struct call *c, char *content, bool is_error);
/* The same with the text of contract C-9 (the client said no; deny_message may be NULL) or C-2 (policy said no). */
void call_reject(struct call *c, const char *deny_message);
void call_deny(struct call *c);

/* A custom tool's answer is its result; a confirmation frees its call or settles it with the rejection. */
void call_answer(struct batch *b, struct call *c, const struct arrival *answer);
/* All answers at hand, in call order: a gap keeps the later ones waiting. Returns how many were taken. */
int calls_answer(struct turn *t, struct batch *b);
/* The results of settled calls. Returns how many. */
int calls_put_results(struct turn *t, struct batch *b);

/* What calls_answer() would free to run, without writing. *waiting: how many calls would still wait for the client. */
int calls_foresee(struct turn *t, int *waiting);
/* The stop reason that names what the client still owes; NULL when it owes nothing. The caller frees. */
char *calls_stop(const struct turn *t);
/* Ids of calls that this batch ends and that have an action row. Borrowed. Returns how many, at most max. */
int calls_closed(const struct turn *t, const char **ids, int max);

#endif
