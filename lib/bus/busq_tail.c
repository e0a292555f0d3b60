/*
 * busq_tail: see busq_tail.h. XREAD BLOCK with an explicit last id, kept across reconnects; many a second are read many at a time, a
 * millisecond late. The next read is asked for when what the last one led to has been sent: on a busy processor Redis would be served
 * before it. The first id, and a check of the present one at each connect and each silent round, come from XREVRANGE + - COUNT 1: a
 * stream whose newest id is below ours was flushed; then everything in it is news, it is read from its beginning, and `state` reports a
 * loss. `$` is never used: it loses what comes between two reads.
 */
#include "busq_tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "redisq.h"
#include "xalloc.h"

#define BLOCK_MS "2000"
#define BATCH "200"
#define FIELDS 16
#define RUSH_READS 8		/* with less than RUSH_MS between them: wait so long before the next */
#define RUSH_MS 1

struct stream_id { uint64_t ms, n; };

struct busq_tail {
	struct redisq *q;
	struct loop *loop;
	struct loop_timer *pause;	/* before the next read */
	struct loop_task next;		/* the next read, */
	bool last;			/* and everybody else had their turn in this round of the loop */
	int64_t pace_ms;
	int64_t read_us;		/* when the last entries came */
	int in_a_row;			/* reads that followed each other at once */
	char *stream;
	struct stream_id at;		/* newest entry handed over */
	busq_entry_fn *entry;
	busq_state_fn *state;
	void *ctx;
	bool known;			/* `at` is set */
	bool checking;			/* the next reply is XREVRANGE's */
	bool live;			/* what state was told last */
};

static int
id_parse(const char *text, struct stream_id *out)
{
	char *end, *last;

	out->ms = strtoull(text, &end, 10);
	if (end == text || *end != '-')
		return -1;
	out->n = strtoull(end + 1, &last, 10);
	return last == end + 1 ? -1 : 0;
}

static bool
id_below(struct stream_id a, struct stream_id b)
{
	return a.ms < b.ms || (a.ms == b.ms && a.n < b.n);
}

static void
tell(struct busq_tail *t, bool live)
{
	if (t->live == live)
		return;
	t->live = live;
	if (t->state)
		t->state(t->ctx, live);
}

static void
send_read(struct busq_tail *t)
{
	char id[48];

	t->checking = false;
	snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, t->at.ms, t->at.n);
	redisq_send(t->q, 8, (const char *const[]){ "XREAD", "COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", t->stream, id }, NULL);
}

/* Behind what the entries have led to, a statement for Postgres above all. */
static void
on_next(void *ctx)
{
	struct busq_tail *t = ctx;

	t->last = !t->last;
	if (t->last)
		loop_soon(t->loop, &t->next);
	else
		send_read(t);
}

static void
on_pause_over(void *ctx)
{
	struct busq_tail *t = ctx;

	t->pause = NULL;
	send_read(t);
}

static void
send_check(struct busq_tail *t)
{
	t->checking = true;
	redisq_send(t->q, 6, (const char *const[]){ "XREVRANGE", t->stream, "+", "-", "COUNT", "1" }, NULL);
}

/* The newest entry's id arrived: learn where to start, or see that the stream is not the one we knew. */
static void
on_check(struct busq_tail *t, const redisReply *r)
{
	struct stream_id newest = { 0, 0 };

	if (r->type != REDIS_REPLY_ARRAY) {
		redisq_drop(t->q);
		return;
	}
	if (r->elements == 1 && (r->element[0]->type != REDIS_REPLY_ARRAY || r->element[0]->elements < 1 ||
	    id_parse(r->element[0]->element[0]->str, &newest) < 0)) {
		redisq_drop(t->q);
		return;
	}
	if (!t->known) {
		t->known = true;
		t->at = newest;
	} else if (id_below(newest, t->at)) {
		tell(t, false);
		t->at = (struct stream_id){ 0, 0 };
	}
	tell(t, true);
	send_read(t);
}

