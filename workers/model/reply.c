/*
 * reply: see reply.h. Promises: what done() shows is exactly the concatenation of what text() told, tool inputs are the provider's
 * bytes or "{}", never a re-dump, and the memory of one part is bounded by max_bytes. It knows no provider.
 */
#include "reply.h"

#include <stdlib.h>
#include <string.h>

#include "jspan.h"
#include "jw.h"
#include "xalloc.h"

#define EXPLANATION_MAX 4096

void
reply_init(struct reply *r, size_t max_bytes, const struct model_events *ev, void *ctx)
{
	*r = (struct reply){ .ev = ev, .ctx = ctx, .max = max_bytes, .category = BUF_INIT(64), .explanation = BUF_INIT(EXPLANATION_MAX) };
}

void
reply_reset(struct reply *r)
{
	struct reply fresh = { .ev = r->ev, .ctx = r->ctx, .max = r->max, .thinking_told = r->thinking_told, .dead = r->dead,
	    .category = BUF_INIT(64), .explanation = BUF_INIT(EXPLANATION_MAX) };

	reply_free(r);
	*r = fresh;
}

void
reply_free(struct reply *r)
{
	for (int i = 0; i < r->nparts; i++) {
		buf_free(&r->parts[i].text);
		buf_free(&r->parts[i].name);
		buf_free(&r->parts[i].id);
		buf_free(&r->parts[i].signature);
	}
	free(r->parts);
	buf_free(&r->category);
	buf_free(&r->explanation);
	r->parts = NULL;
	r->nparts = 0;
}

int64_t
reply_tokens(const struct reply *r)
{
	size_t bytes = 0;

	for (int i = 0; i < r->nparts; i++)
		bytes += r->parts[i].text.len + r->parts[i].name.len;
	return (int64_t)(bytes / 4);
}

int
reply_thinking(struct reply *r)
{
	r->begun = true;
	if (r->thinking_told)
		return REPLY_OK;
	r->thinking_told = true;
	if (r->ev->thinking)
		r->ev->thinking(r->ctx);
	return r->dead ? REPLY_STOP : REPLY_OK;
}

int
reply_open(struct reply *r, enum model_block_kind kind)
{
	struct reply_part *part;

	if (r->nparts >= REPLY_PARTS_MAX)
		return REPLY_OVER;
	r->begun = true;
	r->parts = xrealloc(r->parts, (size_t)(r->nparts + 1) * sizeof(*r->parts));
	part = &r->parts[r->nparts++];
	*part = (struct reply_part){
		.kind = kind, .index = -1, .text = BUF_INIT(r->max), .name = BUF_INIT(256), .id = BUF_INIT(256), .signature = BUF_INIT(r->max)
	};
	if (kind == MODEL_THINKING && reply_thinking(r) < 0)
		return REPLY_STOP;
	return r->nparts - 1;
}

/* One piece without NUL. */
static int
tell(struct reply *r, struct reply_part *part, const char *text, size_t len)
{
	if (r->dead)
		return REPLY_STOP;
	if (!len)
		return REPLY_OK;
	if (part->index < 0)
		part->index = r->ntexts++;
	buf_put(&part->text, text, len);
	if (part->text.over)
		return REPLY_OVER;
	if (r->ev->text)
		r->ev->text(r->ctx, part->index, text, len);
	return r->dead ? REPLY_STOP : REPLY_OK;
}

int
reply_text(struct reply *r, int part, const char *text, size_t len)
{
	while (len) {
		const char *nul = memchr(text, '\0', len);
		size_t n = nul ? (size_t)(nul - text) : len;
		int rc = tell(r, &r->parts[part], text, n);

		if (!rc && nul)
			rc = tell(r, &r->parts[part], "\xef\xbf\xbd", 3);
		if (rc)
			return rc;
		text += n + (nul != NULL);
		len -= n + (nul != NULL);
	}
	return REPLY_OK;
}

/* The block a provider wants to see again, as text. */
static void
thinking_raw(const struct reply_part *part, struct buf *raw)
{
	struct jw w;

	jw_begin(&w, raw);
	jw_obj(&w);
	jw_kstr(&w, "type", part->redacted ? "redacted_thinking" : "thinking");
	if (!part->redacted) {
		jw_key(&w, "thinking");
		jw_strn(&w, part->text.data ? part->text.data : "", part->text.len);
	}
	jw_key(&w, part->redacted ? "data" : "signature");
	jw_strn(&w, part->signature.data ? part->signature.data : "", part->signature.len);
	jw_obj_end(&w);
	jw_end(&w);
}

