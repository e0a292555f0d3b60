/*
 * openai_messages: see openai_messages.h.
 *
 * Written from the Messages API blocks by text: strings and tool inputs are spliced, never decoded. A user message is a plain string
 * unless it holds images, because small servers know nothing else. Tool results become role "tool" messages; what such a message cannot
 * carry (images) follows in a user message. Thinking of earlier replies is left out. What cannot be sent is said in words in its place:
 * writing never fails.
 */
#include "openai_messages.h"

#include <stdio.h>
#include <string.h>

#include "context.h"
#include "filesrc.h"
#include "jspan.h"
#include "jw.h"

#define FILE_PART "{\"type\":\"file\",\"file\":{\"filename\":"
#define UNREADABLE "[a document that this model cannot read]"

/* The inside of a JSON string (escapes kept), to be spliced into another one. */
static void
put_inside(struct buf *out, struct jspan string)
{
	if (string.n >= 2 && *string.p == '"')
		buf_put(out, string.p + 1, string.n - 2);
}

static bool
is_type(struct jspan block, const char *type)
{
	struct jspan v;

	return jspan_get(block, "type", &v) && jspan_is(v, type);
}

/* What a file says in words: a text's own, else a note. */
static void
put_file_words(struct buf *out, const struct filesrc *f, struct filesrc_room *room)
{
	const char *why = f->size == 0 ? "is empty" : "is of a type that cannot be shown";

	if (!room || f->kind != FILESRC_TEXT || f->size == 0 || !filesrc_put(out, room, f, false, &why))
		filesrc_put_note(out, f, why);
}

/* What a block says in words, as the inside of a string. Pictures say nothing here. */
static void
put_words(struct buf *out, struct jspan block, struct filesrc_room *room)
{
	struct jspan v, source, part, inner;
	struct jspan_iter it;
	struct filesrc f;

	if (filesrc_of(block, &f)) {
		put_file_words(out, &f, room);
		return;
	}

	if (is_type(block, "text")) {
		if (jspan_get(block, "text", &v))
			put_inside(out, v);
	} else if (is_type(block, "document") && jspan_get(block, "source", &source)) {
		if (is_type(source, "text") && jspan_get(source, "data", &v))
			put_inside(out, v);
		else
			buf_str(out, UNREADABLE);
	} else if (is_type(block, "search_result")) {
		if (jspan_get(block, "title", &v))
			put_inside(out, v);
		if (!jspan_get(block, "content", &v))
			return;
		for (it = jspan_array(v); jspan_next(&it, &part);) {
			buf_str(out, "\\n");
			if (jspan_get(part, "text", &inner))
				put_inside(out, inner);
		}
	}
}

/* The same of a block whose kind is known: text, almost always. */
static void
put_block(struct buf *out, const struct context_block *b, struct filesrc_room *room)
{
	struct jspan text;

	if (b->kind != CONTEXT_TEXT)
		put_words(out, b->text, room);
	else if (jspan_get(b->text, "text", &text))
		put_inside(out, text);
}

