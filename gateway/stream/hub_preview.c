/*
 * hub_preview: see hub_preview.h.
 *
 * Promises: at most one start per id and connection; a delta follows its start on the same connection; the buffered event, or
 * span.model_request_end, is the last thing sent for an id; agent.thinking gets a start only. What is held is bounded: beyond
 * HELD_MAX everything held is dropped and open previews are cut, which the contract allows. Open ids are numbered slots of the watch,
 * so that a subscriber needs one byte to remember what it saw begin.
 */
#include "hub_preview.h"

#include <stdlib.h>
#include <string.h>

#include "jx.h"
#include "target.h"
#include "xalloc.h"

#define SLOTS 8
#define HELD_MAX (256u << 10)

struct held {
	struct held *next;
	int64_t place;
	bool start;
	size_t len;
	char body[];
};

struct hub_previews {
	char id[SLOTS][ID_MAX];			/* "" = free */
	bool text[SLOTS];			/* deltas follow (agent.message) */
	int last;				/* slot used last; the next one is replaced when all are taken */
	struct held *held, **held_tail;
	size_t held_bytes;
};

static struct hub_previews *
previews(struct hub_watch *w)
{
	if (!w->previews) {
		w->previews = xcalloc(1, sizeof *w->previews);
		w->previews->held_tail = &w->previews->held;
	}
	return w->previews;
}

static void
slot_close(struct hub_watch *w, int slot)
{
	w->previews->id[slot][0] = '\0';
	for (struct hub_sub *s = w->subs; s; s = s->next)
		s->started &= (uint8_t)~(1u << slot);
}

static int
slot_find(const struct hub_watch *w, const char *id)
{
	if (!w->previews || !id || !*id)
		return -1;
	for (int i = 0; i < SLOTS; i++)
		if (strcmp(w->previews->id[i], id) == 0)
			return i;
	return -1;
}

/* A slot for a new id: a free one, else the oldest, whose preview is thereby cut. */
static int
slot_open(struct hub_watch *w, const char *id, bool text)
{
	struct hub_previews *p = previews(w);
	int slot = 0;

	while (slot < SLOTS && p->id[slot][0])
		slot++;
	if (slot == SLOTS) {
		slot = (p->last + 1) % SLOTS;
		slot_close(w, slot);
	}
	p->last = slot;
	p->text[slot] = text;
	strncpy(p->id[slot], id, ID_MAX - 1);
	return slot;
}

/* Is the subscriber at this place of the log? Before Redis brought any event, everybody who misses nothing is. */
static bool
at_place(const struct hub_watch *w, const struct hub_sub *s, int64_t place)
{
	if (!hub_sub_follows(s))
		return false;
	return place > 0 ? s->seen == place : s->seen >= w->known;
}

static void
send_start(struct hub_watch *w, const json_t *event, int64_t place, struct hub_frame *f, const struct hub_out *o)
{
	const char *id = jx_str(event, "id"), *type = jx_str(event, "type");
	unsigned bit;
	int slot;

	if (!id || !*id || !type || slot_find(w, id) >= 0)
		return;
	bit = strcmp(type, "agent.message") == 0 ? TARGET_MESSAGE : strcmp(type, "agent.thinking") == 0 ? TARGET_THINKING : 0;
	if (!bit)
		return;
	slot = slot_open(w, id, bit == TARGET_MESSAGE);
	for (struct hub_sub *s = w->subs; s; s = s->next)
		if ((s->wants & bit) && at_place(w, s, place)) {
			s->started |= (uint8_t)(1u << slot);
			o->send(o->ctx, s, f);
		}
}

static void
send_delta(struct hub_watch *w, const char *id, int64_t place, struct hub_frame *f, const struct hub_out *o)
{
	int slot = slot_find(w, id);

	if (slot < 0 || !w->previews->text[slot])
		return;
	for (struct hub_sub *s = w->subs; s; s = s->next) {
		if (!at_place(w, s, place))
			s->started &= (uint8_t)~(1u << slot);	/* this one is lost to it: no later ones either */
		else if (s->started & 1u << slot)
			o->send(o->ctx, s, f);
	}
}

