/*
 * draft: see draft.h. Content is dumped once; the stem and the fragment share that text. What a client sent as null where the wire leaves
 * a field out is removed first.
 */
#include "draft.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "filerefs.h"
#include "jw.h"
#include "jx.h"
#include "outcomes.h"
#include "xalloc.h"

static bool
is(const char *type, const char *want)
{
	return strcmp(type, want) == 0;
}

/* --- checks ----------------------------------------------------------------------------------------------------------------- */

static bool
base64_ok(const char *s)
{
	size_t len = strlen(s), body = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

	return len % 4 == 0 && len - body <= 2 && strspn(s + body, "=") == len - body;
}

static bool
url_ok(const char *s)
{
	const char *host = strncmp(s, "https://", 8) == 0 ? s + 8 : strncmp(s, "http://", 7) == 0 ? s + 7 : NULL;

	if (!host || !*host || *host == '/')
		return false;
	for (; *host; host++)
		if ((unsigned char)*host <= ' ' || *host == '"' || *host == '<' || *host == '>' || *host == '\\')
			return false;
	return true;
}

/* type/subtype, as in image/png. */
static bool
media_type_ok(const char *s)
{
	static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&^_.+-";
	size_t n = strspn(s, token);

	return n > 0 && s[n] == '/' && s[n + 1] && !s[n + 1 + strspn(s + n + 1, token)];
}

/* files: how many documents of this request come from files, this one included. */
static int
block_check(const char *where, size_t index, const json_t *block, int *files, struct err *e)
{
	const json_t *source = json_object_get(block, "source");
	const char *type = jx_str(source, "type"), *media = jx_str(source, "media_type");

	if (type && is(type, "file") && is(jx_str(block, "type"), "document") && ++*files > DRAFT_FILES)
		return err_set(e, EK_INVALID, 0, "%s.content.%zu.source: at most %d documents of a request may come from files", where, index,
		    DRAFT_FILES);
	if (type && is(type, "base64") && !media_type_ok(media))
		return err_set(e, EK_INVALID, 0, "%s.content.%zu.source.media_type: not a media type", where, index);

	if (type && is(type, "base64") && !base64_ok(jx_str(source, "data")))
		return err_set(e, EK_INVALID, 0, "%s.content.%zu.source.data: not valid base64", where, index);
	if (type && is(type, "url") && !url_ok(jx_str(source, "url")))
		return err_set(e, EK_INVALID, 0, "%s.content.%zu.source.url: must be an http or https URL", where, index);
	return 0;
}

/* A system message ends its request, behind what it accompanies, or stands alone (contract 3.2, A7). */
static int
system_check(const json_t *events, size_t index, struct err *e)
{
	const char *before = index > 0 ? jx_str(json_array_get(events, index - 1), "type") : NULL;

	if (index + 1 == json_array_size(events) &&
	    (!before || is(before, "user.message") || is(before, "user.custom_tool_result") || is(before, "user.tool_result")))
		return 0;
	return err_set(e, EK_INVALID, 0, "Invalid system.message event at events[%zu]: it must be the last event of the request and directly "
	    "follow a `user.message`, `user.tool_result`, or `user.custom_tool_result`", index);
}

static int
event_check(const char *list, const json_t *events, size_t index, int *files, struct err *e)
{
	const json_t *event = json_array_get(events, index);

	const char *type = jx_str(event, "type"), *result = jx_str(event, "result"), *deny = jx_str(event, "deny_message");
	char where[96], *dot;
	json_t *block;
	size_t i;

	snprintf(where, sizeof where, "%s.%zu.%s", list, index, type);
	dot = strrchr(where, '.');
	*dot = '_';
	if (is(type, "user.tool_result"))
		return err_set(e, EK_FORBIDDEN, 0, "%s: only the worker of a self-hosted environment may send this event", where);
	if (is(type, "system.message") && system_check(events, index, e) < 0)
		return -1;
	if (is(type, "user.interrupt") && jx_str(event, "session_thread_id") && !id_ok("sthr_", jx_str(event, "session_thread_id")))
		return err_set(e, EK_INVALID, 0, "Invalid thread ID: %s", jx_str(event, "session_thread_id"));
	if (deny && !is(result, "deny"))
		return err_set(e, EK_INVALID, 0, "%s.deny_message: only allowed when result is \"deny\"", where);
	json_array_foreach(json_object_get(event, "content"), i, block)
		if (block_check(where, i, block, files, e) < 0)
			return -1;
	return 0;
}

