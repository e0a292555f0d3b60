/*
 * anthropic_stream: see anthropic_stream.h.
 *
 * Text, tool use and thinking blocks; what we did not ask for (server tools, citations) is read over. Usage comes in two halves, input
 * with message_start and output with message_delta; a reply without either is refused, because tokens that nobody measured cannot be
 * billed (operations.md F30).
 */
#include "anthropic_stream.h"

#include <string.h>

#define EVENT_DEPTH 48

static int
bad_usage(struct decode *d)
{
	return decode_broken(d, "its usage makes no sense");
}

/* message_start: what went in. */
static int
on_start(struct decode *d, struct jspan data)
{
	struct model_usage *u = &d->reply->usage;
	struct jspan message, usage, split, v;

	if (!jspan_get(data, "message", &message) || !jspan_get(message, "usage", &usage) || !jspan_get(usage, "input_tokens", &v))
		return decode_broken(d, "it tells no usage");
	u->input = decode_count(usage, "input_tokens");
	u->cache_read = decode_count(usage, "cache_read_input_tokens");
	u->cache_write_5m = decode_count(usage, "cache_creation_input_tokens");
	u->cache_write_1h = 0;
	u->output = decode_count(usage, "output_tokens");
	if (jspan_get(usage, "cache_creation", &split) && *split.p == '{') {
		u->cache_write_5m = decode_count(split, "ephemeral_5m_input_tokens");
		u->cache_write_1h = decode_count(split, "ephemeral_1h_input_tokens");
	}
	if (u->input < 0 || u->cache_read < 0 || u->cache_write_5m < 0 || u->cache_write_1h < 0 || u->output < 0)
		return bad_usage(d);
	d->usage = true;
	return ADAPTER_MORE;
}

static int
on_block_start(struct decode *d, struct jspan data)
{
	struct jspan number, block, type;
	struct reply_part *part;
	int64_t n;
	int at = -1;

	if (!jspan_get(data, "index", &number) || !jspan_int(number, &n) || !jspan_get(data, "content_block", &block) ||
	    !jspan_get(block, "type", &type))
		return decode_broken(d, "a block has no number or type");
	if (jspan_is(type, "text"))
		at = reply_open(d->reply, MODEL_TEXT);
	else if (jspan_is(type, "tool_use"))
		at = reply_open(d->reply, MODEL_TOOL_USE);
	else if (jspan_is(type, "thinking") || jspan_is(type, "redacted_thinking"))
		at = reply_open(d->reply, MODEL_THINKING);
	if (at < -1)
		return decode_rc(d, at);
	if (decode_map(d, n, at) < 0)
		return decode_rc(d, REPLY_OVER);
	if (at < 0)
		return ADAPTER_MORE;
	part = &d->reply->parts[at];
	switch (part->kind) {
	case MODEL_TEXT:
		return decode_text(d, at, block, "text");
	case MODEL_TOOL_USE:
		decode_string(block, "name", &part->name);
		decode_string(block, "id", &part->id);
		part->cut = true;	/* until its stop is seen */
		break;
	case MODEL_THINKING:
		part->redacted = jspan_is(type, "redacted_thinking");
		decode_string(block, part->redacted ? "data" : "signature", &part->signature);
		decode_string(block, "thinking", &part->text);
		break;
	}
	return ADAPTER_MORE;
}

static int
on_block_delta(struct decode *d, struct jspan data)
{
	struct jspan number, delta;
	struct reply_part *part;
	int64_t n;
	int at;

	if (!jspan_get(data, "index", &number) || !jspan_int(number, &n) || !jspan_get(data, "delta", &delta))
		return decode_broken(d, "a delta has no number");
	at = decode_part(d, n);
	if (at < 0)
		return ADAPTER_MORE;
	part = &d->reply->parts[at];
	switch (part->kind) {
	case MODEL_TEXT:
		return decode_text(d, at, delta, "text");
	case MODEL_TOOL_USE:
		decode_string(delta, "partial_json", &part->text);
		break;
	case MODEL_THINKING:
		decode_string(delta, "thinking", &part->text);
		decode_string(delta, "signature", &part->signature);
		break;
	}
	return part->text.over || part->signature.over ? decode_rc(d, REPLY_OVER) : ADAPTER_MORE;
}

