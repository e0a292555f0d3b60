/*
 * batch: see batch.h. The only place where the harness writes event JSON; orders within a group of events are fixed here, orders of
 * groups in plan.c.
 *
 * Field order follows contract appendix D: id, type, fields, processed_at. Tool inputs and inbox stems are spliced as text. A
 * session.usage is rendered last, because it carries the running time up to the stamp of the idle event behind it.
 */
#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrivals.h"
#include "clock.h"
#include "jw.h"
#include "xalloc.h"

void
batch_init(struct batch *b, struct batch_who who)
{
	memset(b, 0, sizeof(*b));
	b->who = who;
	b->interval_ev = b->span_ev = b->gap_ev = -1;
}

void
batch_free(struct batch *b)
{
	for (int i = 0; i < b->nev; i++) {
		free(b->ev[i].stem);
		free(b->ev[i].body);
		free(b->ev[i].fragment);
		free(b->ev[i].private);
	}
	for (int i = 0; i < b->nactions; i++) {
		free(b->actions[i].name);
		free(b->actions[i].input);
	}
	free(b->ev);
	free(b->taken);
	free(b->actions);
	memset(b, 0, sizeof(*b));
}

static struct event *
event_add(struct batch *b, const char *id, const char *type)
{
	struct event *ev;

	must(type != NULL);
	b->ev = xrealloc(b->ev, (size_t)(b->nev + 1) * sizeof(b->ev[0]));
	ev = &b->ev[b->nev++];
	memset(ev, 0, sizeof(*ev));
	if (id != NULL)
		strncpy(ev->id, id, sizeof(ev->id) - 1);
	else
		id_new("sevt_", ev->id);
	strncpy(ev->type, type, sizeof(ev->type) - 1);
	return ev;
}

/* A stem is an object that is never closed: stamping appends the rest. */
static struct event *
stem_begin(struct batch *b, const char *id, const char *type, struct jw *w, struct buf *out)
{
	struct event *ev = event_add(b, id, type);

	jw_begin(w, out);
	jw_obj(w);
	jw_kstr(w, "id", ev->id);
	jw_kstr(w, "type", type);
	return ev;
}

static void
stem_end(struct batch *b, struct event *ev, struct buf *out)
{
	b->bytes += out->len;
	ev->stem = buf_steal(out);
}

static void
bare(struct batch *b, const char *type)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = stem_begin(b, NULL, type, &w, &out);

	stem_end(b, ev, &out);
}

static void
stop_fields(const struct batch *b, struct jw *w, const char *stop)
{
	static const char refusal[] = "{\"type\":\"refusal\",\"category\":null,\"explanation\":null}";
	const char *details = b->stop_details != NULL ? b->stop_details : refusal;

	jw_kraw(w, "stop_reason", stop);
	jw_kraw(w, "stop_details", strcmp(stop, BATCH_STOP_REFUSAL) == 0 ? details : NULL);
}

static void
thread_event(struct batch *b, const char *type, const char *stop)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = stem_begin(b, NULL, type, &w, &out);

	jw_kstr(&w, "session_thread_id", b->who.thread_id);
	jw_kstr(&w, "agent_name", b->who.agent_name);
	if (stop != NULL)
		stop_fields(b, &w, stop);
	stem_end(b, ev, &out);
}

static void
set_interval(struct batch *b, enum interval what)
{
	b->interval = what;
	b->interval_ev = b->nev - 1;
}

void
batch_running(struct batch *b)
{
	bare(b, "session.status_running");
	set_interval(b, INTERVAL_OPEN);
	thread_event(b, "session.thread_status_running", NULL);
	b->status = "running";
}

void
batch_idle_again(struct batch *b, const char *stop)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev;

	event_add(b, NULL, "session.usage");
	ev = stem_begin(b, NULL, "session.status_idle", &w, &out);
	stop_fields(b, &w, stop);
	stem_end(b, ev, &out);
	b->status = "idle";
	b->paused = strcmp(stop, BATCH_STOP_BUDGET) == 0;
}