int
draft_check(const char *list, const json_t *events, struct err *e)
{
	int files = 0;

	for (size_t i = 0; i < json_array_size(events); i++)
		if (event_check(list, events, i, &files, e) < 0)
			return -1;
	return outcomes_check(list, events, e);
}

/* --- text ------------------------------------------------------------------------------------------------------------------- */

static int
dump_into(const char *text, size_t len, void *arg)
{
	buf_put(arg, text, len);
	return 0;
}

static bool
names_files(const json_t *event)
{
	json_t *block;
	size_t i;

	json_array_foreach(json_object_get(event, "content"), i, block)
		if (json_object_get(json_object_get(block, "source"), FILEREF_KEY))
			return true;
	return false;
}

/* The block as it is shown, and as the model sees it: with what its file stands for. */
static void
file_block(json_t *block, struct buf *shown, struct buf *model)
{
	json_t *source = json_object_get(block, "source");
	AUTO(json) json_t *resolved = json_incref(json_object_get(source, FILEREF_KEY));

	json_object_del(source, FILEREF_KEY);
	must(json_dump_callback(block, dump_into, shown, JSON_COMPACT) == 0);
	json_object_set(block, "source", resolved);
	must(json_dump_callback(block, dump_into, model, JSON_COMPACT) == 0);
}

/*
 * Move the blocks of an event's content, comma-separated and without keys that are null, to the end of shown. When they name files, model
 * receives what the model sees of them; else it stays empty, because that is the same.
 */
static void
content_text(json_t *event, struct buf *shown, struct buf *model)
{
	static const char *const optional[] = { "title", "context" };
	const bool files = names_files(event);
	json_t *block;
	size_t i, from;

	json_array_foreach(json_object_get(event, "content"), i, block) {
		for (size_t k = 0; k < 2; k++)
			if (json_is_null(json_object_get(block, optional[k])))
				json_object_del(block, optional[k]);
		if (i)
			buf_ch(shown, ',');
		if (i && files)
			buf_ch(model, ',');
		if (json_object_get(json_object_get(block, "source"), FILEREF_KEY)) {
			file_block(block, shown, model);
			continue;
		}
		from = shown->len;
		must(json_dump_callback(block, dump_into, shown, JSON_COMPACT) == 0);
		if (files)
			buf_put(model, shown->data + from, shown->len - from);
	}
	json_object_del(event, "content");
}

static void
stem_begin(struct buf *b, struct inbox_item *it)
{
	buf_printf(b, "{\"id\":\"%s\",\"type\":\"%s\"", id_new("sevt_", it->id), it->type);
}

static void
stem_string(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_printf(b, ",\"%s\":", key);
	jw_quote(b, value, strlen(value));
}

/* A digest of parts, so that an identical repeat of an answer is recognised (contract 3.2). */
static void
hash_of(struct inbox_item *it, const char *a, const char *b)
{
	crypto_hash_sha256_state st;
	unsigned char sum[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const unsigned char *)a, strlen(a) + 1);
	crypto_hash_sha256_update(&st, (const unsigned char *)b, strlen(b) + 1);
	crypto_hash_sha256_final(&st, sum);
	sodium_bin2hex(it->hash, sizeof it->hash, sum, sizeof sum);
}

static void
message(json_t *event, struct inbox_item *it, struct buf *stem)
{
	struct buf model = BUF_INIT(0);
	size_t from;

	buf_str(stem, ",\"content\":[");
	from = stem->len;
	content_text(event, stem, &model);
	it->fragment = model.len ? buf_steal(&model) : xstrndup(stem->data + from, stem->len - from);
	buf_ch(stem, ']');
	it->wakes = is(it->type, "user.message");
	it->role = it->wakes ? "u" : "s";
}