static int
on_entry(struct busq_tail *t, const redisReply *e)
{
	struct busq_field f[FIELDS];
	const redisReply *kv;
	int n = 0;

	if (e->type != REDIS_REPLY_ARRAY || e->elements != 2 || e->element[0]->type != REDIS_REPLY_STRING ||
	    id_parse(e->element[0]->str, &t->at) < 0)
		return -1;
	kv = e->element[1];
	if (kv->type != REDIS_REPLY_ARRAY)
		return 0;		/* deleted while we read */
	for (size_t i = 0; i + 1 < kv->elements && n < FIELDS; i += 2)
		f[n++] = (struct busq_field){ kv->element[i]->str, kv->element[i + 1]->str, (size_t)kv->element[i + 1]->len };
	t->entry(t->ctx, f, n);
	return 0;
}

/*
 * Entries that come one by one, each soon after the other, cost a round trip each: then they are left to gather for a moment, as long as
 * more than one does.
 */
static void
rush(struct busq_tail *t, size_t n)
{
	int64_t now = clock_mono_us(), since = now - t->read_us;

	t->read_us = now;
	if (t->in_a_row > RUSH_READS ? n > 1 : since < (int64_t)RUSH_MS * 1000)
		t->in_a_row += t->in_a_row <= RUSH_READS;
	else
		t->in_a_row = 0;
}

/* XREAD: [[stream, [entry, ...]]], or nil after a silent round. */
static void
on_read(struct busq_tail *t, const redisReply *r)
{
	const redisReply *entries;

	if (r->type == REDIS_REPLY_NIL) {
		send_check(t);
		return;
	}
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 1 || r->element[0]->type != REDIS_REPLY_ARRAY ||
	    r->element[0]->elements != 2 || r->element[0]->element[1]->type != REDIS_REPLY_ARRAY) {
		redisq_drop(t->q);
		return;
	}
	entries = r->element[0]->element[1];
	for (size_t i = 0; i < entries->elements; i++)
		if (on_entry(t, entries->element[i]) < 0) {
			redisq_drop(t->q);
			return;
		}
	rush(t, entries->elements);
	if (t->pace_ms > 0 || t->in_a_row > RUSH_READS)
		t->pause = loop_after(t->loop, t->pace_ms > 0 ? t->pace_ms : RUSH_MS, on_pause_over, t);
	else
		loop_soon(t->loop, &t->next);
}

static void
tail_reply(void *ctx, const redisReply *r)
{
	struct busq_tail *t = ctx;

	if (r->type == REDIS_REPLY_ERROR) {
		log_debug("redis_tail", "error", r->str, NULL);
		redisq_drop(t->q);
	} else if (t->checking)
		on_check(t, r);
	else
		on_read(t, r);
}

static void
stop_reading(struct busq_tail *t)
{
	loop_cancel(t->loop, &t->pause);
	loop_not(t->loop, &t->next);
	t->last = false;
}

static void
tail_state(void *ctx, bool up)
{
	struct busq_tail *t = ctx;

	stop_reading(t);
	if (up)
		send_check(t);
	else
		tell(t, false);
}

struct busq_tail *
busq_tail_new(struct loop *loop, const struct conf *c, const char *stream, busq_entry_fn *entry, busq_state_fn *state, void *ctx)
{
	struct busq_tail *t = xcalloc(1, sizeof *t);

	t->loop = loop;
	t->stream = xstrdup(stream);
	t->entry = entry;
	t->state = state;
	t->ctx = ctx;
	t->next = (struct loop_task){ .fn = on_next, .ctx = t };
	t->q = redisq_new(loop, c, tail_reply, tail_state, t);
	return t;
}

void
busq_tail_pace(struct busq_tail *t, int64_t ms)
{
	t->pace_ms = ms;
	if (ms > 0 || t->pause == NULL)
		return;
	loop_cancel(t->loop, &t->pause);
	send_read(t);
}

void
busq_tail_free(struct busq_tail **tp)
{
	struct busq_tail *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	stop_reading(t);
	redisq_free(&t->q);
	free(t->stream);
	free(t);
}
