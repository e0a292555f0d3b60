/*
 * batch_events: the events of a model request and its reply, of tool calls, evaluations and errors, and what the model sees of each
 * (batch.h).
 *
 * Pure. Beside its stem an event may have a fragment (a client sees it too, in other words) or a private text (the model alone).
 */
#include "batch.h"

#include <string.h>

#include "batch_stem.h"
#include "xalloc.h"

void
batch_span_start(struct batch *b, char out_id[ID_MAX])
{
	batch_bare(b, "span.model_request_start");
	memcpy(out_id, b->ev[b->nev - 1].id, ID_MAX);
}

/* rates: what the request costs, or NULL when there was none: then nothing is said of its speed. */
static void
usage_fields(struct jw *w, const char *key, const struct model_usage *u, const struct cost_rates *rates)
{
	jw_key(w, key);
	jw_obj(w);
	jw_kint(w, "input_tokens", u->input);
	jw_kint(w, "output_tokens", u->output);
	jw_kint(w, "cache_creation_input_tokens", u->cache_write_5m + u->cache_write_1h);
	jw_kint(w, "cache_read_input_tokens", u->cache_read);
	jw_kstr(w, "speed", rates != NULL && rates->fast ? "fast" : NULL);
	jw_obj_end(w);
}

/* The latest event carries what a model request consumed. */
static void
measured(struct batch *b, const struct model_usage *usage, const struct cost_rates *rates)
{
	b->span_ev = b->nev - 1;
	b->tokens = *usage;
	if (rates != NULL)
		b->rates = *rates;
}

void
batch_span_end(struct batch *b, const char *start_id, bool is_error, const struct model_usage *usage, const struct cost_rates *rates)
{
	static const struct model_usage none;
	const struct model_usage *u = usage != NULL ? usage : &none;
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, "span.model_request_end", &w, &out);

	jw_kstr(&w, "model_request_start_id", start_id);
	jw_kbool(&w, "is_error", is_error);
	usage_fields(&w, "model_usage", u, rates);
	batch_stem_end(b, ev, &out);
	if (usage != NULL)
		measured(b, usage, rates);
}

void
batch_outcome_start(struct batch *b, const char *type, const char *outcome_id, int iteration, char *out_id)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, type, &w, &out);

	jw_kstr(&w, "outcome_id", outcome_id);
	jw_kint(&w, "iteration", iteration);
	batch_stem_end(b, ev, &out);
	if (out_id != NULL)
		memcpy(out_id, ev->id, ID_MAX);
}

void
batch_outcome_end(struct batch *b, const struct outcome_end *end, const struct model_usage *usage, const struct cost_rates *rates)
{
	static const struct model_usage none;
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, "span.outcome_evaluation_end", &w, &out);

	jw_kstr(&w, "outcome_evaluation_start_id", end->start_id);
	jw_kstr(&w, "outcome_id", end->outcome_id);
	jw_kint(&w, "iteration", end->iteration);
	jw_kstr(&w, "result", end->result);
	jw_kstr(&w, "explanation", end->explanation);
	usage_fields(&w, "usage", usage != NULL ? usage : &none, rates);
	if (end->say != NULL) {
		ev->role = 'u';
		ev->private = xstrdup(end->say);
		b->bytes += strlen(end->say);
	}
	batch_stem_end(b, ev, &out);
	if (usage != NULL)
		measured(b, usage, rates);
}

void
batch_judged(struct batch *b, const struct judged *judged)
{
	b->judged = *judged;
}

void
batch_thinking(struct batch *b, const char *id, const char *raw)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, id, "agent.thinking", &w, &out);

	if (raw != NULL) {
		ev->role = 'a';
		ev->private = xstrdup(raw);
		b->bytes += strlen(raw);
	}
	batch_stem_end(b, ev, &out);
}

void
batch_compacted(struct batch *b, const char *blocks)
{
	batch_bare(b, BATCH_COMPACTED);
	b->ev[b->nev - 1].role = 'u';
	b->ev[b->nev - 1].private = xstrdup(blocks);
	b->bytes += strlen(blocks);
}