static void
custom_result(json_t *event, struct inbox_item *it, struct buf *stem)
{
	const json_t *is_error = json_object_get(event, "is_error");
	bool content = json_object_get(event, "content") != NULL;
	AUTO(buf) struct buf text = BUF_INIT(0);
	AUTO(buf) struct buf model = BUF_INIT(0);
	struct buf fragment = BUF_INIT(0);

	buf_str(&text, "");
	content_text(event, &text, &model);
	it->refers_to = jx_str(event, "custom_tool_use_id");
	it->on_receipt = true;
	stem_string(stem, "custom_tool_use_id", it->refers_to);
	buf_str(&fragment, "{\"type\":\"tool_result\"");
	stem_string(&fragment, "tool_use_id", it->refers_to);
	if (content) {
		buf_str(stem, ",\"content\":[");
		buf_put(stem, text.data, text.len);
		buf_ch(stem, ']');
	}
	if (text.len) {
		buf_str(&fragment, ",\"content\":[");
		buf_put(&fragment, model.len ? model.data : text.data, model.len ? model.len : text.len);
		buf_ch(&fragment, ']');
	}
	if (json_is_boolean(is_error))
		buf_str(stem, json_is_true(is_error) ? ",\"is_error\":true" : ",\"is_error\":false");
	if (json_is_true(is_error))
		buf_str(&fragment, ",\"is_error\":true");
	buf_ch(&fragment, '}');
	hash_of(it, text.data, json_is_true(is_error) ? "error" : "");
	it->fragment = buf_steal(&fragment);
}

static void
confirmation(const json_t *event, struct inbox_item *it, struct buf *stem)
{
	it->refers_to = jx_str(event, "tool_use_id");
	it->answer = jx_str(event, "result");
	it->deny_message = jx_str(event, "deny_message");
	if (it->deny_message && !it->deny_message[0])
		it->deny_message = NULL;
	stem_string(stem, "tool_use_id", it->refers_to);
	stem_string(stem, "result", it->answer);
	stem_string(stem, "deny_message", it->deny_message);
	hash_of(it, it->answer, it->deny_message ? it->deny_message : "");
}

void
draft_make(json_t *event, struct inbox_item *out)
{
	struct buf stem = BUF_INIT(0);

	memset(out, 0, sizeof *out);
	out->type = jx_str(event, "type");
	stem_begin(&stem, out);
	if (is(out->type, "user.message") || is(out->type, "system.message"))
		message(event, out, &stem);
	else if (is(out->type, OUTCOME_TYPE))
		outcomes_draft(event, out, &stem);
	else if (is(out->type, "user.custom_tool_result"))
		custom_result(event, out, &stem);
	else if (is(out->type, "user.tool_confirmation"))
		confirmation(event, out, &stem);
	else
		stem_string(&stem, "session_thread_id", jx_str(event, "session_thread_id"));
	out->stem = buf_steal(&stem);
}

void
draft_updated(const struct draft_changes *c, struct inbox_item *out)
{
	struct buf stem = BUF_INIT(0);
	AUTO(str) char *text = c->metadata && json_object_size(c->metadata) ? jx_dump(c->metadata) : NULL;
	struct jw w;

	memset(out, 0, sizeof *out);
	out->type = "session.updated";
	out->on_receipt = true;		/* ours: a stamp, also while it waits (contract 3) */
	stem_begin(&stem, out);
	if (json_is_null(c->title))
		buf_str(&stem, ",\"title\":null");
	else if (c->title)
		stem_string(&stem, "title", json_string_value(c->title));
	if (text)
		buf_printf(&stem, ",\"metadata\":%s", text);
	if (c->agent)
		buf_printf(&stem, ",\"agent\":%s", c->agent);
	if (c->budget) {
		buf_str(&stem, ",\"budget\":");
		jw_begin(&w, &stem);
		cost_write_budget(&w, c->budget_cents);
		jw_end(&w);
	}
	out->stem = buf_steal(&stem);
}

void
draft_echo(struct buf *b, const char *stem, const char *stamp)
{
	buf_str(b, stem);
	if (stamp)
		buf_printf(b, ",\"processed_at\":\"%s\"}", stamp);
	else
		buf_str(b, ",\"processed_at\":null}");
}

size_t
draft_stem_len(const char *text)
{
	static const char mark[] = ",\"processed_at\":";
	size_t n = strlen(text);

	while (n > 0 && strncmp(text + n, mark, sizeof mark - 1) != 0)
		n--;
	return n;
}