static void
on_block_stop(struct decode *d, struct jspan data)
{
	struct jspan number;
	int64_t n;
	int at;

	if (!jspan_get(data, "index", &number) || !jspan_int(number, &n))
		return;
	at = decode_part(d, n);
	if (at >= 0)
		d->reply->parts[at].cut = false;
}

static const struct { const char *word; enum model_stop stop; } stops[] = {
	{ "end_turn", MODEL_END_TURN },		{ "tool_use", MODEL_TOOL_CALLS },	{ "max_tokens", MODEL_MAX_TOKENS },
	{ "refusal", MODEL_REFUSAL },		{ "stop_sequence", MODEL_END_TURN },	{ "pause_turn", MODEL_END_TURN },
	{ "model_context_window_exceeded", MODEL_MAX_TOKENS },
};

/* message_delta: why it stopped and what came out. Counts are totals; input may be told again. */
static int
on_message_delta(struct decode *d, struct jspan data)
{
	struct jspan delta, reason, usage, details, v;
	struct reply *r = d->reply;

	if (jspan_get(data, "delta", &delta) && jspan_get(delta, "stop_reason", &reason) && *reason.p == '"') {
		d->stopped = true;
		r->stop = MODEL_END_TURN;
		for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
			if (jspan_is(reason, stops[i].word))
				r->stop = stops[i].stop;
		}
		if (r->stop == MODEL_REFUSAL && jspan_get(delta, "stop_details", &details) && *details.p == '{') {
			decode_string(details, "category", &r->category);
			decode_string(details, "explanation", &r->explanation);
		}
	}
	if (jspan_get(data, "usage", &usage) && jspan_get(usage, "output_tokens", &v)) {
		r->usage.output = decode_count(usage, "output_tokens");
		if (r->usage.output < 0)
			return bad_usage(d);
	}
	return ADAPTER_MORE;
}

/* A tool call whose input is empty although the reply was cut at the token limit was cut before its first byte. */
static int
on_stop(struct decode *d)
{
	struct reply *r = d->reply;
	struct reply_part *last = r->nparts ? &r->parts[r->nparts - 1] : NULL;

	if (!d->usage)
		return decode_broken(d, "it tells no usage");
	if (!d->stopped)
		return decode_broken(d, "it ended without a reason");
	if (last && last->kind == MODEL_TOOL_USE && r->stop == MODEL_MAX_TOKENS && !last->text.len)
		last->cut = true;
	return decode_done(d);
}

int
anthropic_event(struct decode *d, const char *name, const char *data, size_t len)
{
	struct jspan all, type, error;
	struct jspan_iter it;

	(void)name;	/* the type stands in the data too, and proxies lose event lines */
	if (!jspan_check_object(data, len, EVENT_DEPTH))
		return decode_broken(d, "an event is not JSON");
	it = jspan_list(data, len);
	if (!jspan_next(&it, &all) || !jspan_get(all, "type", &type))
		return decode_broken(d, "an event has no type");
	if (jspan_is(type, "content_block_delta"))
		return on_block_delta(d, all);
	if (jspan_is(type, "message_start"))
		return on_start(d, all);
	if (jspan_is(type, "content_block_start"))
		return on_block_start(d, all);
	if (jspan_is(type, "content_block_stop"))
		on_block_stop(d, all);
	if (jspan_is(type, "message_delta"))
		return on_message_delta(d, all);
	if (jspan_is(type, "message_stop"))
		return on_stop(d);
	if (jspan_is(type, "error"))
		return decode_error(d, jspan_get(all, "error", &error) ? error : all);
	return ADAPTER_MORE;	/* ping, and what comes later */
}

int
anthropic_end(struct decode *d)
{
	return decode_broken(d, "it ended before it was whole");
}
