/*
 * hub_watch: order, de-duplication and preview rules of contract 3.9.
 *
 * Promises: seq only rises for a subscriber and never skips; a delta follows the start of its id on the same connection; the buffered
 * event, or span.model_request_end, is the last thing sent for an id; who falls behind loses its open previews (they may be cut,
 * never resumed). Terminated and deleted sessions end the stream. Does no input or output and never fails.
 */
#include "hub_watch.h"

#include <stdlib.h>
#include <string.h>

#include "jx.h"
#include "target.h"
#include "xalloc.h"

static bool
live(const struct hub_sub *s)
{
	return s->fd >= 0 && !s->ended && !s->dead;
}

static void
preview_close(struct hub_watch *w, int slot)
{
	w->previews->id[slot][0] = '\0';
	for (struct hub_sub *s = w->subs; s; s = s->next)
		s->started &= (uint8_t)~(1u << slot);
}

static void
previews_close_all(struct hub_watch *w)
{
	for (struct hub_sub *s = w->subs; s; s = s->next)
		s->started = 0;
	free(w->previews);
	w->previews = NULL;
}

static int
preview_find(const struct hub_watch *w, const char *id)
{
	if (!w->previews || !id || !*id)
		return -1;
	for (int i = 0; i < HUB_PREVIEWS; i++)
		if (strcmp(w->previews->id[i], id) == 0)
			return i;
	return -1;
}

/* A slot for a new id: a free one, else the oldest, whose preview is thereby cut. */
static int
preview_open(struct hub_watch *w, const char *id, bool text)
{
	int slot = -1;

	if (!w->previews)
		w->previews = xcalloc(1, sizeof *w->previews);
	for (int i = 0; i < HUB_PREVIEWS && slot < 0; i++)
		if (!w->previews->id[i][0])
			slot = i;
	if (slot < 0) {
		slot = (w->previews->last + 1) % HUB_PREVIEWS;
		preview_close(w, slot);
	}
	w->previews->last = slot;
	w->previews->text[slot] = text;
	strncpy(w->previews->id[slot], id, ID_MAX - 1);
	return slot;
}

/* The id at the head of an event's body. Bodies are written by us and begin with it. */
static void
event_id(const char *body, size_t len, char out[ID_MAX])
{
	static const char head[] = "{\"id\":\"";
	size_t n = sizeof head - 1, end;

	out[0] = '\0';
	if (len <= n || memcmp(body, head, n) != 0)
		return;
	for (end = n; end < len && body[end] != '"'; end++)
		;
	if (end - n >= ID_MAX)
		return;
	memcpy(out, body + n, end - n);
	out[end - n] = '\0';
}

/* After an event, what it closes: its own preview, or all of them at the end of the model request. */
static void
previews_after(struct hub_watch *w, const char *type, const char *body, size_t len)
{
	char id[ID_MAX];
	int slot;

	if (!w->previews)
		return;
	if (strcmp(type, "span.model_request_end") == 0) {
		previews_close_all(w);
		return;
	}
	event_id(body, len, id);
	slot = preview_find(w, id);
	if (slot >= 0)
		preview_close(w, slot);
}

void
hub_watch_event(struct hub_watch *w, int64_t seq, const char *type, const char *body, size_t len, const struct hub_out *o)
{
	bool last = strcmp(type, "session.status_terminated") == 0;
	struct hub_frame f;

	if (seq > w->known)
		w->known = seq;
	hub_frame_init(&f, type, body, len);
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (!live(s) || seq <= s->seen)
			continue;
		if (seq != s->seen + 1 || len == 0 || s->choked) {
			s->started = 0;
			continue;
		}
		s->seen = seq;
		o->send(o->ctx, s, &f);
		if (last && live(s))
			o->end(o->ctx, s);
	}
	hub_frame_free(&f);
	previews_after(w, type, body, len);
}

static void
on_start(struct hub_watch *w, const char *type, const char *id, struct hub_frame *f, const struct hub_out *o)
{
	bool text = strcmp(type, "agent.message") == 0;
	unsigned bit = text ? TARGET_MESSAGE : strcmp(type, "agent.thinking") == 0 ? TARGET_THINKING : 0;
	int slot;

	if (!bit || preview_find(w, id) >= 0)	/* at most one start per id */
		return;
	slot = preview_open(w, id, text);
	for (struct hub_sub *s = w->subs; s; s = s->next)
		if (live(s) && !s->choked && (s->wants & bit) && s->seen >= w->known) {
			s->started |= (uint8_t)(1u << slot);
			o->send(o->ctx, s, f);
		}
}

