/*
 * busq: see busq.h. Fire and forget; what cannot be sent is dropped and counted, because everything in Redis is a hint and Postgres is
 * polled. What one session publishes before the loop waits is one entry: one command for Redis, one wake-up for its readers; the order of
 * a session's items is kept, that of sessions is not. Previews are in no log: each carries its number, so that a reader sees that one is
 * missing, wherever it was lost.
 */
#include "busq.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "redisq.h"
#include "xalloc.h"

#define OUTS_MAX 32		/* sessions that wait to be sent at a time */
#define HOLD_MS 10		/* how long a commit is waited for that belongs to what was said before it */

struct out {
	struct entry_pack pack;
	bool held;			/* waits for what comes next */
};

struct busq {
	struct redisq *q;
	int64_t dropped;
	struct loop *loop;
	struct loop_task send;
	struct loop_timer *patience;	/* while something is held */
	struct out outs[OUTS_MAX];	/* not sent yet: one per session, in the order of their first items; the others' memory is kept */
	int nouts;
	bool last;			/* everybody else had their turn in this round of the loop */
	uint64_t tag;			/* names this writer in the numbers of its previews */
	int64_t previews;		/* how many there were, sent or not: a reader sees a gap in the numbers */
};

static void
writer_reply(void *ctx, const redisReply *r)
{
	struct busq *b = ctx;

	if (r->type != REDIS_REPLY_ERROR)
		return;
	b->dropped++;
	log_debug("redis_error", "error", r->str, NULL);
}

static void
writer_state(void *ctx, bool up)
{
	(void)ctx;
	log_debug("redis_writer", "up", up ? "true" : "false", NULL);
}

static void
send_one(struct busq *b, struct out *o)
{
	struct entry_cmd cmd;

	entry_pack_cmd(&cmd, &o->pack, b->tag, b->previews + 1);
	b->previews += o->pack.previews;
	if (redisq_send(b->q, cmd.argc, cmd.argv, cmd.len) < 0)
		b->dropped += o->pack.n;
	entry_pack_reset(&o->pack);
	o->held = false;
}

/* What is not held, or all. Who is sent leaves its buffer behind the others. */
static void
send_outs(struct busq *b, bool all)
{
	int kept = 0;

	for (int i = 0; i < b->nouts; i++) {
		struct out o = b->outs[i];

		if (o.held && !all) {
			b->outs[i] = b->outs[kept];
			b->outs[kept++] = o;
			continue;
		}
		if (o.pack.n > 0)
			send_one(b, &b->outs[i]);
	}
	b->nouts = kept;
	if (kept == 0)
		loop_cancel(b->loop, &b->patience);
}

static void
on_patience(void *ctx)
{
	struct busq *b = ctx;

	b->patience = NULL;
	send_outs(b, true);
}

/* Behind whatever else is to be done before the loop waits: that may have more to tell, and Postgres is to work meanwhile. */
static void
on_send(void *ctx)
{
	struct busq *b = ctx;

	b->last = !b->last;
	if (b->last)
		loop_soon(b->loop, &b->send);
	else
		send_outs(b, false);
}

struct busq *
busq_new(struct loop *loop, const struct conf *c)
{
	struct busq *b = xcalloc(1, sizeof *b);

	while (b->tag == 0)
		must(getrandom(&b->tag, sizeof b->tag, 0) == sizeof b->tag);
	b->loop = loop;
	b->send = (struct loop_task){ .fn = on_send, .ctx = b };
	b->q = redisq_new(loop, c, writer_reply, writer_state, b);
	redisq_quiet(b->q);
	return b;
}

void
busq_free(struct busq **bp)
{
	struct busq *b = *bp;

	if (!b)
		return;
	*bp = NULL;
	loop_not(b->loop, &b->send);
	loop_cancel(b->loop, &b->patience);
	redisq_free(&b->q);
	for (int i = 0; i < OUTS_MAX; i++)
		buf_free(&b->outs[i].pack.text);
	free(b);
}

/* The session's own, NULL: it has none. The latest is the likeliest. */
static struct out *
out_of(struct busq *b, const char *session)
{
	for (int i = b->nouts - 1; i >= 0; i--)
		if (strcmp(b->outs[i].pack.session, session) == 0)
			return &b->outs[i];
	return NULL;
}

void
busq_publish(struct busq *b, const char *session, const char *type, int64_t seq, const char *body, size_t len)
{
	struct out *o = out_of(b, session);

	FAILPOINT(PUBLISH);
	if (!o) {
		if (b->nouts == OUTS_MAX)
			send_outs(b, true);
		o = &b->outs[b->nouts++];
	}
	if (!entry_pack_add(&o->pack, session, type, seq, body, len)) {
		send_one(b, o);
		(void)entry_pack_add(&o->pack, session, type, seq, body, len);
	}
	o->held = false;
	loop_soon(b->loop, &b->send);
}

/* What is left of it in the list is empty, and goes with the next round of sending. */
void
busq_now(struct busq *b, const char *session)
{
	struct out *o = out_of(b, session);

	if (o)
		send_one(b, o);
}

void
busq_hold(struct busq *b, const char *session, bool events_too)
{
	struct out *o = out_of(b, session);

	if (!o || (o->pack.seq > 0 && !events_too))
		return;
	o->held = true;
	if (!b->patience)
		b->patience = loop_after(b->loop, HOLD_MS, on_patience, b);
}

bool
busq_up(const struct busq *b)
{
	return redisq_up(b->q);
}

int64_t
busq_dropped(const struct busq *b)
{
	return b->dropped;
}