static void
deliver(struct hub_watch *w, bool start, const char *body, size_t len, int64_t place, const struct hub_out *o)
{
	AUTO(json) json_t *doc = NULL;
	struct err ignored = ERR_INIT;
	const struct hub_event ev = { .type = start ? "event_start" : "event_delta", .json = body, .len = len };
	struct hub_frame f;

	if (jx_parse(body, len, &doc, &ignored) < 0)
		return;
	hub_frame_init(&f, &ev, 1);
	if (start)
		send_start(w, json_object_get(doc, "event"), place, &f, o);
	else
		send_delta(w, jx_str(doc, "event_id"), place, &f, o);
	hub_frame_free(&f);
}

static void
held_drop(struct hub_previews *p)
{
	struct held *h;

	while ((h = p->held)) {
		p->held = h->next;
		free(h);
	}
	p->held_tail = &p->held;
	p->held_bytes = 0;
}

void
hub_preview_cut(struct hub_watch *w)
{
	if (!w->previews)
		return;
	held_drop(w->previews);
	for (int i = 0; i < SLOTS; i++)
		slot_close(w, i);
}

static void
hold(struct hub_watch *w, bool start, const char *body, size_t len)
{
	struct hub_previews *p = previews(w);
	struct held *h;

	if (p->held_bytes + len > HELD_MAX) {
		hub_preview_cut(w);
		return;
	}
	h = xmalloc(sizeof *h + len);
	*h = (struct held){ .place = w->heard, .start = start, .len = len };
	memcpy(h->body, body, len);
	*p->held_tail = h;
	p->held_tail = &h->next;
	p->held_bytes += len;
}

bool
hub_preview_asked(const struct hub_watch *w)
{
	for (const struct hub_sub *s = w->subs; s; s = s->next)
		if (s->wants && hub_sub_follows(s))
			return true;
	return false;
}

void
hub_preview(struct hub_watch *w, const char *type, const char *body, size_t len, const struct hub_out *o)
{
	bool start = strcmp(type, "event_start") == 0, behind = w->previews && w->previews->held;

	if (len == 0) {
		hub_preview_cut(w);
		return;
	}
	if ((!start && strcmp(type, "event_delta") != 0) || !hub_preview_asked(w))
		return;
	for (const struct hub_sub *s = w->subs; s; s = s->next)
		behind = behind || (s->wants && hub_sub_follows(s) && s->seen < w->heard);
	if (behind)
		hold(w, start, body, len);
	else
		deliver(w, start, body, len, w->heard, o);
}

bool
hub_preview_held(const struct hub_watch *w)
{
	return w->previews && w->previews->held;
}

void
hub_preview_before(struct hub_watch *w, int64_t seq, const struct hub_out *o)
{
	struct hub_previews *p = w->previews;
	struct held *h;

	while (p && (h = p->held) && h->place < seq) {
		p->held = h->next;
		if (!p->held)
			p->held_tail = &p->held;
		p->held_bytes -= h->len;
		deliver(w, h->start, h->body, h->len, h->place, o);
		free(h);
	}
}

void
hub_preview_release(struct hub_watch *w, const struct hub_out *o)
{
	hub_preview_before(w, INT64_MAX, o);
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

void
hub_preview_after(struct hub_watch *w, const char *type, const char *body, size_t len)
{
	char id[ID_MAX];
	int slot;

	if (!w->previews)
		return;
	if (strcmp(type, "span.model_request_end") == 0) {
		if (w->previews->held)
			for (int i = 0; i < SLOTS; i++)
				slot_close(w, i);
		else {
			hub_preview_cut(w);
			hub_preview_free(w);
		}
		return;
	}
	event_id(body, len, id);
	slot = slot_find(w, id);
	if (slot >= 0)
		slot_close(w, slot);
}

void
hub_preview_free(struct hub_watch *w)
{
	if (!w->previews)
		return;
	held_drop(w->previews);
	free(w->previews);
	w->previews = NULL;
}
