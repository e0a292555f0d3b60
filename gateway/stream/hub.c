/*
 * hub: see hub.h. Order and previews are hub_watch's, descriptors hub_io's, reads of the log hub_feed's; here are subscribers and time: who
 * comes and goes, when what is read, compared, pinged.
 *
 * Promises: the loop thread never blocks; whatever was committed reaches every open stream within sse_ping_ms, even when Redis or
 * the publisher died, because each round compares with the log; a key that would not be let in any more loses its streams in the
 * same time. Never writes to Postgres or Redis. Fails by closing a stream: clients reconnect, list and de-duplicate (contract 3.9).
 */
#include "hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "busq_tail.h"
#include "clock.h"
#include "failpoint.h"
#include "hub_feed.h"
#include "hub_io.h"
#include "hub_live.h"
#include "hub_mail.h"
#include "hub_marks.h"
#include "hub_preview.h"
#include "hub_replay.h"
#include "hub_round.h"
#include "hub_share.h"
#include "hub_watch.h"
#include "log.h"
#include "xalloc.h"

#define SLOTS 50			/* pings are spread over this many moments of a round */
#define SILENCE_MS 15000		/* nobody hears nothing for so long (contract 3.9) */
#define UP_MS 1000			/* a stream that starts so soon after Redis came up may have missed something before it was registered */
#define BLIND_ROUND_MS 1000		/* rounds while Redis is away */
#define RETRY "retry: %d\n\n"
#define RETRY_MS 1000			/* a restart takes about that long */
#define RETRY_SPREAD_MS 2000		/* and not all come back in one moment */
#define REFUSED "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"Authentication failed\"}}\n\n"

struct hub {
	struct loop *loop;
	const struct conf *conf;
	struct busq_tail *tail;
	struct hub_feed *feed;
	struct hub_replay *replay;
	struct hub_table watches;
	struct hub_shares shares;
	struct hub_marks marks;
	struct hub_io io;
	struct hub_out out;
	struct hub_sub *slots[SLOTS];
	int slot_new, slot_ping;
	struct hub_round round;
	struct buf ping;
	struct loop_timer *ping_timer, *round_timer, *deadline;
	int count;			/* subscribers, joining ones included */
	bool redis_up, stopping;
	int64_t up_ms;			/* when Redis was up last */
	struct hub_mailbox box;		/* all that other threads touch */
};

static void on_round(void *ctx);
static void on_ping(void *ctx);

static void
sub_free(struct hub *h, struct hub_sub *s)
{
	struct hub_watch *w = s->watch;

	hub_replay_forget(h->replay, s);
	hub_watch_remove(s);
	if (s->slot_at) {
		*s->slot_at = s->slot_next;
		if (s->slot_next)
			s->slot_next->slot_at = s->slot_at;
	}
	hub_share_give(&h->shares, s->organization);
	hub_share_give(&h->shares, s->key);
	buf_free(&s->out);
	free(s);
	h->count--;
	if (!w->subs && !w->fetching)
		hub_table_drop(&h->watches, w);
}

/* Free what was closed in this round. Called last in every callback of the loop. */
static void
reap(void *ctx)
{
	struct hub *h = ctx;
	struct hub_sub *s;

	while ((s = h->io.dead)) {
		h->io.dead = s->dead_next;
		sub_free(h, s);
	}
	if (h->stopping && h->count == 0)
		loop_stop(h->loop);
}

static void
out_send(void *ctx, struct hub_sub *s, struct hub_frame *f)
{
	hub_io_write(s, hub_frame_bytes(f, s->as_message));
}

static void
out_end(void *ctx, struct hub_sub *s)
{
	hub_io_end(s);
}

static void
fetch(struct hub *h, struct hub_watch *w, int64_t after)
{
	if (w->fetching)
		return;
	w->fetching = true;
	w->fetching_from = after;
	hub_feed_fetch(h->feed, w->session, after);
}

/* Read what someone on this session has missed, unless that is under way. */
static void
catch_up(struct hub *h, struct hub_watch *w)
{
	int64_t after = hub_watch_behind(w);

	if (after >= 0)
		fetch(h, w, after);
}

