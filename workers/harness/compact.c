/*
 * compact: see compact.h.
 *
 * The request for a summary must be one that providers accept: it begins with a user's message, never with a result whose call has been
 * left out. A turn under way keeps its question word for word, because a summary is no instruction.
 */
#include "compact.h"

#include <string.h>

#include "jspan.h"
#include "jw.h"
#include "xalloc.h"

#define RESULT "{\"type\":\"tool_result\""

/* A user's own words, not the result of a call. */
static bool
is_message(const struct model_item *item)
{
	return item->role == 'u' && strncmp(item->blocks, RESULT, sizeof(RESULT) - 1) != 0;
}

/* System prompt and tools, while the model has not counted them. */
static int64_t
frame_tokens(const struct agent *a)
{
	size_t bytes = a->system != NULL ? strlen(a->system) : 0;

	for (int i = 0; i < a->ntools; i++)
		bytes += strlen(a->tools[i].name) + strlen(a->tools[i].schema) +
		    (a->tools[i].description != NULL ? strlen(a->tools[i].description) : 0);
	return (int64_t)(bytes / 4);
}

int64_t
compact_estimate(const struct turn *t, size_t more, bool waiting)
{
	const struct context *c = &t->context;
	int64_t tokens = c->told_tokens > 0 ? c->told_tokens + c->tokens - c->told_at : c->tokens + frame_tokens(t->agent);

	tokens += (int64_t)(more / 4);
	for (int i = 0; i < t->ninbox && waiting; i++) {
		const struct arrival *item = &t->inbox[i];
		struct model_item text = { 'u', item->fragment, item->fragment != NULL ? strlen(item->fragment) : 0 };

		if (item->fragment != NULL)
			tokens += model_item_tokens(&text);
	}
	return tokens;
}

bool
compact_fits(const struct turn *t, size_t message)
{
	return t->window <= 0 || compact_estimate(t, message, false) <= t->compact_at;
}

/* The latest message, of several items when it came in several: [*from, *to). Empty when there is none. */
static void
latest(const struct context *c, int *from, int *to)
{
	int last = c->n - 1;

	while (last >= 0 && !is_message(&c->items[last]))
		last--;
	*to = last + 1;
	for (*from = last; *from > 0 && is_message(&c->items[*from - 1]); --*from)
		;
	if (last < 0)
		*from = 0;
}

bool
compact_possible(const struct turn *t, bool under_way)
{
	const struct context *c = &t->context;
	int from = 0, to = 0;

	if (under_way)
		latest(c, &from, &to);
	return c->n - (to - from) - (c->summary && (from > 0 || to == 0) ? 1 : 0) > 0;
}

bool
compact_range(const struct turn *t, int *out_from, int *out_to)
{
	const struct context *c = &t->context;
	int64_t fits = t->window - frame_tokens(t->agent), room = (c->tokens < fits ? c->tokens : fits) >> t->squeeze, tokens = 0;
	int from = c->n, to = 0;

	*out_from = 0;
	*out_to = c->n;
	if (t->squeeze == 0 && compact_estimate(t, 0, false) <= t->window)
		return true;
	for (int i = c->n - 1; i >= 0 && (tokens += model_item_tokens(&c->items[i])) <= room; i--)
		if (is_message(&c->items[i]))
			from = i;
	*out_from = from;
	if (from < c->n)
		return true;
	/* up to a message, so that no call stands without its result */
	tokens = 0;
	for (int i = 0; i < c->n; i++) {
		if (i > 0 && is_message(&c->items[i]))
			to = i;
		if ((tokens += model_item_tokens(&c->items[i])) > room)
			break;
	}
	*out_from = 0;
	*out_to = to;
	return to > 0;
}

char *
compact_blocks(const struct turn *t, const char *summary)
{
	const struct context *c = &t->context;
	struct buf out = BUF_INIT(0), text = BUF_INIT(0);
	int from = 0, to = 0;

	if (t->owed)
		latest(c, &from, &to);
	buf_printf(&text, "%s\n\n<summary>\n%s\n</summary>", MODEL_SUMMARY_OPEN, summary);
	if (to > from)
		buf_str(&text, "\n\nThe user's latest message, which is being worked on, follows.");
	buf_str(&out, "{\"type\":\"text\",\"text\":");
	jw_quote(&out, text.data, text.len);
	buf_ch(&out, '}');
	buf_free(&text);
	for (int i = from; i < to; i++) {
		const struct model_item *item = &c->items[i];
		const char *blocks = item->blocks;
		size_t len = item->len;

		if (i == 0 && c->summary) {
			/* the item of an earlier compaction: its summary is in the new one, the message behind it stays */
			struct jspan_iter it = jspan_list(blocks, len);
			struct jspan first;

			if (!jspan_next(&it, &first))
				continue;
			blocks = it.p;
			len = (size_t)(it.end - it.p);
		}
		if (len == 0)
			continue;
		buf_ch(&out, ',');
		buf_put(&out, blocks, len);
	}
	return buf_steal(&out);
}
