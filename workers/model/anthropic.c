/*
 * anthropic: the Messages API, streamed.
 *
 * The context is already in this dialect, so a request is the items joined as text; only cache markers are put in (system or the last
 * tool, and the last block of the conversation: the next request of the session finds the whole prefix cached). The stream is
 * anthropic_stream.c's.
 *
 * Effort: thinking "adaptive" and output_config.effort are sent when the agent names an effort and the upstream's name is in the
 * table below; an upstream that refuses them all the same is asked again without (adapter.h). Thinking blocks go back with their
 * signatures; an upstream that did not sign them (the agent's model was changed, another route answered before) gets the conversation
 * without them. Speed and geography are sent as they are asked for; an upstream that refuses them fails the request.
 */
#include "adapter.h"

#include <string.h>

#include "anthropic_stream.h"
#include "context.h"
#include "filesrc.h"
#include "jw.h"

#define MARKER ",\"cache_control\":{\"type\":\"ephemeral\"}}"

/* Upstreams by prefix: do they take adaptive thinking and an effort, and which is the highest? The first match counts. */
static const struct {
	const char *prefix;
	bool effort, xhigh, max;
} upstreams[] = {
	{ "claude-3",            false, false, false },
	{ "claude-sonnet-4-5",   false, false, false },
	{ "claude-haiku-4",      false, false, false },
	{ "claude-opus-4-6",     true,  false, true },
	{ "claude-sonnet-4-6",   true,  false, true },
	{ "claude-opus-4-7",     true,  true,  true },
	{ "claude-opus-4-8",     true,  true,  true },
	{ "claude-opus-5",       true,  true,  true },
	{ "claude-sonnet-5",     true,  true,  true },
	{ "claude-haiku-5",      true,  true,  true },
	{ "claude-fable-",       true,  true,  true },
	{ "claude-mythos-",      true,  true,  true },
};

static void
url(struct buf *out, const char *base_url)
{
	size_t n = strlen(base_url);

	while (n && base_url[n - 1] == '/')
		n--;
	buf_put(out, base_url, n);
	if (n < 3 || memcmp(base_url + n - 3, "/v1", 3))
		buf_str(out, "/v1");
	buf_str(out, "/messages");
}

static void
auth(struct buf *out, const char *key)
{
	if (key[0])
		buf_printf(out, "x-api-key: %s", key);
}

/* Thinking and effort, where the upstream is known to take them. */
static void
put_effort(struct buf *out, const char *upstream, const char *effort)
{
	for (size_t i = 0; i < sizeof(upstreams) / sizeof(upstreams[0]); i++) {
		if (strncmp(upstream, upstreams[i].prefix, strlen(upstreams[i].prefix)))
			continue;
		if (!upstreams[i].effort)
			return;
		if ((!strcmp(effort, "xhigh") && !upstreams[i].xhigh) || (!strcmp(effort, "max") && !upstreams[i].max))
			effort = "high";
		buf_printf(out, ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"%s\"}", effort);
		return;
	}
}

/* A speed and a geography that were asked for are never left out: they are a price and a promise. */
static void
head(struct buf *out, const struct adapter_head *h)
{
	buf_str(out, "{\"model\":");
	jw_quote(out, h->upstream, strlen(h->upstream));
	buf_printf(out, ",\"max_tokens\":%d,\"stream\":true", h->max_output_tokens);
	if (h->fast)
		buf_str(out, ",\"speed\":\"fast\"");
	if (h->geo) {
		buf_str(out, ",\"inference_geo\":");
		jw_quote(out, h->geo, strlen(h->geo));
	}
	if (h->effort && !(h->without & WITHOUT_EFFORT))
		put_effort(out, h->upstream, h->effort);
}

static unsigned
refused(const char *said)
{
	if (strcasestr(said, "signature") || (strstr(said, "messages.") && strcasestr(said, "thinking")))
		return WITHOUT_THOUGHTS;
	return strcasestr(said, "thinking") || strcasestr(said, "output_config") || strcasestr(said, "effort") ? WITHOUT_EFFORT : 0;
}