/* It had to wait: what it missed meanwhile it reads for itself. */
static void
on_drained(void *ctx, struct hub_sub *s)
{
	struct hub *h = ctx;

	if (s->seen < s->watch->known)
		hub_replay_start(h->replay, s);
}

/* From here on it gets what comes; and first what came between reading last_seq and now, or before the first thing that was heard. */
static void
follow(struct hub *h, struct hub_sub *s)
{
	if (clock_mono_ms() - h->up_ms < UP_MS)
		fetch(h, s->watch, s->seen);
	else
		catch_up(h, s->watch);
}

static void
on_replayed(void *ctx, struct hub_sub *s)
{
	follow(ctx, s);
}

/* --- the log ------------------------------------------------------------------------------------------------------------------- */

static void
on_log_event(void *ctx, const char *session, int64_t seq, const char *type, const char *body, size_t len)
{
	struct hub *h = ctx;
	struct hub_watch *w = hub_table_find(&h->watches, session);
	const struct hub_event ev = { seq, type, body, len };

	if (w)
		hub_watch_event(w, &ev, &h->out);
}

static void
on_log_fetched(void *ctx, const char *session, int n)
{
	struct hub *h = ctx;
	struct hub_watch *w = hub_table_find(&h->watches, session);

	must(w && w->fetching);
	w->fetching = false;
	if (n > 0 && hub_watch_behind(w) > w->fetching_from)
		catch_up(h, w);		/* without progress the next round looks again: the session may be gone, or Postgres away */
	if (hub_watch_behind(w) < 0)
		hub_preview_release(w, &h->out);
	if (!w->subs && !w->fetching)
		hub_table_drop(&h->watches, w);
	reap(h);
}

static void
on_log_moved(void *ctx, const char *session, int64_t last_seq)
{
	struct hub *h = ctx;
	struct hub_watch *w = hub_table_find(&h->watches, session);

	if (!w)
		return;
	if (last_seq < 0)
		hub_live_gone(w, &h->out);
	else if (last_seq > w->known)
		w->known = last_seq;
	catch_up(h, w);
	reap(h);
}

static void
on_key_refused(void *ctx, const char *key_id)
{
	struct hub *h = ctx;

	for (int i = 0; i < SLOTS; i++)
		for (struct hub_sub *s = h->slots[i]; s; s = s->slot_next)
			if (strcmp(s->key->id, key_id) == 0)
				hub_io_goodbye(s, REFUSED);
	reap(h);
}

/* --- Redis --------------------------------------------------------------------------------------------------------------------- */

/* Somewhere previews were lost: none may go on. */
static void
previews_cut(struct hub *h)
{
	for (struct hub_watch *w = NULL; (w = hub_table_next(&h->watches, w));)
		hub_preview_cut(w);
}

static void
on_entry(void *ctx, const struct busq_field *fields, int n)
{
	struct hub *h = ctx;
	enum hub_mark mark = MARK_NEXT;
	struct entry_events all;
	struct hub_watch *w;

	if (entry_events_read(fields, n, &all) < 0)
		return;
	FAILPOINT(HUB_ENTRY);
	if (all.writer && all.previews > 0)
		mark = hub_marks_take(&h->marks, all.writer, all.number, all.previews);
	if (mark == MARK_HOLE)
		previews_cut(h);
	if (!(w = hub_table_find(&h->watches, all.session)))
		return;
	hub_live_tell(w, &all, mark == MARK_AGAIN, &h->out);
	catch_up(h, w);
	reap(h);
}

static void
round_in(struct hub *h, int64_t ms)
{
	loop_cancel(h->loop, &h->round_timer);
	h->round_timer = loop_after(h->loop, ms, on_round, h);
}

/* Entries may have been missed, before an `up` as well as after a `down`: compare with the log now. */
static void
on_redis(void *ctx, bool up)
{
	struct hub *h = ctx;

	h->redis_up = up;
	h->up_ms = up ? clock_mono_ms() : h->up_ms;
	previews_cut(h);
	log_info(up ? "redis_up" : "redis_down", NULL);
	round_in(h, 0);
}

/* --- time ---------------------------------------------------------------------------------------------------------------------- */

static void
on_compared(void *ctx, bool ok)
{
	struct hub *h = ctx;

	hub_round_answered(&h->round, ok);
}

