/*
 * model: one request to a language model, streamed, in the harness's own dialect. The harness never learns which provider answers.
 *
 * The internal dialect is the Messages API's content blocks as raw JSON text. A context is a list of items in log order; an item is
 * one or more comma-separated blocks and the role whose message they belong to. Adapters (anthropic, openai, scripted) translate:
 * neighbouring items of one role form one message. Tool use ids in blocks are our event ids.
 *
 * Everything runs in the caller's loop; callbacks come from the loop, never from inside model_start().
 */
#ifndef ROOST_WORKERS_MODEL_H
#define ROOST_WORKERS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "err.h"
#include "loop.h"

struct model_item {
	char role;		/* 'u' user, 'a' assistant, 's' system (between the others; only for models that take it) */
	const char *blocks;	/* JSON blocks, comma-separated: {"type":"text","text":"hi"} */
	size_t len;
};

/* What an item is, when that was looked at before: 0, or a mark for model_item_kind()'s caller to keep. */
typedef unsigned char model_kind;
model_kind model_item_kind(const struct model_item *item);
/* About how many tokens: a quarter of the bytes; an image or a document by its kind, not by the length of its encoding. */
int64_t model_item_tokens(const struct model_item *item);

/* How a request for a summary ends, and how the item begins that stands for what was summarised (harness/compact.h). */
#define MODEL_SUMMARY_ASK "Summarise this conversation, so that it can be continued by someone who has only the summary."
#define MODEL_SUMMARY_OPEN "This conversation is continued from an earlier one that no longer fits the model's context. A summary of it:"

/* How the system prompt begins of a request that judges a call (harness/judge.h). */
#define MODEL_JUDGE_OPEN "You are the permission check of an AI agent."

/* How a request begins that evaluates an outcome; the number of the evaluation follows, then `. Rubric:` (harness/outcome.h). */
#define MODEL_GRADE_OPEN "Evaluation "
#define MODEL_GRADE_TOOL "grade"
/* Stands in what an evaluation tells the agent, in the user's role: these are not the user's words (harness/judge.h). */
#define MODEL_FEEDBACK_MARK "evaluation of your work against the rubric"

struct model_tool {
	const char *name, *description;
	const char *schema;	/* JSON Schema text */
};

/* Where a request goes. Resolved by the catalogue; secrets stay in memory that is wiped on release. */
struct model_route {
	char dialect[16];	/* anthropic, openai, scripted */
	char base_url[256];
	char upstream[128];	/* the provider's name of the model */
	char api_key[512];
};

struct model_request {
	const struct model_route *routes;	/* tried in order; a later one only when the earlier failed before any output */
	int nroutes;
	const char *model_id;			/* as the agent names it */
	const char *system;			/* may be NULL */
	const struct model_item *items;
	int nitems;
	const model_kind *kinds;		/* of the items, or NULL: a long context is then not read once more for every request */
	const struct model_tool *tools;
	int ntools;
	int max_output_tokens;
	const char *effort;			/* low|medium|high|xhigh|max or NULL */
	const char *speed, *geo;		/* "fast", "us"; anything else, NULL included, is what a provider does by itself */
	const char *files_there;		/* of the content's files those that have not been deleted (filesrc.h), or NULL */
	const char *blob_dir;			/* where files of the content lie; filled in by model_start() */
};

enum model_block_kind { MODEL_TEXT, MODEL_THINKING, MODEL_TOOL_USE };

struct model_block {
	enum model_block_kind kind;
	const char *text;	/* TEXT: the whole text. TOOL_USE: the input's JSON text, "{}" when unparsable */
	const char *name;	/* TOOL_USE: the tool */
	const char *provider_id;/* TOOL_USE: the provider's call id, for the log only */
	const char *raw;	/* THINKING: the block to send back (with signature), never shown; else NULL */
	bool bad_input;		/* TOOL_USE: the input was cut off or not a JSON object */
};

/* input: uncached input only. unknown: the provider told none, all are 0 (nothing is billed that nobody measured). */
struct model_usage { int64_t input, output, cache_read, cache_write_5m, cache_write_1h; bool unknown; };

/* MODEL_TOOL_CALLS exactly when the reply holds a TOOL_USE block and is no refusal, whatever the provider calls it. */
enum model_stop { MODEL_END_TURN, MODEL_TOOL_CALLS, MODEL_MAX_TOKENS, MODEL_REFUSAL };

struct model_reply {
	struct model_block *blocks;
	int nblocks;
	enum model_stop stop;
	struct model_usage usage;
	const char *request_id;	/* the provider's request id, or ""; for the log and the bill's reconciliation */
	const char *refusal;	/* MODEL_REFUSAL: stop_details as JSON (contract 3.4); else NULL */
};

/* A copy that outlives the callback. Free with model_reply_free(), which accepts NULL and sets *r = NULL. */
struct model_reply *model_reply_copy(const struct model_reply *r);
void model_reply_free(struct model_reply **r);

/* Why a request failed: session.error's type (contract 3.7) and whether trying again may help. */
struct model_failure {
	const char *type;	/* model_overloaded_error, model_rate_limited_error, model_request_failed_error, unknown_error, billing_error */
	bool retryable;
	bool terminal;		/* the context does not fit the model: no later request of this session can succeed (retry_status terminal) */
	int64_t retry_after_ms;	/* the provider's wish, or 0 */
	bool begun;		/* the provider had begun to answer: it may charge for that */
	bool took_known;	/* the reply was larger than allowed; nothing is wrong with the provider, and this is what it took: */
	struct model_usage took;
	int http;		/* the provider's status, or 0; for the log */
	char request_id[80];	/* the provider's request id, or ""; for the log */
	char message[256];	/* fit for the client: no key, no header, no provider body beyond its error message */
};

struct model_events {
	/* A piece of text of block `index` (index counts TEXT blocks from 0). */
	void (*text)(void *ctx, int index, const char *text, size_t len);
	/* The model has begun to think. At most once a request. */
	void (*thinking)(void *ctx);
	/* Exactly one of these two ends the call; the call is freed by model after it returned. Everything in reply is borrowed. */
	void (*done)(void *ctx, const struct model_reply *reply);
	void (*fail)(void *ctx, const struct model_failure *f);
	/* This call's bytes are about to be read; may be NULL. */
	void (*at_hand)(void *ctx);
};

struct model_client;	/* per worker: the curl multi handle in the loop */
struct model_call;

struct model_client *model_client_new(struct loop *loop, const struct conf *c);
void model_client_free(struct model_client **mc);

/* Start a request. Everything in rq is copied or serialised before it returns. ev is borrowed until the end of the call. */
struct model_call *model_start(struct model_client *mc, const struct model_request *rq, const struct model_events *ev, void *ctx);

/*
 * What a call under way has taken so far. Of what the provider has told: its figures; unknown when it has told none yet. Of the output at
 * least what has arrived, a token for four bytes. false: the provider has not begun to answer.
 */
bool model_spent(const struct model_call *call, struct model_usage *out);

/* Is this call answered in the process, all of it as soon as it was asked? */
bool model_inside(const struct model_call *call);

/* Stop at once; no callback comes any more. Sets *call = NULL. */
void model_cancel(struct model_call **call);

#endif