void
batch_idle(struct batch *b, const char *stop, bool interval_open)
{
	thread_event(b, "session.thread_status_idle", stop);
	batch_idle_again(b, stop);
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

void
batch_rescheduled(struct batch *b, bool interval_open)
{
	thread_event(b, "session.thread_status_rescheduled", NULL);
	bare(b, "session.status_rescheduled");
	b->status = "rescheduling";
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

void
batch_terminated(struct batch *b, bool interval_open)
{
	thread_event(b, "session.thread_status_terminated", NULL);
	bare(b, "session.status_terminated");
	b->status = "terminated";
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

char *
batch_requires_action(const char *const *ids, int n)
{
	struct buf out = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &out);
	jw_obj(&w);
	jw_kstr(&w, "type", "requires_action");
	jw_key(&w, "event_ids");
	jw_arr(&w);
	for (int i = 0; i < n; i++)
		jw_str(&w, ids[i]);
	jw_arr_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
	return buf_steal(&out);
}

void
batch_span_start(struct batch *b, char out_id[ID_MAX])
{
	bare(b, "span.model_request_start");
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
	struct event *ev = stem_begin(b, NULL, "span.model_request_end", &w, &out);

	jw_kstr(&w, "model_request_start_id", start_id);
	jw_kbool(&w, "is_error", is_error);
	usage_fields(&w, "model_usage", u, rates);
	stem_end(b, ev, &out);
	if (usage != NULL)
		measured(b, usage, rates);
}

void
batch_outcome_start(struct batch *b, const char *type, const char *outcome_id, int iteration, char *out_id)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = stem_begin(b, NULL, type, &w, &out);

	jw_kstr(&w, "outcome_id", outcome_id);
	jw_kint(&w, "iteration", iteration);
	stem_end(b, ev, &out);
	if (out_id != NULL)
		memcpy(out_id, ev->id, ID_MAX);
}

void
batch_outcome_end(struct batch *b, const struct outcome_end *end, const struct model_usage *usage, const struct cost_rates *rates)
{
	static const struct model_usage none;
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = stem_begin(b, NULL, "span.outcome_evaluation_end", &w, &out);

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
	stem_end(b, ev, &out);
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
	struct event *ev = stem_begin(b, id, "agent.thinking", &w, &out);

	if (raw != NULL) {
		ev->role = 'a';
		ev->private = xstrdup(raw);
		b->bytes += strlen(raw);
	}
	stem_end(b, ev, &out);
}

void
batch_compacted(struct batch *b, const char *blocks)
{
	bare(b, BATCH_COMPACTED);
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
	ev = stem_begin(b, id, "agent.message", &w, &out);
	jw_key(&w, "content");
	jw_arr(&w);
	jw_raw(&w, blocks.data, blocks.len);
	jw_arr_end(&w);
	ev->role = 'a';
	b->bytes += blocks.len;
	ev->fragment = buf_steal(&blocks);
	stem_end(b, ev, &out);
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
	struct event *ev = stem_begin(b, id, custom ? "agent.custom_tool_use" : "agent.tool_use", &w, &out);

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
	stem_end(b, ev, &out);
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
	ev = stem_begin(b, NULL, "agent.tool_result", &w, &out);
	jw_kstr(&w, "tool_use_id", tool_use_id);
	jw_kraw(&w, "content", content.data);
	jw_kbool(&w, "is_error", is_error);
	stem_end(b, ev, &out);
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
	struct event *ev = stem_begin(b, NULL, "session.error", &w, &out);

	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "type", type);
	jw_kstr(&w, "message", message);
	jw_key(&w, "retry_status");
	jw_obj(&w);
	jw_kstr(&w, "type", retry);
	jw_obj_end(&w);
	jw_obj_end(&w);
	stem_end(b, ev, &out);
}

void
batch_flush(struct batch *b, const struct arrival *item)
{
	b->taken = xrealloc(b->taken, (size_t)(b->ntaken + 1) * sizeof(b->taken[0]));
	b->taken[b->ntaken++] = item->seq;
	b->taken_wakes += item->wakes;
	b->taken_bytes += (int64_t)strlen(item->stem);
}

void
batch_inbox(struct batch *b, const struct arrival *item, bool keep_fragment)
{
	struct event *ev = event_add(b, item->id, item->type);

	ev->stem = xstrdup(item->stem);
	b->bytes += strlen(item->stem);
	if (keep_fragment && item->fragment != NULL) {
		ev->role = item->role != 0 ? item->role : 'u';
		ev->fragment = xstrdup(item->fragment);
		b->bytes += strlen(item->fragment);
	}
	batch_flush(b, item);
}