static void
put_tools(struct buf *out, const struct model_request *rq, bool mark)
{
	buf_str(out, ",\"tools\":[");
	for (int i = 0; i < rq->ntools; i++) {
		const struct model_tool *t = &rq->tools[i];

		buf_str(out, i ? ",{\"name\":" : "{\"name\":");
		jw_quote(out, t->name, strlen(t->name));
		if (t->description && t->description[0]) {
			buf_str(out, ",\"description\":");
			jw_quote(out, t->description, strlen(t->description));
		}
		buf_str(out, ",\"input_schema\":");
		buf_str(out, t->schema);
		buf_str(out, mark && i == rq->ntools - 1 ? MARKER : "}");
	}
	buf_ch(out, ']');
}

/* An image or document from a file: the block with the file's bytes as its source, or words in its place. */
static void
put_file(struct buf *out, struct jspan block, const struct filesrc *f, struct filesrc_room *room)
{
	struct jspan_iter it = jspan_object(block);
	struct jspan key, value;
	const char *why = f->size == 0 ? "is empty" : "is of a type that cannot be shown";
	size_t from = out->len;
	bool more = false, ok = f->kind != FILESRC_OTHER && f->size > 0;

	buf_ch(out, '{');
	for (; ok && jspan_member(&it, &key, &value); more = true) {
		if (more)
			buf_ch(out, ',');
		buf_ch(out, '"');
		buf_put(out, key.p, key.n);
		buf_str(out, "\":");
		if (key.n != 6 || memcmp(key.p, "source", 6) != 0) {
			buf_put(out, value.p, value.n);
			continue;
		}
		if (f->kind == FILESRC_TEXT) {
			buf_str(out, "{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"");
		} else {
			buf_str(out, "{\"type\":\"base64\",\"media_type\":");
			buf_put(out, f->media_type.p, f->media_type.n);
			buf_str(out, ",\"data\":\"");
		}
		ok = filesrc_put(out, room, f, f->kind != FILESRC_TEXT, &why);
		buf_str(out, "\"}");
	}
	buf_ch(out, '}');
	if (ok)
		return;
	out->len = from;
	buf_str(out, "{\"type\":\"text\",\"text\":\"");
	filesrc_put_note(out, f, why);
	buf_str(out, "\"}");
}

/* A block that may hold files: itself, or, of a tool's result, its content. */
static void
put_with_files(struct buf *out, struct jspan block, struct filesrc_room *room)
{
	struct jspan_iter it = jspan_object(block), parts;
	struct jspan key, value, part;
	struct filesrc f;
	bool more = false, next;

	if (filesrc_of(block, &f)) {
		put_file(out, block, &f, room);
		return;
	}
	if (!jspan_get(block, "type", &value) || !jspan_is(value, "tool_result")) {
		buf_put(out, block.p, block.n);
		return;
	}
	buf_ch(out, '{');
	for (; jspan_member(&it, &key, &value); more = true) {
		buf_str(out, more ? ",\"" : "\"");
		buf_put(out, key.p, key.n);
		buf_str(out, "\":");
		if (key.n != 7 || memcmp(key.p, "content", 7) != 0 || value.n == 0 || *value.p != '[') {
			buf_put(out, value.p, value.n);
			continue;
		}
		buf_ch(out, '[');
		for (parts = jspan_array(value), next = false; jspan_next(&parts, &part); next = true) {
			if (next)
				buf_ch(out, ',');
			if (filesrc_of(part, &f))
				put_file(out, part, &f, room);
			else
				buf_put(out, part.p, part.n);
		}
		buf_ch(out, ']');
	}
	buf_ch(out, '}');
}

/* One block; the very last one gets the marker, unless it is of a kind that may not carry one. */
static void
put_block(struct buf *out, const struct context_block *b, bool last, struct filesrc_room *room)
{
	if (b->files)
		put_with_files(out, b->text, room);
	else
		buf_put(out, b->text.p, b->text.n);
	if (!last || b->kind == CONTEXT_THINKING || b->text.n < 2 || out->data[out->len - 1] != '}')
		return;
	out->len--;
	buf_str(out, MARKER);
}

static const char *
role_name(char role)
{
	return role == 'a' ? "assistant" : role == 's' ? "system" : "user";
}

static void
tail(struct buf *out, const struct model_request *rq)
{
	struct filesrc_room room;
	struct context c;
	bool system = rq->system && rq->system[strspn(rq->system, " \t\r\n")];
	size_t size = 0;

	if (system) {
		buf_str(out, ",\"system\":[{\"type\":\"text\",\"text\":");
		jw_quote(out, rq->system, strlen(rq->system));
		buf_str(out, MARKER "]");
	}
	if (rq->ntools)
		put_tools(out, rq, !system);
	buf_str(out, ",\"messages\":[");
	context_build(&c, rq);
	filesrc_room_init(&room, rq->blob_dir, rq->files_there, c.blocks, c.n);
	for (size_t i = 0; i < c.n; i++)
		size += c.blocks[i].text.n + 32;	/* with a message's frame */
	(void)buf_reserve(out, size);
	for (size_t i = 0, end; i < c.n; i = end) {
		end = context_message_end(&c, i);
		if (i)
			buf_ch(out, ',');
		buf_printf(out, "{\"role\":\"%s\",\"content\":[", role_name(c.blocks[i].role));
		for (size_t k = i; k < end; k++) {
			if (k > i)
				buf_ch(out, ',');
			put_block(out, &c.blocks[k], k == c.n - 1, &room);
		}
		buf_str(out, "]}");
	}
	context_free(&c);
	buf_str(out, "]}");
}

/* The content of one message without its thinking blocks. false: nothing else is in it, out is as before. */
static bool
put_spoken(struct buf *out, struct jspan role, struct jspan content)
{
	struct jspan_iter it = jspan_array(content);
	struct jspan block, type;
	bool any = false;

	while (jspan_next(&it, &block)) {
		if (jspan_get(block, "type", &type) && (jspan_is(type, "thinking") || jspan_is(type, "redacted_thinking")))
			continue;
		if (!any) {
			buf_str(out, "{\"role\":");
			buf_put(out, role.p, role.n);
			buf_str(out, ",\"content\":[");
		} else {
			buf_ch(out, ',');
		}
		buf_put(out, block.p, block.n);
		any = true;
	}
	if (any)
		buf_str(out, "]}");
	return any;
}

static void
forget(struct buf *out, const struct buf *whole)
{
	struct jspan_iter it = jspan_list(whole->data + 1, whole->len - 2), messages;	/* without the first comma and the last brace */
	struct jspan key, value, message, role, content;
	bool more = false;

	while (jspan_member(&it, &key, &value)) {
		if (key.n != 8 || memcmp(key.p, "messages", 8) != 0) {
			buf_str(out, ",\"");
			buf_put(out, key.p, key.n);
			buf_str(out, "\":");
			buf_put(out, value.p, value.n);
			continue;
		}
		buf_str(out, ",\"messages\":[");
		for (messages = jspan_array(value); jspan_next(&messages, &message);) {
			size_t before = out->len;

			if (more)
				buf_ch(out, ',');
			if (jspan_get(message, "role", &role) && jspan_get(message, "content", &content) && put_spoken(out, role, content))
				more = true;
			else
				out->len = before;
		}
		buf_ch(out, ']');
	}
	buf_ch(out, '}');
}

const struct adapter adapter_anthropic = {
	.dialect = "anthropic",
	.url = url,
	.auth = auth,
	.header = "anthropic-version: 2023-06-01",
	.fast_header = "anthropic-beta: fast-mode-2026-02-01",
	.head = head,
	.tail = tail,
	.refused = refused,
	.forget = forget,
	.event = anthropic_event,
	.end = anthropic_end,
};