/* Who has no subscribers reads nothing of what is published. */
static void
hear(struct hub *h)
{
	if (!h->tail)
		h->tail = busq_tail_new(h->loop, h->conf, BUS_SSE, on_entry, on_redis, h);
}

static void
unhear(struct hub *h)
{
	busq_tail_free(&h->tail);
	h->redis_up = false;
}

static void
on_round(void *ctx)
{
	struct hub *h = ctx;
	int64_t ms = h->conf->sse_ping_ms - h->conf->sse_ping_ms / 8;	/* the answer has to be there within sse_ping_ms */

	h->round_timer = NULL;
	if (h->watches.count > 0)
		hub_round_begin(&h->round);
	if (h->count == 0)
		unhear(h);
	if (!h->redis_up && ms > BLIND_ROUND_MS)
		ms = BLIND_ROUND_MS;
	round_in(h, ms);
}

static void
on_ping(void *ctx)
{
	struct hub *h = ctx;
	int64_t ms = h->conf->sse_ping_ms / SLOTS;
	bool may_skip = 2 * h->conf->sse_ping_ms <= SILENCE_MS;

	h->ping_timer = h->count > 0 ? loop_after(h->loop, ms > 10 ? ms : 10, on_ping, h) : NULL;
	for (struct hub_sub *s = h->slots[h->slot_ping]; s; s = s->slot_next) {
		if (s->out.len == 0 && !(s->told && may_skip))	/* who got something, or has not read the last things, needs none */
			hub_io_write(s, &h->ping);
		s->told = false;
		hub_io_check(s);
	}
	h->slot_ping = (h->slot_ping + 1) % SLOTS;
	reap(h);
}

/* This process ends: when to come again. */
static void
goodbye(struct hub_sub *s, int slot)
{
	char text[32];

	snprintf(text, sizeof text, RETRY, RETRY_MS + slot * (RETRY_SPREAD_MS / SLOTS));
	hub_io_goodbye(s, text);
}

/* --- the mailbox --------------------------------------------------------------------------------------------------------------- */

static void
do_join(struct hub *h, struct hub_mail *m)
{
	struct hub_share *organization, *key;
	struct hub_sub *s;

	if (h->stopping || h->count >= h->conf->sse_max)
		return;
	organization = hub_share_take(&h->shares, m->organization_id, h->conf->sse_max_org);
	key = organization ? hub_share_take(&h->shares, m->key_id, h->conf->sse_max_key) : NULL;
	if (!key) {
		m->greedy = organization ? "API key" : "organization";
		hub_share_give(&h->shares, organization);
		return;
	}
	s = xcalloc(1, sizeof *s);
	s->fd = -1;
	s->io = &h->io;
	s->organization = organization;
	s->key = key;
	hub_watch_add(hub_table_get(&h->watches, m->session), s);
	h->count++;
	hear(h);
	m->sub = s;
}

static void
do_start(struct hub *h, struct hub_mail *m)
{
	struct hub_sub *s = m->sub;

	s->fd = m->start.fd;
	s->request = (uint16_t)m->start.request;
	s->seen = m->start.seen;
	s->wants = (uint8_t)m->start.wants;
	s->as_message = m->start.as_message;
	s->slot_at = &h->slots[h->slot_new];
	s->slot_next = *s->slot_at;
	if (s->slot_next)
		s->slot_next->slot_at = &s->slot_next;
	*s->slot_at = s;
	h->slot_new = (h->slot_new + 1) % SLOTS;
	hub_io_start(s);
	hub_io_write(s, &m->start.head);
	buf_free(&m->start.head);
	if (h->stopping) {
		goodbye(s, 0);
		return;
	}
	if (!h->ping_timer)
		h->ping_timer = loop_after(h->loop, 0, on_ping, h);
	if (m->start.known > s->watch->known)
		s->watch->known = m->start.known;
	if (s->seen < m->start.known)
		hub_replay_start(h->replay, s);
	else
		follow(h, s);
}

