/*
 * hub_live: see hub_live.h. Events that follow each other are handed on together, so that each subscriber gets one write of them; a preview
 * or the end between them has its place and breaks the row.
 */
#include "hub_live.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "hub_preview.h"
#include "id.h"

#define ROW_MAX 32			/* events that are written together */

void
hub_live_gone(struct hub_watch *w, const struct hub_out *o)
{
	char id[ID_MAX], now[CLOCK_TEXT], body[160];
	int n = snprintf(body, sizeof body, "{\"id\":\"%s\",\"type\":\"session.deleted\",\"processed_at\":\"%s\"}", id_new("sevt_", id),
	    clock_format(clock_wall_us(), now));

	hub_watch_deleted(w, body, (size_t)n, o);
}

/* A preview that nobody asked for. One without text cuts, which is for those who ask later too. */
static bool
idle_preview(const struct hub_watch *w, const struct entry_event *ev)
{
	return ev->seq == 0 && ev->len > 0 && !hub_preview_asked(w);
}

/* What is no event of the log that others may follow: a preview, and the end. */
static bool
apart(const struct entry_event *ev)
{
	return ev->seq == 0 || strcmp(ev->type, "session.deleted") == 0;
}

static void
tell_apart(struct hub_watch *w, const struct entry_event *ev, bool again, const struct hub_out *o)
{
	if (ev->seq > 0 && ev->len > 0)
		hub_watch_deleted(w, ev->body, ev->len, o);
	else if (ev->seq > 0)
		hub_live_gone(w, o);
	else if (!again)
		hub_preview(w, ev->type, ev->body, ev->len, o);
}

/* Events in a row together. */
void
hub_live_tell(struct hub_watch *w, struct entry_events *all, bool again, const struct hub_out *o)
{
	struct hub_event row[ROW_MAX];
	struct entry_event ev;
	int n = 0;

	while (entry_events_next(all, &ev)) {
		if (idle_preview(w, &ev))
			continue;
		if (n == ROW_MAX || (n > 0 && apart(&ev))) {
			hub_watch_live(w, row, n, o);
			n = 0;
		}
		if (apart(&ev))
			tell_apart(w, &ev, again, o);
		else
			row[n++] = (struct hub_event){ ev.seq, ev.type, ev.body, ev.len };
	}
	if (n > 0)
		hub_watch_live(w, row, n, o);
}
