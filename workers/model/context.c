/*
 * context: see context.h. One pass over the text of the context, at about the speed of copying it, or none over what was looked at before
 * (model_item_kind); order and meaning of what stays is untouched, bytes are never rewritten.
 */
#include "context.h"

#include <stdlib.h>
#include <string.h>

#include "filesrc.h"
#include "xalloc.h"

static const char blank[] = "{\"type\":\"text\",\"text\":\"(blank)\"}";

static enum context_kind
kind_of(struct jspan block)
{
	struct jspan type;

	if (!jspan_get(block, "type", &type))
		return CONTEXT_OTHER;
	if (jspan_is(type, "text"))
		return CONTEXT_TEXT;
	if (jspan_is(type, "tool_use"))
		return CONTEXT_TOOL_USE;
	if (jspan_is(type, "tool_result"))
		return CONTEXT_TOOL_RESULT;
	if (jspan_is(type, "thinking") || jspan_is(type, "redacted_thinking"))
		return CONTEXT_THINKING;
	return CONTEXT_OTHER;
}

static void
add(struct context *c, size_t *cap, struct context_block b)
{
	if (c->n == *cap) {
		*cap = *cap ? *cap * 2 : 64;
		c->blocks = xrealloc(c->blocks, *cap * sizeof(*c->blocks));
	}
	c->blocks[c->n++] = b;
}

static bool
is_blank(const struct context_block *b)
{
	struct jspan text;

	return b->kind == CONTEXT_TEXT && jspan_get(b->text, "text", &text) && jspan_blank(text);
}

/* Kinds to remember: 1 + enum context_kind of a single block that stays; everything else is looked at each time. */
model_kind
model_item_kind(const struct model_item *item)
{
	struct jspan_iter it = jspan_list(item->blocks, item->len);
	struct context_block b = { .role = item->role };
	struct jspan more;

	if (!jspan_next(&it, &b.text) || b.text.p != item->blocks || b.text.n != item->len || jspan_next(&it, &more))
		return 0;
	b.kind = kind_of(b.text);
	if (filesrc_maybe(item->blocks, item->len))
		return 0;
	return is_blank(&b) ? 0 : (model_kind)(1 + b.kind);
}

/* Encoded data above this is an image's or a document's, not text. */
#define ENCODED_MIN 4096
#define IMAGE_TOKENS 1600
#define DOCUMENT_BYTES 24		/* encoded bytes of a document that make a token: scanned and laid-out pages are dense */

/* Encoded data inside text: long strings at a "data" key. Taken from the bytes, with what they count instead added to *tokens. */
static size_t
encoded(const char *p, size_t len, int64_t *tokens)
{
	static const char key[] = "\"data\":\"";
	const char *end = p + len, *at, *stop;
	size_t bytes = 0;

	while ((at = memmem(p, (size_t)(end - p), key, sizeof(key) - 1)) != NULL) {
		at += sizeof(key) - 1;
		stop = memchr(at, '"', (size_t)(end - at));
		p = stop != NULL ? stop : end;
		if (p - at < ENCODED_MIN)
			continue;
		bytes += (size_t)(p - at);
		*tokens += memcmp(at, "JVBERi", 6) == 0 ? (p - at) / DOCUMENT_BYTES : IMAGE_TOKENS;	/* "%PDF-" */
	}
	return bytes;
}

int64_t
model_item_tokens(const struct model_item *item)
{
	size_t bytes = item->len;
	int64_t tokens = 0;

	if (bytes >= ENCODED_MIN)
		bytes -= encoded(item->blocks, item->len, &tokens);
	return tokens + (int64_t)((bytes + 3) / 4) + filesrc_tokens(item->blocks, item->len);
}

/* All blocks of the items [from, to) that are system messages, or that are none; blank text left out. */
static void
gather(struct context *c, size_t *cap, const struct model_request *rq, int from, int to, bool system)
{
	for (int i = from; i < to; i++) {
		const struct model_item *item = &rq->items[i];
		struct jspan_iter it = jspan_list(item->blocks, item->len);
		struct context_block b = { .role = item->role };

		if ((item->role == 's') != system)
			continue;
		if (rq->kinds != NULL && rq->kinds[i] != 0) {
			b.kind = (enum context_kind)(rq->kinds[i] - 1);
			b.text = (struct jspan){ item->blocks, item->len };
			add(c, cap, b);
			continue;
		}
		while (jspan_next(&it, &b.text)) {
			b.kind = kind_of(b.text);
			b.files = (b.kind == CONTEXT_OTHER || b.kind == CONTEXT_TOOL_RESULT) && filesrc_maybe(b.text.p, b.text.n);
			if (!is_blank(&b))
				add(c, cap, b);
		}
	}
}

/* Tool results first, otherwise in place. */
static void
results_first(struct context_block *b, size_t n)
{
	struct context_block *rest;
	size_t out = 0, nrest = 0;

	for (size_t i = 0; i < n; i++)
		nrest += b[i].kind != CONTEXT_TOOL_RESULT;
	if (nrest == 0 || nrest == n)
		return;
	rest = xmalloc(nrest * sizeof(*rest));
	nrest = 0;
	for (size_t i = 0; i < n; i++) {
		if (b[i].kind == CONTEXT_TOOL_RESULT)
			b[out++] = b[i];
		else
			rest[nrest++] = b[i];
	}
	memcpy(b + out, rest, nrest * sizeof(*rest));
	free(rest);
}

void
context_build(struct context *c, const struct model_request *rq)
{
	size_t cap = 0;
	int to;

	*c = (struct context){ 0 };
	for (int from = 0; from < rq->nitems; from = to) {
		bool own = rq->items[from].role == 'a';
		size_t first = c->n;

		for (to = from + 1; to < rq->nitems && (rq->items[to].role == 'a') == own; to++)
			;
		gather(c, &cap, rq, from, to, false);
		if (own)
			continue;
		if (c->n == first)
			add(c, &cap, (struct context_block){ .role = 'u', .kind = CONTEXT_TEXT, .text = { blank, sizeof(blank) - 1 } });
		results_first(c->blocks + first, c->n - first);
		gather(c, &cap, rq, from, to, true);
	}
}

void
context_free(struct context *c)
{
	free(c->blocks);
	*c = (struct context){ 0 };
}

size_t
context_message_end(const struct context *c, size_t i)
{
	size_t end = i + 1;

	while (end < c->n && c->blocks[end].role == c->blocks[i].role)
		end++;
	return end;
}