/* {"type":"file",...} or {"type":"image_url",...} for a file. false, and nothing is written: it cannot be sent, *why. */
static bool
put_file(struct buf *out, const struct filesrc *f, struct filesrc_room *room, const char **why)
{
	size_t from = out->len;

	if (f->size == 0 || (f->kind != FILESRC_IMAGE && f->kind != FILESRC_PDF)) {
		*why = f->size == 0 ? "is empty" : "is of a type that cannot be shown";
		return false;
	}
	if (f->kind == FILESRC_PDF) {
		buf_str(out, FILE_PART);
		buf_put(out, f->name.p, f->name.n);
		buf_str(out, ",\"file_data\":\"data:application/pdf;base64,");
	} else {
		buf_str(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:");
		put_inside(out, f->media_type);
		buf_str(out, ";base64,");
	}
	if (!filesrc_put(out, room, f, true, why)) {
		out->len = from;
		return false;
	}
	buf_str(out, "\"}}");
	return true;
}

/* A PDF that the client sent as bytes. false: it is none. */
static bool
put_pdf(struct buf *out, struct jspan block)
{
	struct jspan source, v, data;

	if (!is_type(block, "document") || !jspan_get(block, "source", &source) || !is_type(source, "base64") ||
	    !jspan_get(source, "media_type", &v) || !jspan_is(v, "application/pdf") || !jspan_get(source, "data", &data))
		return false;
	buf_str(out, FILE_PART "\"document.pdf\",\"file_data\":\"data:application/pdf;base64,");
	put_inside(out, data);
	buf_str(out, "\"}}");
	return true;
}

/* {"type":"image_url",...} for a picture block. false: it is none, or one that cannot be sent. */
static bool
put_picture(struct buf *out, struct jspan block)
{
	struct jspan source, v, data;

	if (!is_type(block, "image") || !jspan_get(block, "source", &source))
		return false;
	if (is_type(source, "url") && jspan_get(source, "url", &v)) {
		buf_str(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"");
		put_inside(out, v);
	} else if (is_type(source, "base64") && jspan_get(source, "media_type", &v) && jspan_get(source, "data", &data)) {
		buf_str(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:");
		put_inside(out, v);
		buf_str(out, ";base64,");
		put_inside(out, data);
	} else {
		return false;
	}
	buf_str(out, "\"}}");
	return true;
}

/* Must this block be a part of its own: a picture, or a PDF? */
static bool
is_part(struct jspan block)
{
	struct jspan source, v;
	struct filesrc f;

	if (is_type(block, "image"))
		return true;
	if (filesrc_of(block, &f))
		return f.kind == FILESRC_PDF;
	return is_type(block, "document") && jspan_get(block, "source", &source) && is_type(source, "base64") &&
	    jspan_get(source, "media_type", &v) && jspan_is(v, "application/pdf");
}

/* The content of a tool result, words only; *parts: it holds something that words cannot say. */
static void
put_result(struct buf *out, const struct context_block *b, struct filesrc_room *room, bool *parts)
{
	struct jspan v, block;
	struct jspan_iter it;
	bool more = false;

	buf_str(out, "{\"role\":\"tool\",\"tool_call_id\":");
	if (jspan_get(b->text, "tool_use_id", &v))
		buf_put(out, v.p, v.n);
	else
		buf_str(out, "\"\"");
	buf_str(out, ",\"content\":\"");
	if (jspan_get(b->text, "content", &v)) {
		put_inside(out, v);
		for (it = jspan_array(v); jspan_next(&it, &block); more = true) {
			if (more)
				buf_str(out, "\\n");
			if (is_part(block)) {
				buf_str(out, is_type(block, "image") ? "[picture" : "[document");
				buf_str(out, ": see the next message]");
				*parts = true;
			} else {
				put_words(out, block, room);
			}
		}
	}
	buf_str(out, "\"}");
}

/* One content part with its comma. */
static void
put_part(struct buf *out, struct jspan block, struct filesrc_room *room, bool *more)
{
	const char *why = NULL;
	struct filesrc f;

	if (*more)
		buf_ch(out, ',');
	*more = true;
	if (filesrc_of(block, &f) && is_part(block)) {
		if (put_file(out, &f, room, &why))
			return;
		buf_str(out, "{\"type\":\"text\",\"text\":\"");
		filesrc_put_note(out, &f, why);
		buf_str(out, "\"}");
	} else if (is_type(block, "image")) {
		if (!put_picture(out, block))
			buf_str(out, "{\"type\":\"text\",\"text\":\"[a picture that this model cannot see]\"}");
	} else if (!put_pdf(out, block)) {
		buf_str(out, "{\"type\":\"text\",\"text\":\"");
		put_words(out, block, room);
		buf_str(out, "\"}");
	}
}

static bool
any_part(const struct context_block *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (b[i].kind == CONTEXT_OTHER && is_part(b[i].text))
			return true;
	}
	return false;
}

/* A user message of blocks that are no tool results. */
static void
put_user(struct buf *out, const struct context_block *b, size_t n, struct filesrc_room *room)
{
	bool more = false;

	if (any_part(b, n)) {
		buf_str(out, ",{\"role\":\"user\",\"content\":[");
		for (size_t i = 0; i < n; i++)
			put_part(out, b[i].text, room, &more);
		buf_str(out, "]}");
		return;
	}
	buf_str(out, ",{\"role\":\"user\",\"content\":\"");
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_str(out, "\\n\\n");
		put_block(out, &b[i], room);
	}
	buf_str(out, "\"}");
}

/* A system message between the others. */
static void
put_system(struct buf *out, const struct context_block *b, size_t n)
{
	buf_str(out, ",{\"role\":\"system\",\"content\":\"");
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_str(out, "\\n\\n");
		put_block(out, &b[i], NULL);
	}
	buf_str(out, "\"}");
}

/* What words cannot say of tool results, as a user message of its own. */
static void
put_result_parts(struct buf *out, const struct context_block *b, size_t n, struct filesrc_room *room)
{
	struct jspan content, block;
	struct jspan_iter it;
	bool more = false;

	buf_str(out, ",{\"role\":\"user\",\"content\":[");
	for (size_t i = 0; i < n; i++) {
		if (!jspan_get(b[i].text, "content", &content))
			continue;
		for (it = jspan_array(content); jspan_next(&it, &block);) {
			if (is_part(block))
				put_part(out, block, room, &more);
		}
	}
	buf_str(out, "]}");
}

