/*
 * hub_watch: order and de-duplication of contract 3.9, and the table of watches.
 *
 * Promises: seq only rises for a subscriber and never skips; held previews are written at their place between the events; terminated
 * and deleted sessions end the stream. Does no input or output and never fails.
 */
#include "hub_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_preview.h"
#include "xalloc.h"

/* Does anybody get this event now? */
static bool
awaited(const struct hub_watch *w, int64_t seq)
{
	for (const struct hub_sub *s = w->subs; s; s = s->next)
		if (hub_sub_follows(s) && seq == s->seen + 1)
			return true;
	return false;
}

/* To those who await the first of them. */
static void
send(struct hub_watch *w, const struct hub_event *ev, int n, bool end, const struct hub_out *o)
{
	struct hub_frame f;

	hub_frame_init(&f, ev, n);
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (!hub_sub_follows(s) || ev->seq != s->seen + 1)
			continue;
		s->seen = ev[n - 1].seq;
		o->send(o->ctx, s, &f);
		if (end && hub_sub_live(s))
			o->end(o->ctx, s);
	}
	hub_frame_free(&f);
}

void
hub_watch_event(struct hub_watch *w, const struct hub_event *ev, const struct hub_out *o)
{
	bool last = strcmp(ev->type, HUB_LAST_EVENT) == 0;

	if (ev->seq > w->known)
		w->known = ev->seq;
	if (ev->len == 0 || !awaited(w, ev->seq))
		return;
	hub_preview_before(w, ev->seq, o);
	send(w, ev, 1, last, o);
	hub_preview_after(w, ev->type, ev->json, ev->len);
}

/* May they go out in one piece? Not when a preview has its place between them, or one has to be read or ends the stream. */
static bool
together(const struct hub_watch *w, const struct hub_event *ev, int n)
{
	if (n < 2 || hub_preview_held(w) || !awaited(w, ev->seq))
		return false;
	for (int i = 0; i < n; i++)
		if (ev[i].len == 0 || ev[i].seq != ev[0].seq + i || strcmp(ev[i].type, HUB_LAST_EVENT) == 0)
			return false;
	return true;
}

void
hub_watch_live(struct hub_watch *w, const struct hub_event *ev, int n, const struct hub_out *o)
{
	if (together(w, ev, n)) {
		send(w, ev, n, false, o);
		for (int i = 0; i < n; i++)
			hub_preview_after(w, ev[i].type, ev[i].json, ev[i].len);
	}
	for (int i = 0; i < n; i++) {		/* who has some of them already gets the rest one by one */
		if (ev[i].seq > w->heard)
			w->heard = ev[i].seq;
		hub_watch_event(w, &ev[i], o);
	}
}

void
hub_watch_deleted(struct hub_watch *w, const char *body, size_t len, const struct hub_out *o)
{
	const struct hub_event ev = { .type = "session.deleted", .json = body, .len = len };
	struct hub_frame f;

	hub_frame_init(&f, &ev, 1);
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (!hub_sub_live(s))
			continue;
		o->send(o->ctx, s, &f);
		if (hub_sub_live(s))
			o->end(o->ctx, s);
	}
	hub_frame_free(&f);
}

int64_t
hub_watch_seen(const struct hub_watch *w)
{
	int64_t low = -1;

	for (const struct hub_sub *s = w->subs; s; s = s->next)
		if (hub_sub_follows(s) && (low < 0 || s->seen < low))
			low = s->seen;
	return low;
}

int64_t
hub_watch_behind(const struct hub_watch *w)
{
	int64_t low = hub_watch_seen(w);

	return low < w->known ? low : -1;
}

void
hub_watch_add(struct hub_watch *w, struct hub_sub *s)
{
	s->watch = w;
	s->next = w->subs;
	s->at = &w->subs;
	if (s->next)
		s->next->at = &s->next;
	w->subs = s;
}

void
hub_watch_remove(struct hub_sub *s)
{
	*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	s->watch = NULL;
}

static uint64_t
hash(const char *text)
{
	uint64_t h = 14695981039346656037u;	/* FNV-1a; ids are random, and who invents some keeps them here for one lookup only */

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211u;
	return h ^ h >> 32;
}

static struct hub_bucket *
bucket_of(const struct hub_table *t, uint64_t h)
{
	return &t->buckets[h & (t->nbuckets - 1)];
}

/* From other bits than those that choose the bucket. */
static uint64_t
mark_of(uint64_t h)
{
	return 1ull << (h >> 26 & 63);
}

static void
put(struct hub_bucket *b, struct hub_watch *w, uint64_t h)
{
	w->next = b->first;
	b->first = w;
	b->seen |= mark_of(h);
}

struct hub_watch *
hub_table_find(const struct hub_table *t, const char *session)
{
	const struct hub_bucket *b;
	struct hub_watch *w;
	uint64_t h;

	if (!t->count)
		return NULL;
	h = hash(session);
	b = bucket_of(t, h);
	w = b->seen & mark_of(h) ? b->first : NULL;
	while (w && strcmp(w->session, session) != 0)
		w = w->next;
	return w;
}

static void
table_grow(struct hub_table *t)
{
	struct hub_table more = { .nbuckets = t->nbuckets ? 2 * t->nbuckets : HUB_PARTS_MAX, .count = t->count };
	struct hub_watch *w, *next;

	more.buckets = xcalloc(more.nbuckets, sizeof *more.buckets);
	for (size_t i = 0; i < t->nbuckets; i++)
		for (w = t->buckets[i].first; w; w = next) {
			uint64_t h = hash(w->session);

			next = w->next;
			put(bucket_of(&more, h), w, h);
		}
	free(t->buckets);
	*t = more;
}

struct hub_watch *
hub_table_get(struct hub_table *t, const char *session)
{
	struct hub_watch *w = hub_table_find(t, session);
	uint64_t h = hash(session);

	if (w)
		return w;
	if (t->count == t->nbuckets)
		table_grow(t);
	w = xcalloc(1, sizeof *w);
	must((size_t)snprintf(w->session, sizeof w->session, "%s", session) < sizeof w->session);
	put(bucket_of(t, h), w, h);
	t->count++;
	return w;
}

void
hub_table_drop(struct hub_table *t, struct hub_watch *w)
{
	struct hub_bucket *b = bucket_of(t, hash(w->session));
	struct hub_watch **p = &b->first;

	must(!w->subs && !w->fetching);
	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	if (!b->first)
		b->seen = 0;
	t->count--;
	hub_preview_free(w);
	free(w);
}

struct hub_watch *
hub_table_next(const struct hub_table *t, const struct hub_watch *w)
{
	return hub_table_next_of(t, (struct hub_part){ 0, 1 }, w);
}

struct hub_watch *
hub_table_next_of(const struct hub_table *t, struct hub_part part, const struct hub_watch *w)
{
	size_t i = part.at;

	if (w && w->next)
		return w->next;
	if (w)
		i = (hash(w->session) & (t->nbuckets - 1)) + part.of;
	for (; i < t->nbuckets; i += part.of)
		if (t->buckets[i].first)
			return t->buckets[i].first;
	return NULL;
}

void
hub_table_free(struct hub_table *t)
{
	struct hub_watch *w, *next;

	for (size_t i = 0; i < t->nbuckets; i++)
		for (w = t->buckets[i].first; w; w = next) {
			next = w->next;
			must(!w->subs);
			hub_preview_free(w);
			free(w);
		}
	free(t->buckets);
	*t = (struct hub_table){ 0 };
}