static void
on_delta(struct hub_watch *w, const char *id, struct hub_frame *f, const struct hub_out *o)
{
	int slot = preview_find(w, id);

	if (slot < 0 || !w->previews->text[slot])
		return;
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (s->seen < w->known || s->choked)
			s->started = 0;
		if (live(s) && (s->started & 1u << slot))
			o->send(o->ctx, s, f);
	}
}

void
hub_watch_preview(struct hub_watch *w, const char *type, const char *body, size_t len, const struct hub_out *o)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *ev;		/* borrowed from doc */
	const struct hub_sub *s = w->subs;
	struct err ignored = ERR_INIT;
	struct hub_frame f;

	while (s && !s->wants)
		s = s->next;
	if (!s)				/* nobody asked: not worth parsing */
		return;
	if (jx_parse(body, len, &doc, &ignored) < 0)
		return;
	hub_frame_init(&f, type, body, len);
	ev = json_object_get(doc, "event");
	if (strcmp(type, "event_delta") == 0)
		on_delta(w, jx_str(doc, "event_id"), &f, o);
	else if (strcmp(type, "event_start") == 0 && jx_str(ev, "id") && jx_str(ev, "type"))
		on_start(w, jx_str(ev, "type"), jx_str(ev, "id"), &f, o);
	hub_frame_free(&f);
}

void
hub_watch_deleted(struct hub_watch *w, const char *body, size_t len, const struct hub_out *o)
{
	struct hub_frame f;

	hub_frame_init(&f, "session.deleted", body, len);
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (!live(s))
			continue;
		o->send(o->ctx, s, &f);
		if (live(s))
			o->end(o->ctx, s);
	}
	hub_frame_free(&f);
}

int64_t
hub_watch_seen(const struct hub_watch *w)
{
	int64_t low = -1;

	for (const struct hub_sub *s = w->subs; s; s = s->next)
		if (live(s) && !s->choked && (low < 0 || s->seen < low))
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

static size_t
hash(const char *text)
{
	uint64_t h = 14695981039346656037u;	/* FNV-1a; ids are random, and who invents some keeps them here for one lookup only */

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

struct hub_watch *
hub_table_find(const struct hub_table *t, const char *session)
{
	struct hub_watch *w = t->count ? t->buckets[hash(session) & (t->nbuckets - 1)] : NULL;

	while (w && strcmp(w->session, session) != 0)
		w = w->next;
	return w;
}

static void
table_grow(struct hub_table *t)
{
	size_t n = t->nbuckets ? 2 * t->nbuckets : 64;
	struct hub_watch **b = xcalloc(n, sizeof(struct hub_watch *)), *w, *next;

	for (size_t i = 0; i < t->nbuckets; i++)
		for (w = t->buckets[i]; w; w = next) {
			size_t at = hash(w->session) & (n - 1);

			next = w->next;
			w->next = b[at];
			b[at] = w;
		}
	free(t->buckets);
	t->buckets = b;
	t->nbuckets = n;
}

struct hub_watch *
hub_table_get(struct hub_table *t, const char *session)
{
	struct hub_watch *w = hub_table_find(t, session);
	size_t at;

	if (w)
		return w;
	if (t->count == t->nbuckets)
		table_grow(t);
	w = xcalloc(1, sizeof *w);
	must(strlen(session) < sizeof w->session);
	strcpy(w->session, session);
	at = hash(session) & (t->nbuckets - 1);
	w->next = t->buckets[at];
	t->buckets[at] = w;
	t->count++;
	return w;
}

void
hub_table_drop(struct hub_table *t, struct hub_watch *w)
{
	struct hub_watch **p = &t->buckets[hash(w->session) & (t->nbuckets - 1)];

	must(!w->subs && !w->fetching);
	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	t->count--;
	free(w->previews);
	free(w);
}

struct hub_watch *
hub_table_next(const struct hub_table *t, const struct hub_watch *w)
{
	size_t i = 0;

	if (w && w->next)
		return w->next;
	if (w)
		i = (hash(w->session) & (t->nbuckets - 1)) + 1;
	for (; i < t->nbuckets; i++)
		if (t->buckets[i])
			return t->buckets[i];
	return NULL;
}

void
hub_table_free(struct hub_table *t)
{
	struct hub_watch *w;

	while ((w = hub_table_next(t, NULL))) {
		w->fetching = false;
		hub_table_drop(t, w);
	}
	free(t->buckets);
	*t = (struct hub_table){ 0 };
}
