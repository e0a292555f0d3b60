/*
 * scripted: see scripted.h for the grammar, which is an interface: tests, demos and load runs of others rest on it.
 *
 * It reads the same items as the providers' adapters and produces the same reply parts: one text part with all spoken lines of the
 * step, then the calls in line order. Inputs are copied as text; an invalid one becomes a call with bad input, as from any model.
 * No network, no clock, no randomness.
 */
#include "scripted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "jspan.h"
#include "xalloc.h"

#define SPACE " \t\r\n"
#define BUILT_IN "roost-scripted"
#define WORDS_AT_ONCE 24	/* said before the loop serves others */
#define STEPS "Steps of the latest message played: "

/* ---- what the context says ---- */

static int64_t
words(const char *p, size_t len)
{
	int64_t n = 0;
	bool in = false;

	for (size_t i = 0; i < len; i++) {
		bool space = p[i] == ' ' || (p[i] >= '\t' && p[i] <= '\r');

		n += !space && !in;
		in = !space;
	}
	return n;
}

/* Words of a block: of its text, its input, its result's text. */
static int64_t
block_words(const struct context_block *b)
{
	AUTO(buf) struct buf text = { 0 };
	struct jspan v, block, inner;
	struct jspan_iter it;

	switch (b->kind) {
	case CONTEXT_TEXT:
		if (jspan_get(b->text, "text", &v))
			jspan_unquote(&text, v);
		break;
	case CONTEXT_TOOL_USE:
		if (jspan_get(b->text, "input", &v))
			buf_put(&text, v.p, v.n);
		break;
	case CONTEXT_TOOL_RESULT:
		if (!jspan_get(b->text, "content", &v))
			break;
		jspan_unquote(&text, v);
		for (it = jspan_array(v); jspan_next(&it, &block);) {
			if (jspan_get(block, "text", &inner))
				jspan_unquote(&text, inner);
			buf_ch(&text, '\n');
		}
		break;
	default:
		break;
	}
	return words(text.data ? text.data : "", text.len);
}

/* Does the item hold anything but tool results? Then it is (part of) a user's message. */
static bool
is_message(const struct model_item *item)
{
	struct jspan_iter it = jspan_list(item->blocks, item->len);
	struct jspan block, type;

	while (jspan_next(&it, &block)) {
		if (jspan_get(block, "type", &type) && !jspan_is(type, "tool_result"))
			return true;
	}
	return false;
}

/* Is this block what stands for a summarised past? */
static bool
is_summary(struct jspan text)
{
	return text.n > sizeof(MODEL_SUMMARY_OPEN) && memcmp(text.p + 1, MODEL_SUMMARY_OPEN, sizeof(MODEL_SUMMARY_OPEN) - 1) == 0;
}

/* Our own words in it. */
static int
played(struct jspan text)
{
	const char *at = memmem(text.p, text.n, STEPS, sizeof(STEPS) - 1);

	return at != NULL ? atoi(at + sizeof(STEPS) - 1) : 0;
}

/* The text of the latest user message, its blocks as paragraphs of their own; *out_step: which step is due. A message that a summary
 * carries along goes on where the summary says. */
static void
latest_message(const struct model_request *rq, struct buf *out, int *out_step)
{
	struct jspan_iter it;
	struct jspan block, type, text;
	int at = rq->nitems - 1;

	*out_step = 1;
	while (at >= 0 && !(rq->items[at].role == 'u' && is_message(&rq->items[at])))
		at--;
	if (at < 0)
		return;
	for (int i = at + 1; i < rq->nitems; i++)
		*out_step += rq->items[i].role == 'a' && rq->items[i - 1].role != 'a';
	it = jspan_list(rq->items[at].blocks, rq->items[at].len);
	while (jspan_next(&it, &block)) {
		if (!jspan_get(block, "type", &type) || !jspan_is(type, "text") || !jspan_get(block, "text", &text))
			continue;
		if (is_summary(text)) {
			*out_step += played(text);
			continue;
		}
		if (out->len)
			buf_str(out, "\n\n");
		jspan_unquote(out, text);
	}
}

/* Is this the request for a summary? Then the question is left out of *rq. */
static bool
asks_summary(struct model_request *rq)
{
	struct jspan text;

	if (rq->nitems == 0 || !jspan_get((struct jspan){ rq->items[rq->nitems - 1].blocks, rq->items[rq->nitems - 1].len }, "text", &text) ||
	    text.n <= sizeof(MODEL_SUMMARY_ASK) || memcmp(text.p + 1, MODEL_SUMMARY_ASK, sizeof(MODEL_SUMMARY_ASK) - 1) != 0)
		return false;
	rq->nitems--;
	return true;
}

/* ---- judging ---- */

/* The string at key of object; "" when there is none. */
static void
string_at(struct jspan object, const char *key, struct buf *out)
{
	struct jspan v;

	buf_str(out, "");
	if (jspan_get(object, key, &v))
		jspan_unquote(out, v);
}