static void
on_bell(void *ctx, int fd, uint32_t events)
{
	struct hub *h = ctx;
	struct hub_mail *m, *next;

	for (m = hub_mailbox_take(&h->box); m; m = next) {
		next = m->next;
		if (m->kind == HUB_MAIL_JOIN) {
			do_join(h, m);
			hub_mail_answer(m);
			continue;
		}
		if (m->kind == HUB_MAIL_START)
			do_start(h, m);
		else
			hub_io_kill(m->sub, "left");
		free(m);
	}
	reap(h);
}

struct hub_sub *
hub_join(struct hub *h, const struct hub_guest *guest, struct err *e)
{
	struct hub_mail m = { .kind = HUB_MAIL_JOIN };

	snprintf(m.session, sizeof m.session, "%s", guest->session);
	snprintf(m.organization_id, sizeof m.organization_id, "%s", guest->organization_id);
	snprintf(m.key_id, sizeof m.key_id, "%s", guest->key_id);
	hub_mailbox_ask(&h->box, &m);
	if (m.greedy)
		err_set(e, EK_LIMIT, 0, "This %s has too many open event streams; close one first.", m.greedy);
	else if (!m.sub)
		err_fault(e, EK_UNAVAILABLE, 0, "no room for another stream");
	return m.sub;
}

void
hub_leave(struct hub *h, struct hub_sub *s)
{
	struct hub_mail *m = xcalloc(1, sizeof *m);

	m->kind = HUB_MAIL_LEAVE;
	m->sub = s;
	hub_mailbox_post(&h->box, m);
}

void
hub_start(struct hub *h, struct hub_sub *s, const struct hub_start *with)
{
	struct hub_mail *m = xcalloc(1, sizeof *m);

	m->kind = HUB_MAIL_START;
	m->sub = s;
	m->start = *with;
	hub_mailbox_post(&h->box, m);
}

/* --- life ---------------------------------------------------------------------------------------------------------------------- */

static void
on_deadline(void *ctx)
{
	struct hub *h = ctx;

	h->deadline = NULL;
	loop_stop(h->loop);
}

void
hub_stop(struct hub *h, int64_t max_ms)
{
	if (h->stopping)
		return;
	h->stopping = true;
	h->deadline = loop_after(h->loop, max_ms, on_deadline, h);
	for (int i = 0; i < SLOTS; i++)
		for (struct hub_sub *s = h->slots[i]; s; s = s->slot_next)
			goodbye(s, i);
	reap(h);
}

struct hub *
hub_new(struct loop *loop, const struct conf *c)
{
	struct hub *h = xcalloc(1, sizeof *h);
	const struct hub_feed_fn fn = { on_log_event, on_log_fetched, on_log_moved, on_key_refused, on_compared, h };

	h->loop = loop;
	h->conf = c;
	h->out = (struct hub_out){ out_send, out_end, h };
	h->io = (struct hub_io){ .loop = loop, .queue_max = c->sse_queue_bytes, .held_max = c->sse_held_bytes, .drained = on_drained,
	    .after = reap, .ctx = h };
	hub_frame_text(&h->ping, HUB_PING, sizeof HUB_PING - 1);
	hub_mailbox_init(&h->box);
	loop_watch(loop, h->box.bell, EPOLLIN, on_bell, h);
	h->feed = hub_feed_new(loop, c, &fn);
	h->round = (struct hub_round){ .watches = &h->watches, .feed = h->feed };
	h->replay = hub_replay_new(loop, c, &h->io, on_replayed, h);
	round_in(h, BLIND_ROUND_MS);
	return h;
}

void
hub_free(struct hub **hp)
{
	struct hub *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	loop_cancel(h->loop, &h->ping_timer);
	loop_cancel(h->loop, &h->round_timer);
	loop_cancel(h->loop, &h->deadline);
	busq_tail_free(&h->tail);
	hub_feed_free(&h->feed);
	for (struct hub_watch *w = NULL; (w = hub_table_next(&h->watches, w));)
		for (struct hub_sub *sub = w->subs; sub; sub = sub->next)
			hub_io_kill(sub, "shut down");
	reap(h);
	hub_table_free(&h->watches);
	hub_replay_free(&h->replay);
	loop_unwatch(h->loop, h->box.bell);
	hub_mailbox_close(&h->box);
	buf_free(&h->ping);
	free(h);
}
