/*
 * batch: see batch.h. What a batch holds and how events come to be in it; what they say is batch_status.c's and batch_events.c's, what they
 * cost and when they were batch_stamp.c's.
 *
 * These are the only places where the harness writes event JSON: orders within a group of events are fixed there, orders of groups in plan.c.
 * Field order follows contract appendix D: id, type, fields, processed_at. Tool inputs and inbox stems are spliced as text.
 */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "arrivals.h"
#include "batch_stem.h"
#include "jw.h"
#include "xalloc.h"

void
batch_init(struct batch *b, struct batch_who who)
{
	memset(b, 0, sizeof(*b));
	b->who = who;
	b->interval_ev = b->span_ev = b->gap_ev = -1;
}

static void
drop_events(struct batch *b, int from)
{
	for (int i = from; i < b->nev; i++) {
		free(b->ev[i].stem);
		free(b->ev[i].body);
		free(b->ev[i].fragment);
		free(b->ev[i].private);
	}
	b->nev = from;
}

void
batch_free(struct batch *b)
{
	drop_events(b, 0);
	for (int i = 0; i < b->nactions; i++) {
		free(b->actions[i].name);
		free(b->actions[i].input);
	}
	free(b->ev);
	free(b->taken);
	free(b->actions);
	memset(b, 0, sizeof(*b));
}

struct event *
batch_event_add(struct batch *b, const char *id, const char *type)
{
	struct event *ev;

	must(type != NULL);
	b->ev = xrealloc(b->ev, (size_t)(b->nev + 1) * sizeof(b->ev[0]));
	ev = &b->ev[b->nev++];
	memset(ev, 0, sizeof(*ev));
	if (id != NULL)
		strncpy(ev->id, id, sizeof(ev->id) - 1);
	else
		id_new("sevt_", ev->id);
	strncpy(ev->type, type, sizeof(ev->type) - 1);
	return ev;
}

struct event *
batch_stem_begin(struct batch *b, const char *id, const char *type, struct jw *w, struct buf *out)
{
	struct event *ev = batch_event_add(b, id, type);

	jw_begin(w, out);
	jw_obj(w);
	jw_kstr(w, "id", ev->id);
	jw_kstr(w, "type", type);
	return ev;
}

void
batch_stem_end(struct batch *b, struct event *ev, struct buf *out)
{
	b->bytes += out->len;
	ev->stem = buf_steal(out);
}

void
batch_bare(struct batch *b, const char *type)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, type, &w, &out);

	batch_stem_end(b, ev, &out);
}

void
batch_flush(struct batch *b, const struct arrival *item)
{
	b->taken = xrealloc(b->taken, (size_t)(b->ntaken + 1) * sizeof(b->taken[0]));
	b->taken[b->ntaken++] = item->seq;
	b->taken_wakes += item->wakes;
	b->taken_bytes += (int64_t)strlen(item->stem);
}

void
batch_inbox(struct batch *b, const struct arrival *item, bool keep_fragment)
{
	struct event *ev = batch_event_add(b, item->id, item->type);

	ev->stem = xstrdup(item->stem);
	b->bytes += strlen(item->stem);
	if (keep_fragment && item->fragment != NULL) {
		ev->role = item->role != 0 ? item->role : 'u';
		ev->fragment = xstrdup(item->fragment);
		b->bytes += strlen(item->fragment);
	}
	batch_flush(b, item);
}

void
batch_truncate(struct batch *b, int nev)
{
	drop_events(b, nev);
	b->status = NULL;
	b->paused = false;
	if (b->interval_ev >= nev) {
		b->interval = INTERVAL_KEEP;
		b->interval_ev = -1;
	}
}