/* What a line `judge <tool> <answer>` of the text answers for this tool, the last one; to out, which is replaced. */
static void
judge_line(const char *text, const char *tool, struct buf *out)
{
	AUTO(str) char *head = xasprintf("judge %s ", tool);
	size_t n = strlen(head);

	for (const char *p = text; p != NULL && *p != '\0'; p = strchr(p, '\n'), p += p != NULL) {
		if (strncmp(p, head, n) != 0)
			continue;
		out->len = 0;
		buf_put(out, p + n, strcspn(p + n, "\n"));
	}
}

static void
judge(struct script *s, const struct model_request *rq)
{
	AUTO(buf) struct buf doc = { 0 }, tool = { 0 };
	struct jspan item = { rq->items[0].blocks, rq->items[0].len }, all, call, list, message;
	struct jspan_iter it;

	buf_str(&s->speech, "allow");
	string_at(item, "text", &doc);
	it = jspan_list(doc.data, doc.len);
	if (!jspan_next(&it, &all) || !jspan_get(all, "call", &call) || !jspan_get(all, "user_messages", &list))
		return;
	string_at(call, "tool", &tool);
	for (it = jspan_array(list); jspan_next(&it, &message);) {
		AUTO(buf) struct buf text = { 0 };

		buf_str(&text, "");
		jspan_unquote(&text, message);
		judge_line(text.data, tool.data, &s->speech);
	}
}

/* ---- the grammar ---- */

/* The next line of [*p, end), without its newline and surrounding space. false at the end. */
static bool
next_line(const char **p, const char *end, const char **line, size_t *len)
{
	const char *nl, *stop;

	if (*p >= end)
		return false;
	nl = memchr(*p, '\n', (size_t)(end - *p));
	stop = nl ? nl : end;
	*line = *p;
	*p = nl ? nl + 1 : end;
	while (*line < stop && strchr(SPACE, **line))
		(*line)++;
	while (stop > *line && strchr(SPACE, stop[-1]))
		stop--;
	*len = (size_t)(stop - *line);
	return true;
}

/* `<name of an offered tool> {...`: the tool and where its input begins. */
static const struct model_tool *
tool_line(const struct model_request *rq, const char *line, size_t len, const char **input)
{
	for (int i = 0; i < rq->ntools; i++) {
		size_t n = strlen(rq->tools[i].name), at = n;

		if (len <= n || memcmp(line, rq->tools[i].name, n))
			continue;
		while (at < len && (line[at] == ' ' || line[at] == '\t'))
			at++;
		if (at == n || at >= len || line[at] != '{')
			continue;
		*input = line + at;
		return &rq->tools[i];
	}
	return NULL;
}

static bool
has_tool_line(const struct model_request *rq, const char *text, size_t text_len)
{
	const char *p = text, *line, *input;
	size_t len;

	while (next_line(&p, text + text_len, &line, &len)) {
		if (tool_line(rq, line, len, &input))
			return true;
	}
	return false;
}

static void
add_call(struct script *s, const char *name, const char *input, size_t len)
{
	s->calls = xrealloc(s->calls, (size_t)(s->ncalls + 1) * sizeof(*s->calls));
	s->calls[s->ncalls++] = (struct script_call){ xstrdup(name), xstrndup(input, len) };
	s->words_out += 1 + words(input, len);
}

/* Paragraph number `step` (from 1). false: there is none. */
static bool
play_paragraph(struct script *s, const struct model_request *rq, const char *text, size_t text_len, int step)
{
	const char *p = text, *line, *input;
	bool inside = false, found = false;
	int number = 0;
	size_t len;

	while (next_line(&p, text + text_len, &line, &len)) {
		const struct model_tool *tool;

		if (!len) {
			inside = false;
			continue;
		}
		number += !inside;
		inside = true;
		if (number != step)
			continue;
		found = true;
		tool = tool_line(rq, line, len, &input);
		if (tool) {
			add_call(s, tool->name, input, (size_t)(line + len - input));
			continue;
		}
		if (s->speech.len)
			buf_ch(&s->speech, '\n');
		buf_put(&s->speech, line, len);
	}
	return found;
}

#define GRADE_SATISFIED "{\"result\":\"satisfied\",\"explanation\":\"The rubric asks for nothing else.\"}"

/* Is this the request for a verdict? Then the paragraph of the rubric for this evaluation is played. */
static bool
grades(const struct model_request *rq, const char *said, int *out_step)
{
	if (rq->ntools != 1 || strcmp(rq->tools[0].name, MODEL_GRADE_TOOL) || strncmp(said, MODEL_GRADE_OPEN, sizeof(MODEL_GRADE_OPEN) - 1))
		return false;
	*out_step = atoi(said + sizeof(MODEL_GRADE_OPEN) - 1);
	return true;
}

