/*
 * batch_stamp: the time of an append's events, and what the session has used and spent after it (batch.h).
 *
 * Pure. May run again with a later base: only the ends of the bodies and the totals are written anew, so a batch that the database refused
 * for its stamps is not built twice. A session.usage is rendered here, when the totals are known.
 */
#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "jw.h"
#include "xalloc.h"

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