/* A user run: tool results stand first (context.h), then the rest. */
static void
put_user_run(struct buf *out, const struct context_block *b, size_t n, struct filesrc_room *room)
{
	bool parts = false;
	size_t results = 0;

	while (results < n && b[results].kind == CONTEXT_TOOL_RESULT) {
		buf_ch(out, ',');
		put_result(out, &b[results++], room, &parts);
	}
	if (parts)
		put_result_parts(out, b, results, room);
	if (results < n)
		put_user(out, b + results, n - results, room);
}

static void
put_call(struct buf *out, const struct context_block *b)
{
	struct jspan id, name, input;

	if (!jspan_get(b->text, "id", &id) || !jspan_get(b->text, "name", &name) || !jspan_get(b->text, "input", &input))
		return;
	buf_str(out, "{\"id\":");
	buf_put(out, id.p, id.n);
	buf_str(out, ",\"type\":\"function\",\"function\":{\"name\":");
	buf_put(out, name.p, name.n);
	buf_str(out, ",\"arguments\":");
	jw_quote(out, input.p, input.n);
	buf_str(out, "}}");
}

static void
put_assistant_run(struct buf *out, const struct context_block *b, size_t n)
{
	size_t texts = 0, calls = 0;

	for (size_t i = 0; i < n; i++) {
		texts += b[i].kind == CONTEXT_TEXT;
		calls += b[i].kind == CONTEXT_TOOL_USE;
	}
	if (!texts && !calls)
		return;
	buf_str(out, ",{\"role\":\"assistant\",\"content\":");
	buf_str(out, texts ? "\"" : "null");
	for (size_t i = 0, seen = 0; i < n; i++) {
		if (b[i].kind != CONTEXT_TEXT)
			continue;
		if (seen++)
			buf_str(out, "\\n\\n");
		put_block(out, &b[i], NULL);
	}
	buf_str(out, texts ? "\"" : "");
	if (calls)
		buf_str(out, ",\"tool_calls\":[");
	for (size_t i = 0, seen = 0; i < n; i++) {
		if (b[i].kind != CONTEXT_TOOL_USE)
			continue;
		if (seen++)
			buf_ch(out, ',');
		put_call(out, &b[i]);
	}
	buf_str(out, calls ? "]}" : "}");
}

static void
put_tools(struct buf *out, const struct model_request *rq)
{
	buf_str(out, ",\"tools\":[");
	for (int i = 0; i < rq->ntools; i++) {
		const struct model_tool *t = &rq->tools[i];

		buf_printf(out, "%s{\"type\":\"function\",\"function\":{\"name\":", i ? "," : "");
		jw_quote(out, t->name, strlen(t->name));
		if (t->description && t->description[0]) {
			buf_str(out, ",\"description\":");
			jw_quote(out, t->description, strlen(t->description));
		}
		buf_str(out, ",\"parameters\":");
		buf_str(out, t->schema);
		buf_str(out, "}}");
	}
	buf_ch(out, ']');
}

void
openai_tail(struct buf *out, const struct model_request *rq)
{
	struct filesrc_room room;
	struct context c;
	size_t first;

	if (rq->ntools)
		put_tools(out, rq);
	buf_str(out, ",\"messages\":[");
	first = out->len;
	if (rq->system && rq->system[strspn(rq->system, " \t\r\n")]) {
		buf_str(out, ",{\"role\":\"system\",\"content\":");
		jw_quote(out, rq->system, strlen(rq->system));
		buf_ch(out, '}');
	}
	context_build(&c, rq);
	filesrc_room_init(&room, rq->blob_dir, rq->files_there, c.blocks, c.n);
	for (size_t i = 0, end; i < c.n; i = end) {
		end = context_message_end(&c, i);
		if (c.blocks[i].role == 's')
			put_system(out, c.blocks + i, end - i);
		else if (c.blocks[i].role == 'a')
			put_assistant_run(out, c.blocks + i, end - i);
		else
			put_user_run(out, c.blocks + i, end - i, &room);
	}
	context_free(&c);
	if (out->len > first)
		out->data[first] = ' ';	/* every message brings a comma; the first one needs none */
	buf_str(out, "]}");
}

void
openai_forget(struct buf *out, const struct buf *whole)
{
	const char *p = whole->data, *end = p + whole->len, *at;
	struct jspan_iter it;
	struct jspan part;

	while ((at = memmem(p, (size_t)(end - p), FILE_PART, sizeof FILE_PART - 1)) != NULL) {
		buf_put(out, p, (size_t)(at - p));
		p = at;
		it = jspan_list(at, (size_t)(end - at));
		if (!jspan_next(&it, &part))
			break;
		buf_str(out, "{\"type\":\"text\",\"text\":\"" UNREADABLE "\"}");
		p = part.p + part.n;
	}
	buf_put(out, p, (size_t)(end - p));
}
