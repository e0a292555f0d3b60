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
#include "xalloc.h"

#define ITEM_HEAD 48		/* two numbers, spaces and NULs of an item */

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
entry_job_cmd(struct entry_cmd *c, const char *workspace, const char *session, const char *owner)
{
	xadd(c, BUS_JOBS, BUS_JOBS_MAX);
	arg_str(c, "w");
	arg_str(c, workspace);
	arg_str(c, "s");
	arg_str(c, session);
	if (owner && *owner) {
		arg_str(c, "o");
		arg_str(c, owner);
	}
}

/* What is larger is left out. */
static size_t
kept_len(int64_t seq, const char *body, size_t len)
{
	return body && len <= (seq > 0 ? BUS_BODY_MAX : BUS_PREVIEW_MAX) ? len : 0;
}

void
entry_event_cmd(struct entry_cmd *c, const char *session, const char *type, int64_t seq, const char *body, size_t len)
{
	len = kept_len(seq, body, len);
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
	arg(c, len > 0 ? body : "", len);
}

static void
mark(struct entry_cmd *c, uint64_t writer, int64_t number)
{
	snprintf(c->mark, sizeof c->mark, "%" PRIx64 "-%" PRId64, writer, number);
	arg_str(c, "n");
	arg_str(c, c->mark);
}

/* An item: `<bytes> <seq> <type>` NUL body NUL. */
bool
entry_pack_add(struct entry_pack *p, const char *session, const char *type, int64_t seq, const char *body, size_t len)
{
	size_t at = p->text.len;

	len = kept_len(seq, body, len);
	if (p->n > 0 && (at + len + strlen(type) + ITEM_HEAD > BUS_BODY_MAX || strcmp(p->session, session) != 0))
		return false;
	if (p->n++ == 0)
		snprintf(p->session, sizeof p->session, "%s", session);
	buf_int(&p->text, (int64_t)len);
	buf_ch(&p->text, ' ');
	buf_int(&p->text, seq);
	buf_ch(&p->text, ' ');
	buf_put(&p->text, type, strlen(type) + 1);
	buf_put(&p->text, body, len);
	buf_ch(&p->text, '\0');
	if (seq > 0 || p->seq == 0)
		p->last = at;
	if (seq > 0)
		p->seq = seq;
	else
		p->previews++;
	return true;
}

void
entry_pack_reset(struct entry_pack *p)
{
	buf_reset(&p->text);
	p->session[0] = '\0';
	p->n = p->previews = 0;
	p->last = 0;
	p->seq = 0;
}

/* The item at *at, which moves behind it; false when there is no whole one. */
static bool
item(const char **at, const char *end, struct entry_event *out)
{
	char *p;
	const char *body;

	errno = 0;
	out->len = strtoull(*at, &p, 10);
	if (errno || p == *at || *p != ' ')
		return false;
	out->seq = strtoll(p + 1, &p, 10);
	if (errno || out->seq < 0 || *p != ' ' || p[1] == '\0')
		return false;
	out->type = p + 1;
	body = out->type + strlen(out->type) + 1;	/* values end with a NUL, so none of this runs on */
	if (body >= end || out->len >= (size_t)(end - body) || body[out->len] != '\0')
		return false;
	out->body = body;
	*at = body + out->len + 1;
	return true;
}

void
entry_pack_cmd(struct entry_cmd *c, const struct entry_pack *p, uint64_t writer, int64_t first)
{
	const char *at = p->text.data + p->last;
	struct entry_event last;

	must(item(&at, p->text.data + p->text.len, &last));
	entry_event_cmd(c, p->session, last.type, p->seq, p->n == 1 ? last.body : "", p->n == 1 ? last.len : 0);
	if (p->n > 1) {
		arg_str(c, "e");
		arg(c, p->text.data, p->text.len);
	}
	if (p->previews > 0)
		mark(c, writer, first);
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
	const struct busq_field *w = find(f, n, "w"), *s = find(f, n, "s"), *o = find(f, n, "o");

	if (!w || w->len == 0 || !s || s->len == 0)
		return -1;
	*out = (struct entry_job){ .workspace = w->val, .session = s->val, .owner = o && o->len > 0 ? o->val : NULL };
	return 0;
}

/* Are all items whole? Counts the previews among them. */
static bool
whole(const struct busq_field *e, int *out_previews)
{
	const char *at = e->val, *end = e->val + e->len;
	struct entry_event ev;

	while (at < end) {
		if (!item(&at, end, &ev))
			return false;
		*out_previews += ev.seq == 0;
	}
	return true;
}

static bool
mark_read(const char *text, uint64_t *out_writer, int64_t *out_number)
{
	char *end, *last;

	*out_writer = strtoull(text, &end, 16);
	if (end == text || *end != '-')
		return false;
	*out_number = strtoll(end + 1, &last, 10);
	return last != end + 1;
}

int
entry_events_read(const struct busq_field *f, int n, struct entry_events *out)
{
	const struct busq_field *s = find(f, n, "s"), *t = find(f, n, "t"), *q = find(f, n, "q"), *p = find(f, n, "p");
	const struct busq_field *mark = find(f, n, "n"), *items = find(f, n, "e");
	uint64_t writer = 0;
	int64_t seq = 0, number = 0;
	int previews = 0;

	if (!s || !t || s->len == 0 || t->len == 0)
		return -1;
	if (q && q->len > 0) {
		char *end;

		errno = 0;
		seq = strtoll(q->val, &end, 10);
		if (errno || *end || seq <= 0)
			return -1;
	}
	if ((mark && !mark_read(mark->val, &writer, &number)) || (items && !whole(items, &previews)))
		return -1;
	*out = (struct entry_events){ .session = s->val, .at = items ? items->val : NULL, .end = items ? items->val + items->len : NULL,
		.one = { .type = t->val, .seq = seq, .body = p ? p->val : "", .len = p ? p->len : 0 },
		.writer = writer, .number = number, .previews = items ? previews : seq == 0 };
	return 0;
}

bool
entry_events_next(struct entry_events *all, struct entry_event *out)
{
	if (all->at)
		return all->at < all->end && item(&all->at, all->end, out);
	*out = all->one;
	all->one.type = NULL;
	return out->type;
}
