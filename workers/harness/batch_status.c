/*
 * batch_status: the events that say in which status a session is, in the orders of contract 3.5-3.7, and the billed interval that they open
 * and close (batch.h).
 *
 * Pure. A session.usage is added without a stem: batch_stamp renders it last, because it carries the running time up to the stamp of the
 * idle event behind it.
 */
#include "batch.h"

#include <string.h>

#include "batch_stem.h"

static void
stop_fields(const struct batch *b, struct jw *w, const char *stop)
{
	static const char refusal[] = "{\"type\":\"refusal\",\"category\":null,\"explanation\":null}";
	const char *details = b->stop_details != NULL ? b->stop_details : refusal;

	jw_kraw(w, "stop_reason", stop);
	jw_kraw(w, "stop_details", strcmp(stop, BATCH_STOP_REFUSAL) == 0 ? details : NULL);
}

static void
thread_event(struct batch *b, const char *type, const char *stop)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev = batch_stem_begin(b, NULL, type, &w, &out);

	jw_kstr(&w, "session_thread_id", b->who.thread_id);
	jw_kstr(&w, "agent_name", b->who.agent_name);
	if (stop != NULL)
		stop_fields(b, &w, stop);
	batch_stem_end(b, ev, &out);
}

static void
set_interval(struct batch *b, enum interval what)
{
	b->interval = what;
	b->interval_ev = b->nev - 1;
}

void
batch_running(struct batch *b)
{
	batch_bare(b, "session.status_running");
	set_interval(b, INTERVAL_OPEN);
	thread_event(b, "session.thread_status_running", NULL);
	b->status = "running";
}

void
batch_idle_again(struct batch *b, const char *stop)
{
	struct buf out = BUF_INIT(0);
	struct jw w;
	struct event *ev;

	batch_event_add(b, NULL, "session.usage");
	ev = batch_stem_begin(b, NULL, "session.status_idle", &w, &out);
	stop_fields(b, &w, stop);
	batch_stem_end(b, ev, &out);
	b->status = "idle";
	b->paused = strcmp(stop, BATCH_STOP_BUDGET) == 0;
}

void
batch_idle(struct batch *b, const char *stop, bool interval_open)
{
	thread_event(b, "session.thread_status_idle", stop);
	batch_idle_again(b, stop);
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

void
batch_rescheduled(struct batch *b, bool interval_open)
{
	thread_event(b, "session.thread_status_rescheduled", NULL);
	batch_bare(b, "session.status_rescheduled");
	b->status = "rescheduling";
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

void
batch_terminated(struct batch *b, bool interval_open)
{
	thread_event(b, "session.thread_status_terminated", NULL);
	batch_bare(b, "session.status_terminated");
	b->status = "terminated";
	if (interval_open)
		set_interval(b, INTERVAL_CLOSE);
}

char *
batch_requires_action(const char *const *ids, int n)
{
	struct buf out = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &out);
	jw_obj(&w);
	jw_kstr(&w, "type", "requires_action");
	jw_key(&w, "event_ids");
	jw_arr(&w);
	for (int i = 0; i < n; i++)
		jw_str(&w, ids[i]);
	jw_arr_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
	return buf_steal(&out);
}
