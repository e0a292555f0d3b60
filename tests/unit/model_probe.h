/*
 * model_probe: what a model call told, as one line of text that a table can name.
 *
 *   "K T0<hello world> | end_turn [text hello world] [tool bash {"a":1}] u=3/2/0/0/0"
 *
 * K: thinking was told. T<n><..>: text deltas of text block n, joined. Behind the bar: the reply's stop, blocks and usage (input,
 * output, cache read, 5 m, 1 h; "unknown"), or "fail TYPE retry|final [terminal] after=MS http=N: message". A tool with "!" has bad input.
 */
#ifndef ROOST_TESTS_MODEL_PROBE_H
#define ROOST_TESTS_MODEL_PROBE_H

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "model.h"

struct probe {
	struct buf told;
	int open;		/* the text block whose bracket is open, or -1 */
	int deltas, ends;
	bool retryable;
	void (*on_text)(void *ctx);	/* called after each delta, when set */
	void (*on_end)(void *ctx);
	void *ctx;
};

static void
probe_close(struct probe *p)
{
	if (p->open >= 0)
		buf_str(&p->told, "> ");
	p->open = -1;
}

static void
probe_text(void *ctx, int index, const char *text, size_t len)
{
	struct probe *p = ctx;

	if (p->open != index) {
		probe_close(p);
		buf_printf(&p->told, "T%d<", index);
		p->open = index;
	}
	buf_put(&p->told, text, len);
	p->deltas++;
	if (p->on_text)
		p->on_text(p->ctx);
}

static void
probe_thinking(void *ctx)
{
	struct probe *p = ctx;

	probe_close(p);
	buf_str(&p->told, "K ");
}

static void
probe_done(void *ctx, const struct model_reply *r)
{
	static const char *const stops[] = { "end_turn", "tool_calls", "max_tokens", "refusal" };
	struct probe *p = ctx;

	probe_close(p);
	buf_printf(&p->told, "| %s", stops[r->stop]);
	for (int i = 0; i < r->nblocks; i++) {
		const struct model_block *b = &r->blocks[i];

		if (b->kind == MODEL_TEXT)
			buf_printf(&p->told, " [text %s]", b->text);
		else if (b->kind == MODEL_THINKING)
			buf_printf(&p->told, " [think %s]", b->raw ? b->raw : "-");
		else
			buf_printf(&p->told, " [tool %s %s%s]", b->name, b->text, b->bad_input ? "!" : "");
	}
	if (r->usage.unknown)
		buf_str(&p->told, " u=unknown");
	else
		buf_printf(&p->told, " u=%d/%d/%d/%d/%d", (int)r->usage.input, (int)r->usage.output, (int)r->usage.cache_read,
		    (int)r->usage.cache_write_5m, (int)r->usage.cache_write_1h);
	p->ends++;
	if (p->on_end)
		p->on_end(p->ctx);
}

static void
probe_fail(void *ctx, const struct model_failure *f)
{
	struct probe *p = ctx;

	probe_close(p);
	buf_printf(&p->told, "| fail %s %s%s", f->type, f->retryable ? "retry" : "final", f->terminal ? " terminal" : "");
	if (f->retry_after_ms)
		buf_printf(&p->told, " after=%d", (int)f->retry_after_ms);
	if (f->http)
		buf_printf(&p->told, " http=%d", f->http);
	buf_printf(&p->told, ": %s", f->message);
	if (f->took_known)
		buf_printf(&p->told, " u=%d/%d/%d/%d/%d", (int)f->took.input, (int)f->took.output, (int)f->took.cache_read,
		    (int)f->took.cache_write_5m, (int)f->took.cache_write_1h);
	p->retryable = f->retryable;
	p->ends++;
	if (p->on_end)
		p->on_end(p->ctx);
}

static const struct model_events probe_events = { .text = probe_text, .thinking = probe_thinking, .done = probe_done, .fail = probe_fail };

__attribute__((unused)) static void
probe_reset(struct probe *p)
{
	buf_free(&p->told);
	*p = (struct probe){ .open = -1 };
}

/* An item of one role from its blocks. */
#define PROBE_ITEM(r, text) { (r), (text), sizeof(text) - 1 }

#endif
