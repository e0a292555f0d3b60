/*
 * openai_stream: see openai_stream.h.
 *
 * Streams differ: usage may come in a chunk of its own with empty choices, with the last choice, or not at all (then it is unknown,
 * not a failure); tool calls may lack an index, repeat their id, or bring their arguments as an object; the end may be "[DONE]" or
 * just the end. finish_reason or "[DONE]" makes a reply whole, anything less is a truncated one, which fails.
 */
#include "openai_stream.h"

#include <string.h>

#define CHUNK_DEPTH 64

static const struct { const char *word; enum model_stop stop; } stops[] = {
	{ "stop", MODEL_END_TURN },		{ "tool_calls", MODEL_TOOL_CALLS },	{ "function_call", MODEL_TOOL_CALLS },
	{ "length", MODEL_MAX_TOKENS },		{ "content_filter", MODEL_REFUSAL },	{ "end_turn", MODEL_END_TURN },
	{ "max_tokens", MODEL_MAX_TOKENS },	{ "eos", MODEL_END_TURN },
};

static int
on_usage(struct decode *d, struct jspan usage)
{
	struct model_usage u = { .output = decode_count(usage, "completion_tokens"), .input = decode_count(usage, "prompt_tokens") };
	struct jspan details;

	if (jspan_get(usage, "prompt_tokens_details", &details) && *details.p == '{')
		u.cache_read = decode_count(details, "cached_tokens");
	if (u.input < 0 || u.output < 0 || u.cache_read < 0)
		return decode_broken(d, "its usage makes no sense");
	if (u.cache_read > u.input)
		u.cache_read = u.input;
	u.input -= u.cache_read;
	d->reply->usage = u;
	d->usage = true;
	return ADAPTER_MORE;
}

/* Which part this piece of a call belongs to; opens a new one where the piece begins a call. Negative: a reply_*() code. */
static int
call_part(struct decode *d, struct jspan piece, struct jspan function)
{
	AUTO(buf) struct buf id = BUF_INIT(256);
	struct jspan v;
	struct reply_part *part;
	int64_t number;
	bool named = jspan_get(function, "name", &v) && v.n > 2;
	int at;

	decode_string(piece, "id", &id);
	if (!jspan_get(piece, "index", &v) || !jspan_int(v, &number))
		number = d->call < 0 || (named && id.len) ? d->nparts : d->call;
	at = decode_part(d, number);
	part = at >= 0 ? &d->reply->parts[at] : NULL;
	/* The same number with another id and a name: a server that numbers every call 0. */
	if (part && !(named && id.len && part->id.len && strcmp(id.data, part->id.data) != 0)) {
		d->call = (int)number;
		return at;
	}
	at = reply_open(d->reply, MODEL_TOOL_USE);
	if (at < 0)
		return at;
	if (decode_map(d, number, at) < 0)
		return REPLY_OVER;
	part = &d->reply->parts[at];
	buf_put(&part->id, id.data ? id.data : "", id.len);
	d->call = (int)number;
	d->text = -1;		/* text behind a call is a block of its own */
	return at;
}

static int
on_call(struct decode *d, struct jspan piece)
{
	struct jspan function, arguments;
	struct reply_part *part;
	int at;

	if (!jspan_get(piece, "function", &function) || *function.p != '{')
		return ADAPTER_MORE;
	at = call_part(d, piece, function);
	if (at < 0)
		return decode_rc(d, at);
	part = &d->reply->parts[at];
	if (!part->name.len)
		decode_string(function, "name", &part->name);
	if (jspan_get(function, "arguments", &arguments)) {
		if (*arguments.p == '{')
			buf_put(&part->text, arguments.p, arguments.n);
		else
			jspan_unquote(&part->text, arguments);
	}
	return part->text.over ? decode_rc(d, REPLY_OVER) : ADAPTER_MORE;
}

