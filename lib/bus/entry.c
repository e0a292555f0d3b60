/*
 * entry: field names and trimming of the `jobs` and `sse:0` streams.
 *
 * Promises that what entry_*_cmd writes is what entry_*_read understands; unknown fields are skipped, so that both neighbours of a
 * release can share one Redis. Does not talk to Redis. A malformed entry is reported, never trusted.
 */
#include "entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"

static void
arg(struct entry_cmd *c, const char *text, size_t len)
{
	c->argv[c->argc] = text;
	c->len[c->argc++] = len;
}

static void
arg_str(struct entry_cmd *c, const char *text)
{
	arg(c, text, strlen(text));
}

/* XADD stream MAXLEN ~ n *: trimming by whole nodes costs nothing. */
static void
xadd(struct entry_cmd *c, const char *stream, const char *maxlen)
{
	c->argc = 0;
	arg_str(c, "XADD");
	arg_str(c, stream);
	arg_str(c, "MAXLEN");
	arg_str(c, "~");
	arg_str(c, maxlen);
	arg_str(c, "*");
}

void
entry_job_cmd(struct entry_cmd *c, const char *session, const char *owner)
{
	xadd(c, BUS_JOBS, BUS_JOBS_MAX);
	arg_str(c, "s");
	arg_str(c, session);
	if (owner && *owner) {
		arg_str(c, "o");
		arg_str(c, owner);
	}
}

void
entry_event_cmd(struct entry_cmd *c, const char *session, const char *type, int64_t seq, const char *body, size_t len)
{
	bool fits = body && len <= (seq > 0 ? BUS_BODY_MAX : BUS_PREVIEW_MAX);

	c->num[0] = '\0';
	if (seq > 0)
		snprintf(c->num, sizeof c->num, "%" PRId64, seq);
	xadd(c, BUS_SSE, BUS_SSE_MAX);
	arg_str(c, "s");
	arg_str(c, session);
	arg_str(c, "t");
	arg_str(c, type);
	arg_str(c, "q");
	arg_str(c, c->num);
	arg_str(c, "p");
	arg(c, fits ? body : "", fits ? len : 0);
}

void
entry_mark(struct entry_cmd *c, uint64_t writer, int64_t number)
{
	snprintf(c->mark, sizeof c->mark, "%" PRIx64 "-%" PRId64, writer, number);
	arg_str(c, "n");
	arg_str(c, c->mark);
}

static const struct busq_field *
find(const struct busq_field *f, int n, const char *key)
{
	for (int i = 0; i < n; i++)
		if (strcmp(f[i].key, key) == 0)
			return &f[i];
	return NULL;
}

int
entry_job_read(const struct busq_field *f, int n, struct entry_job *out)
{
	const struct busq_field *s = find(f, n, "s"), *o = find(f, n, "o");

	if (!s || s->len == 0)
		return -1;
	*out = (struct entry_job){ .session = s->val, .owner = o && o->len > 0 ? o->val : NULL };
	return 0;
}

int
entry_event_read(const struct busq_field *f, int n, struct entry_event *out)
{
	const struct busq_field *s = find(f, n, "s"), *t = find(f, n, "t"), *q = find(f, n, "q"), *p = find(f, n, "p");
	const struct busq_field *mark = find(f, n, "n");
	uint64_t writer = 0;
	int64_t seq = 0, number = 0;

	if (!s || !t || s->len == 0 || t->len == 0)
		return -1;
	if (q && q->len > 0) {
		char *end;

		errno = 0;
		seq = strtoll(q->val, &end, 10);
		if (errno || *end || seq <= 0)
			return -1;
	}
	if (mark && sscanf(mark->val, "%" SCNx64 "-%" SCNd64, &writer, &number) != 2)
		return -1;
	*out = (struct entry_event){ .session = s->val, .type = t->val, .seq = seq, .body = p ? p->val : "", .len = p ? p->len : 0,
		.writer = writer, .number = number };
	return 0;
}
