/*
 * judge: may a call whose policy is `auto` run (contract 4.2)? The question to the judging model and the reading of its answer.
 *
 * The judge sees one JSON document. What the owner and the user said stands apart from everything an attacker may have written: replies,
 * results, a summary, the call itself; each of these is a JSON string, so no text can end its place and begin another. The answer is one
 * word. Anything else is no judgement, and then the client is asked.
 *
 * Pure.
 */
#ifndef ROOST_HARNESS_JUDGE_H
#define ROOST_HARNESS_JUDGE_H

#include "turn.h"

#define JUDGE_INPUT_MAX 65536		/* a longer input is not judged: what a judge does not see it cannot allow */
#define JUDGE_OUTPUT_TOKENS 1024	/* one word, and room for models that think */

/* The system prompt. */
extern const char judge_prompt[];

/* How many calls of the reply are to be judged. */
int judge_count(const struct agent *a, const struct model_reply *reply);
/* Is this block such a call? */
bool judge_wanted(const struct agent *a, const struct model_block *block);

/* The question about block `at` of the reply, as the blocks of one user item; NULL when it cannot be judged. The caller frees. */
char *judge_question(const struct turn *t, const struct model_reply *reply, int at);

/* ALLOW, DENY, or NONE: no judgement. */
enum tool_verdict judge_read(const struct model_reply *answer);

#endif