void
batch_message(struct batch *b, const char *id, const struct model_reply *reply)
{
	struct buf out = BUF_INIT(0), blocks = BUF_INIT(0);
	struct event *ev;
	struct jw w, f;

	for (int i = 0; i < reply->nblocks; i++) {
		if (reply->blocks[i].kind != MODEL_TEXT || reply->blocks[i].text[0] == '\0')
			continue;
		if (blocks.len > 0)
			buf_ch(&blocks, ',');
		jw_begin(&f, &blocks);
		jw_obj(&f);
		jw_kstr(&f, "type", "text");
		jw_kstr(&f, "text", reply->blocks[i].text);
		jw_obj_end(&f);
		jw_end(&f);
	}
	if (blocks.len == 0) {
		buf_free(&blocks);
		return;
	}
	ev = batch_stem_begin(b, id, "agent.message", &w, &out);
	jw_key(&w, "content");
	jw_arr(&w);
	jw_raw(&w, blocks.data, blocks.len);
	jw_arr_end(&w);
	ev->role = 'a';
	b->bytes += blocks.len;
	ev->fragment = buf_steal(&blocks);
	batch_stem_end(b, ev, &out);
}

static char *
tool_use_fragment(const char *id, const char *name, const char *input)
{
	struct buf out = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &out);
	jw_obj(&w);
	jw_kstr(&w, "type", "tool_use");
	jw_kstr(&w, "id", id);
	jw_kstr(&w, "name", name);
	jw_kraw(&w, "input", input);
	jw_obj_end(&w);
	jw_end(&w);
	return buf_steal(&out);
}

static const char *
verdict_name(enum tool_verdict v)
{
	return v == VERDICT_ALLOW ? "allow" : v == VERDICT_ASK ? "ask" : "deny";
}

void
batch_tool_use(struct batch *b, const char *id, const char *name, const char *input, const struct tool_rule *rule)
{
	bool custom = rule->kind == TOOL_CUSTOM;
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, id, custom ? "agent.custom_tool_use" : "agent.tool_use", &w, &out);

	jw_kstr(&w, "name", name);
	jw_kraw(&w, "input", input);
	if (!custom)
		jw_kstr(&w, "evaluated_permission", verdict_name(rule->verdict));
	if (rule->evaluation != NULL)
		jw_kraw(&w, "evaluation", rule->evaluation);
	ev->role = 'a';
	ev->fragment = tool_use_fragment(ev->id, name, input);
	b->bytes += strlen(ev->fragment);
	if (custom || rule->verdict == VERDICT_ASK) {
		struct action_row *a;

		b->actions = xrealloc(b->actions, (size_t)(b->nactions + 1) * sizeof(b->actions[0]));
		a = &b->actions[b->nactions++];
		*a = (struct action_row){ .event = b->nev - 1, .custom = custom, .name = xstrdup(name), .input = xstrdup(input) };
		memcpy(a->id, ev->id, ID_MAX);
	}
	batch_stem_end(b, ev, &out);
}

void
batch_tool_result(struct batch *b, const char *tool_use_id, const char *text, bool is_error)
{
	struct buf out = BUF_INIT(0), frag = BUF_INIT(0), content = BUF_INIT(0);
	struct event *ev;
	struct jw w;

	jw_begin(&w, &content);
	jw_arr(&w);
	jw_obj(&w);
	jw_kstr(&w, "type", "text");
	jw_kstr(&w, "text", text[0] != '\0' ? text : "(no output)");
	jw_obj_end(&w);
	jw_arr_end(&w);
	jw_end(&w);
	ev = batch_stem_begin(b, NULL, "agent.tool_result", &w, &out);
	jw_kstr(&w, "tool_use_id", tool_use_id);
	jw_kraw(&w, "content", content.data);
	jw_kbool(&w, "is_error", is_error);
	batch_stem_end(b, ev, &out);
	jw_begin(&w, &frag);
	jw_obj(&w);
	jw_kstr(&w, "type", "tool_result");
	jw_kstr(&w, "tool_use_id", tool_use_id);
	jw_kraw(&w, "content", content.data);
	jw_kbool(&w, "is_error", is_error);
	jw_obj_end(&w);
	jw_end(&w);
	ev->role = 'u';
	b->bytes += frag.len;
	ev->fragment = buf_steal(&frag);
	buf_free(&content);
}

void
batch_error(struct batch *b, const char *type, const char *message, const char *retry)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, "session.error", &w, &out);

	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "type", type);
	jw_kstr(&w, "message", message);
	jw_key(&w, "retry_status");
	jw_obj(&w);
	jw_kstr(&w, "type", retry);
	jw_obj_end(&w);
	jw_obj_end(&w);
	batch_stem_end(b, ev, &out);
}
