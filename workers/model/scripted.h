/*
 * scripted: the model that needs no provider. It plays what the user's message spells out, the same every time.
 *
 * Step n (assistant replies since the latest user message, plus 1) plays paragraph n of that message, split at blank lines. A line
 * `<name of an offered tool> {json input}` is a call (several lines: parallel calls); other lines are spoken, one word per delta.
 * Behind the last paragraph the reply is "Done.". A message without any tool line is answered by one sentence that says who is
 * speaking, and an echo. Usage is counted in words.
 *
 * A request for a summary (MODEL_SUMMARY_ASK) is answered by how many items there were and how many steps of the latest message have been
 * played; when that message comes back behind the summary, it goes on from there.
 *
 * A request to evaluate an outcome (MODEL_GRADE_OPEN) is answered by the rubric: paragraph n of it is played at evaluation n, so a line
 * `grade {"result":"needs_revision","explanation":"..."}` there is the verdict; without one it is `satisfied`.
 *
 * A request to judge a call (MODEL_JUDGE_OPEN) is answered by what the user's messages say, and nothing else of it: the newest line
 * `judge <tool> <answer>` there gives the answer (`deny`, `unsure`, or anything); without one it is `allow`.
 */
#ifndef ROOST_WORKERS_MODEL_SCRIPTED_H
#define ROOST_WORKERS_MODEL_SCRIPTED_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "loop.h"
#include "model.h"
#include "reply.h"

struct script_call {
	char *name, *input;	/* input: the text behind the name, checked only when the reply is done */
};

/* One reply, ready to be played. */
struct script {
	struct buf speech;
	struct script_call *calls;
	int ncalls;
	int64_t words_in, words_out;
};

/* What the model answers to this request. Free with script_free. */
void script_make(struct script *s, const struct model_request *rq);
void script_free(struct script *s);

/*
 * Play s into r, a word per round of the loop. finished() is called once, after the last word, with r complete but for done(); not
 * when the call was cancelled meanwhile. s and r must live until then or until script_stop().
 */
struct script_play;
struct script_play *script_start(struct loop *loop, const struct script *s, struct reply *r, void (*finished)(void *ctx, int rc), void *ctx);
void script_stop(struct script_play **p);

#endif
