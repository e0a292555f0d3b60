/*
 * adapter: one provider dialect over HTTP: how a request is written and how its stream is read. One each in anthropic.c and
 * openai.c, with files beside for their streams; a new dialect is such a file, a row in adapter.c and a value in the provider table.
 *
 * A request body is a head, which names the route's model and carries what a provider may refuse, and a tail, which is the
 * conversation and the same for every route of a dialect, so that falling back copies nothing.
 */
#ifndef ROOST_WORKERS_MODEL_ADAPTER_H
#define ROOST_WORKERS_MODEL_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "failure.h"
#include "jspan.h"
#include "model.h"
#include "reply.h"

/* What a head may leave out or say differently, because this upstream refused it before. */
enum adapter_without {
	WITHOUT_EFFORT = 1,		/* thinking and effort fields */
	WITHOUT_THOUGHTS = 16,		/* anthropic: thinking blocks of earlier replies (a signature was refused); of this call only */
	WITHOUT_FILES = 32,		/* openai: file parts (PDFs); of this call only */
	WITHOUT_USAGE_OPTION = 2,	/* openai: stream_options */
	WITHOUT_MAX_TOKENS = 4,		/* openai: max_tokens; max_completion_tokens instead */
	WITHOUT_MAX_COMPLETION = 8,	/* openai: max_completion_tokens; max_tokens instead */
};

/* Reading one stream. */
struct decode {
	struct reply *reply;
	struct failure *failure;	/* filled when a function below returns ADAPTER_FAILED */
	const char *secret;		/* the key, which must not show in a failure */
	int *parts;			/* the provider's block or call number -> part of the reply, -1: ignored */
	int nparts;
	int text;			/* openai: the open text part, or -1 */
	int call;			/* openai: the last call's number, or -1 */
	bool stopped;			/* the stop reason was seen */
	bool usage;			/* the usage was seen, complete */
};

enum { ADAPTER_MORE = 0, ADAPTER_DONE = 1, ADAPTER_FAILED = -1, ADAPTER_STOP = REPLY_STOP };

/* What stands in a request's head. */
struct adapter_head {
	const char *upstream;
	int max_output_tokens;
	const char *effort;		/* or NULL */
	bool fast;			/* the fast speed is asked for */
	const char *geo;		/* where inference may run, or NULL: anywhere */
	unsigned without;
};

struct adapter {
	const char *dialect;

	void (*url)(struct buf *out, const char *base_url);
	/* The header line that carries the key, without it when key is "": then nothing is written. */
	void (*auth)(struct buf *out, const char *key);
	const char *header;		/* one more header line, or NULL */
	const char *fast_header;	/* and one for requests at the fast speed; NULL: this dialect knows none (ops/roostctl/models.c) */

	/* The body: head + tail is one JSON object. */
	void (*head)(struct buf *out, const struct adapter_head *h);
	void (*tail)(struct buf *out, const struct model_request *rq);

	/* A 400 that says this: what to leave out for another try, or 0. */
	unsigned (*refused)(const char *said);

	/* Write a tail again without what was refused of it (WITHOUT_THOUGHTS, WITHOUT_FILES); NULL when nothing of it can be left out. */
	void (*forget)(struct buf *out, const struct buf *tail);

	/* One event: ADAPTER_MORE, ADAPTER_DONE (the reply is whole), ADAPTER_FAILED, ADAPTER_STOP (the call was cancelled). */
	int (*event)(struct decode *d, const char *name, const char *data, size_t len);
	/* The stream has ended and event() never said ADAPTER_DONE: ADAPTER_DONE or ADAPTER_FAILED. */
	int (*end)(struct decode *d);
};

extern const struct adapter adapter_anthropic, adapter_openai;

/* The adapter of a dialect, or NULL (scripted is none: it needs no HTTP). */
const struct adapter *adapter_find(const char *dialect);

void decode_init(struct decode *d, struct reply *r, struct failure *f, const char *secret);
void decode_free(struct decode *d);

/* Remember that the provider's number is this part; refuses numbers over REPLY_PARTS_MAX. Returns 0 or -1. */
int decode_map(struct decode *d, int64_t number, int part);
/* The part of a provider's number, or -1. */
int decode_part(const struct decode *d, int64_t number);

/* Decode the string at key of object into out (appended). false when there is none. */
bool decode_string(struct jspan object, const char *key, struct buf *out);
/* The count at key of object: 0 when absent; -1 for nonsense (negative, over 10^9: a broken or hostile provider). */
int64_t decode_count(struct jspan object, const char *key);
/* Pass the text at key of object on as part's text. ADAPTER_MORE, FAILED or STOP. */
int decode_text(struct decode *d, int part, struct jspan object, const char *key);

/* The reply has arrived whole: ADAPTER_DONE, or ADAPTER_FAILED with what it took when it is larger than allowed. */
int decode_done(struct decode *d);
/* Fill the failure and return ADAPTER_FAILED. */
int decode_broken(struct decode *d, const char *what);
/* An error object inside a stream. */
int decode_error(struct decode *d, struct jspan error);
/* Turn a reply_*() code into an adapter's. After REPLY_OVER what still comes is read over, up to the end, which tells the usage. */
int decode_rc(struct decode *d, int rc);

#endif