/* The tool's input as it is shown: a call without any input text is an empty object. */
static const char *
input_text(const struct reply_part *part, bool *bad)
{
	const char *p = part->text.data ? part->text.data : "";

	*bad = part->cut;
	if (!*bad && part->text.len == strspn(p, " \t\r\n"))
		return "{}";
	if (!*bad)
		*bad = !jspan_check_object(p, part->text.len, REPLY_INPUT_DEPTH);
	return *bad ? "{}" : p;
}

/* Fill one block from its part. false: nothing to show. */
static bool
block_fill(struct model_block *b, const struct reply_part *part, struct buf *raw)
{
	*b = (struct model_block){ .kind = part->kind, .text = part->text.data ? part->text.data : "" };
	switch (part->kind) {
	case MODEL_TEXT:
		return part->text.len > 0;
	case MODEL_THINKING:
		if (part->signature.len) {
			thinking_raw(part, raw);
			b->raw = raw->data;
		}
		return true;
	case MODEL_TOOL_USE:
		b->text = input_text(part, &b->bad_input);
		b->name = part->name.data ? part->name.data : "";
		b->provider_id = part->id.data ? part->id.data : "";
		return true;
	}
	return false;
}

/* The categories that the wire knows; what a provider invents is none. */
static const char *
category(const char *said)
{
	static const char *const known[] = { "cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms" };

	for (size_t i = 0; said != NULL && i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(said, known[i]))
			return known[i];
	return NULL;
}

/* stop_details of a refusal. The caller frees. */
static char *
refusal(const struct reply *r)
{
	bool said = r->explanation.len > 0 && !r->explanation.over;
	struct buf out = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &out);
	jw_obj(&w);
	jw_kstr(&w, "type", "refusal");
	jw_kstr(&w, "category", r->category.over ? NULL : category(r->category.data));
	jw_kstr(&w, "explanation", said ? r->explanation.data : NULL);
	jw_obj_end(&w);
	jw_end(&w);
	return buf_steal(&out);
}

struct model_reply *
model_reply_copy(const struct model_reply *r)
{
	struct model_reply *c = xcalloc(1, sizeof(*c));

	*c = *r;
	c->blocks = xcalloc((size_t)r->nblocks + 1, sizeof(*c->blocks));
	for (int i = 0; i < r->nblocks; i++) {
		const struct model_block *b = &r->blocks[i];

		c->blocks[i] = (struct model_block){ .kind = b->kind, .text = xstrdup_opt(b->text), .name = xstrdup_opt(b->name),
		    .provider_id = xstrdup_opt(b->provider_id), .raw = xstrdup_opt(b->raw), .bad_input = b->bad_input };
	}
	c->request_id = xstrdup_opt(r->request_id);
	c->refusal = xstrdup_opt(r->refusal);
	return c;
}

static void
drop(const char *s)
{
	free((char *)(uintptr_t)s);
}

void
model_reply_free(struct model_reply **rp)
{
	struct model_reply *r = *rp;

	if (!r)
		return;
	for (int i = 0; i < r->nblocks; i++) {
		drop(r->blocks[i].text);
		drop(r->blocks[i].name);
		drop(r->blocks[i].provider_id);
		drop(r->blocks[i].raw);
	}
	free(r->blocks);
	drop(r->request_id);
	drop(r->refusal);
	free(r);
	*rp = NULL;
}

void
reply_done(struct reply *r, const char *request_id)
{
	struct model_block *blocks = xcalloc((size_t)r->nparts + 1, sizeof(*blocks));
	struct buf *raws = xcalloc((size_t)r->nparts + 1, sizeof(*raws));
	struct model_reply reply = { .blocks = blocks, .stop = r->stop, .usage = r->usage, .request_id = request_id };
	char *details = NULL;
	bool calls = false;
	int nparts = r->nparts;

	for (int i = 0; i < nparts; i++) {
		if (!block_fill(&blocks[reply.nblocks], &r->parts[i], &raws[i]))
			continue;
		calls |= r->parts[i].kind == MODEL_TOOL_USE;
		reply.nblocks++;
	}
	if (calls && reply.stop != MODEL_REFUSAL)
		reply.stop = MODEL_TOOL_CALLS;
	else if (!calls && reply.stop == MODEL_TOOL_CALLS)
		reply.stop = MODEL_END_TURN;
	if (reply.stop == MODEL_REFUSAL)
		reply.refusal = details = refusal(r);
	r->ev->done(r->ctx, &reply);
	free(details);
	for (int i = 0; i < nparts; i++)
		buf_free(&raws[i]);
	free(raws);
	free(blocks);
}