static int
on_delta(struct decode *d, struct jspan delta)
{
	static const char *const thoughts[] = { "reasoning_content", "reasoning" };
	struct jspan v, piece;
	struct jspan_iter it;
	int rc = ADAPTER_MORE;

	for (size_t i = 0; i < 2 && rc == ADAPTER_MORE; i++) {
		if (jspan_get(delta, thoughts[i], &v) && *v.p == '"' && v.n > 2)
			rc = decode_rc(d, reply_thinking(d->reply));
	}
	if (rc == ADAPTER_MORE && jspan_get(delta, "content", &v) && *v.p == '"' && v.n > 2) {
		if (d->text < 0)
			d->text = reply_open(d->reply, MODEL_TEXT);
		rc = d->text < 0 ? decode_rc(d, d->text) : decode_text(d, d->text, delta, "content");
	}
	if (rc == ADAPTER_MORE && jspan_get(delta, "refusal", &v) && *v.p == '"' && v.n > 2) {
		if (d->text < 0)
			d->text = reply_open(d->reply, MODEL_TEXT);
		rc = d->text < 0 ? decode_rc(d, d->text) : decode_text(d, d->text, delta, "refusal");
		d->reply->stop = MODEL_REFUSAL;
	}
	if (rc == ADAPTER_MORE && jspan_get(delta, "tool_calls", &v) && *v.p == '[') {
		for (it = jspan_array(v); rc == ADAPTER_MORE && jspan_next(&it, &piece);)
			rc = on_call(d, piece);
	}
	return rc;
}

static int
on_choice(struct decode *d, struct jspan choice)
{
	struct jspan delta, reason;
	int rc = ADAPTER_MORE;

	if ((jspan_get(choice, "delta", &delta) || jspan_get(choice, "message", &delta)) && *delta.p == '{')
		rc = on_delta(d, delta);
	if (rc != ADAPTER_MORE || !jspan_get(choice, "finish_reason", &reason) || *reason.p != '"' || reason.n == 2)
		return rc;
	if (jspan_is(reason, "error"))	/* OpenRouter: the upstream broke; the error object stands beside */
		return decode_broken(d, "it ended with an error");
	d->stopped = true;
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		if (jspan_is(reason, stops[i].word) && d->reply->stop != MODEL_REFUSAL)
			d->reply->stop = stops[i].stop;
	}
	return rc;
}

/* A call whose arguments the limit cut short shows that by itself: they are no JSON. */
int
openai_end(struct decode *d)
{
	struct reply *r = d->reply;
	struct reply_part *last = r->nparts ? &r->parts[r->nparts - 1] : NULL;

	if (!d->stopped)
		return decode_broken(d, "it ended before it was whole");
	r->usage.unknown = !d->usage;
	if (last && last->kind == MODEL_TOOL_USE && r->stop == MODEL_MAX_TOKENS && !last->text.len)
		last->cut = true;
	return decode_done(d);
}

int
openai_event(struct decode *d, const char *name, const char *data, size_t len)
{
	struct jspan all, v, choice;
	struct jspan_iter it;
	int rc = ADAPTER_MORE;

	if (!strcmp(data, "[DONE]")) {
		d->stopped = d->stopped || d->reply->begun;
		return openai_end(d);
	}
	if (!jspan_check_object(data, len, CHUNK_DEPTH))
		return decode_broken(d, "an event is not JSON");
	it = jspan_list(data, len);
	if (!jspan_next(&it, &all))
		return ADAPTER_MORE;
	if (jspan_get(all, "error", &v) && *v.p != 'n')
		return decode_error(d, *v.p == '{' ? v : all);
	if (!strcmp(name, "error"))
		return decode_error(d, all);
	if (jspan_get(all, "usage", &v) && *v.p == '{')
		rc = on_usage(d, v);
	if (rc == ADAPTER_MORE && jspan_get(all, "choices", &v) && *v.p == '[') {
		it = jspan_array(v);
		if (jspan_next(&it, &choice))	/* one was asked for */
			rc = on_choice(d, choice);
	}
	return rc;
}