void
script_make(struct script *s, const struct model_request *rq)
{
	AUTO(buf) struct buf text = { 0 };
	struct model_request shown = *rq;
	bool summary = asks_summary(&shown);
	struct context c;
	const char *said;
	int step;

	*s = (struct script){ 0 };
	latest_message(&shown, &text, &step);
	said = text.data ? text.data : "";
	if (rq->system && rq->nitems == 1 && !strncmp(rq->system, MODEL_JUDGE_OPEN, sizeof(MODEL_JUDGE_OPEN) - 1)) {
		judge(s, rq);
	} else if (grades(rq, said, &step)) {
		(void)play_paragraph(s, rq, said, text.len, step);
		if (s->ncalls == 0)
			add_call(s, MODEL_GRADE_TOOL, GRADE_SATISFIED, sizeof(GRADE_SATISFIED) - 1);
	} else if (summary) {
		buf_printf(&s->speech, "A conversation of %d items. " STEPS "%d.", shown.nitems, step - 1);
	} else if (!has_tool_line(rq, said, text.len)) {
		if (strcmp(rq->model_id, BUILT_IN))
			buf_printf(&s->speech, "I am the scripted model built into Roost, standing in for %s.", rq->model_id);
		else
			buf_str(&s->speech, "I am " BUILT_IN ", the scripted model built into Roost.");
		buf_printf(&s->speech, " You said: %s", said);
	} else if (!play_paragraph(s, rq, said, text.len, step)) {
		buf_str(&s->speech, "Done.");
	}
	if (s->speech.data)
		s->words_out += words(s->speech.data, s->speech.len);
	if (rq->system)
		s->words_in += words(rq->system, strlen(rq->system));
	context_build(&c, rq);
	for (size_t i = 0; i < c.n; i++)
		s->words_in += block_words(&c.blocks[i]);
	context_free(&c);
}

void
script_free(struct script *s)
{
	for (int i = 0; i < s->ncalls; i++) {
		free(s->calls[i].name);
		free(s->calls[i].input);
	}
	free(s->calls);
	buf_free(&s->speech);
	*s = (struct script){ 0 };
}

/* ---- playing ---- */

struct script_play {
	struct loop *loop;
	struct loop_task first;		/* the first words are there at once */
	struct loop_timer *timer;
	const struct script *s;
	struct reply *r;
	void (*finished)(void *ctx, int rc);
	void *ctx;
	size_t at;
	int part;
};

/* All calls at once, the way a provider ends its stream. */
static int
put_calls(struct script_play *p)
{
	for (int i = 0; i < p->s->ncalls; i++) {
		int part = reply_open(p->r, MODEL_TOOL_USE);

		if (part < 0)
			return part;
		buf_str(&p->r->parts[part].name, p->s->calls[i].name);
		buf_str(&p->r->parts[part].text, p->s->calls[i].input);
		buf_printf(&p->r->parts[part].id, "scripted_%d", i);
	}
	p->r->usage = (struct model_usage){ .input = p->s->words_in, .output = p->s->words_out };
	p->r->stop = p->s->ncalls ? MODEL_TOOL_CALLS : MODEL_END_TURN;
	return REPLY_OK;
}

/* One word with the space behind it. The callback may stop the play, so p is looked at only when this does not return REPLY_STOP. */
static int
say_word(struct script_play *p)
{
	const struct buf *speech = &p->s->speech;
	size_t from = p->at, to = from;
	int rc = REPLY_OK;

	to += strspn(speech->data + to, SPACE);
	to += strcspn(speech->data + to, SPACE);
	to += strspn(speech->data + to, SPACE);
	p->at = to;
	if (p->part < 0)
		p->part = rc = reply_open(p->r, MODEL_TEXT);
	return rc < 0 ? rc : reply_text(p->r, p->part, speech->data + from, to - from);
}

/* Some words, as they come in one packet from a provider. */
static void
on_words(void *ctx)
{
	struct script_play *p = ctx;
	int rc = REPLY_OK;

	p->timer = NULL;
	for (int i = 0; i < WORDS_AT_ONCE && p->at < p->s->speech.len && rc >= 0; i++)
		if ((rc = say_word(p)) == REPLY_STOP)
			return;
	if (rc >= 0 && p->at < p->s->speech.len) {
		p->timer = loop_after(p->loop, 0, on_words, p);
		return;
	}
	if (rc >= 0)
		rc = put_calls(p);
	p->finished(p->ctx, rc);
}

struct script_play *
script_start(struct loop *loop, const struct script *s, struct reply *r, void (*finished)(void *ctx, int rc), void *ctx)
{
	struct script_play *p = xcalloc(1, sizeof(*p));

	*p = (struct script_play){ .loop = loop, .s = s, .r = r, .finished = finished, .ctx = ctx, .part = -1 };
	p->first = (struct loop_task){ .fn = on_words, .ctx = p };
	loop_soon(loop, &p->first);
	return p;
}

void
script_stop(struct script_play **p)
{
	if (*p) {
		loop_cancel((*p)->loop, &(*p)->timer);
		loop_not((*p)->loop, &(*p)->first);
		free(*p);
	}
	*p = NULL;
}