static char *
usage_stem(const struct event *ev, const struct totals *t)
{
	struct buf out = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &out);
	jw_obj(&w);
	jw_kstr(&w, "id", ev->id);
	jw_kstr(&w, "type", ev->type);
	jw_key(&w, "usage");
	jw_obj(&w);
	jw_kint(&w, "input_tokens", t->tokens.input);
	jw_kint(&w, "output_tokens", t->tokens.output);
	jw_kint(&w, "cache_read_input_tokens", t->tokens.cache_read);
	if (t->tokens.cache_write_5m + t->tokens.cache_write_1h > 0) {	/* GET shows null: the event leaves nulls out */
		jw_key(&w, "cache_creation");
		jw_obj(&w);
		jw_kint(&w, "ephemeral_5m_input_tokens", t->tokens.cache_write_5m);
		jw_kint(&w, "ephemeral_1h_input_tokens", t->tokens.cache_write_1h);
		jw_obj_end(&w);
	}
	jw_kraw(&w, "server_tool_use", "{\"web_search_requests\":0,\"web_fetch_requests\":0}");
	jw_key(&w, "active_seconds");
	jw_seconds(&w, t->active_us / 1000);
	if (!t->unpriced) {
		jw_key(&w, "list_cost");
		cost_write(&w, &(struct cost_spent){ .token_nano = t->token_nano, .active_us = t->active_us });
	}
	jw_obj_end(&w);
	jw_key(&w, "budget");
	cost_write_budget(&w, t->budget_cents);
	return buf_steal(&out);
}

void
batch_classes(const struct model_usage *u, int64_t out[COST_CLASSES])
{
	out[COST_INPUT] = u->input;
	out[COST_OUTPUT] = u->output;
	out[COST_CACHE_READ] = u->cache_read;
	out[COST_CACHE_5M] = u->cache_write_5m;
	out[COST_CACHE_1H] = u->cache_write_1h;
}

static void
charge(struct batch *b, const struct model_usage *u, const struct cost_rates *rates)
{
	int64_t n[COST_CLASSES], any = 0;

	batch_classes(u, n);
	for (int i = 0; i < COST_CLASSES; i++)
		any |= n[i];
	if (rates->known)
		b->token_nano += cost_of_tokens(rates, n);
	else if (any != 0)
		b->unpriced = true;
}

static void
usage_add(struct model_usage *sum, const struct model_usage *u)
{
	sum->input += u->input;
	sum->output += u->output;
	sum->cache_read += u->cache_read;
	sum->cache_write_5m += u->cache_write_5m;
	sum->cache_write_1h += u->cache_write_1h;
}

/* The stem becomes the body, which is not copied: it may be large. Stamping again replaces the end only. */
static void
finish(struct event *ev, const struct totals *after)
{
	char stamp[CLOCK_TEXT], end[CLOCK_TEXT + 32];
	int n = snprintf(end, sizeof(end), ",\"processed_at\":\"%s\"}", clock_format(ev->at_us, stamp));

	if (ev->stem == NULL && ev->stem_len == 0) {
		AUTO(str) char *usage = usage_stem(ev, after);

		free(ev->body);
		ev->body = xasprintf("%s%s", usage, end);
		return;
	}
	if (ev->stem != NULL) {
		ev->stem_len = strlen(ev->stem);
		ev->body = ev->stem;
		ev->stem = NULL;
	}
	ev->body = xrealloc(ev->body, ev->stem_len + (size_t)n + 1);
	memcpy(ev->body + ev->stem_len, end, (size_t)n + 1);
}

void
batch_stamp(struct batch *b, int64_t base_us, const struct totals *before)
{
	b->after = *before;
	b->token_nano = 0;
	b->unpriced = false;
	if (b->span_ev >= 0) {
		usage_add(&b->after.tokens, &b->tokens);
		usage_add(&b->after.tokens, &b->judged.usage);
		charge(b, &b->tokens, &b->rates);
		charge(b, &b->judged.usage, &b->judged.rates);
	}
	b->after.token_nano += b->token_nano;
	b->after.unpriced |= b->unpriced;
	for (int i = 0; i < b->nev; i++)
		b->ev[i].at_us = base_us + i;
	if (b->interval == INTERVAL_OPEN) {
		b->after.running_since_us = b->ev[b->interval_ev].at_us;
	} else if (b->interval == INTERVAL_CLOSE) {
		b->after.active_us += b->ev[b->interval_ev].at_us - before->running_since_us;
		b->after.running_since_us = 0;
	}
	for (int i = 0; i < b->nev; i++)
		finish(&b->ev[i], &b->after);
}

void
batch_truncate(struct batch *b, int nev)
{
	for (int i = nev; i < b->nev; i++) {
		free(b->ev[i].stem);
		free(b->ev[i].body);
		free(b->ev[i].fragment);
		free(b->ev[i].private);
	}
	b->nev = nev;
	b->status = NULL;
	b->paused = false;
	if (b->interval_ev >= nev) {
		b->interval = INTERVAL_KEEP;
		b->interval_ev = -1;
	}
}
