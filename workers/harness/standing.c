/*
 * standing: what others know of this worker, and it of them (peers.h): whether it takes sessions and how busy it is, told with each beat;
 * how long it leaves a session to those before it. Estimates only: nothing here decides who gets a session.
 */
#include "work_in.h"

#include "clock.h"

#define LATER_MS 15		/* how long a session is left to the worker that should take it, for each place in the line (peers.h), */
#define PLACES 8		/* up to so many places */
#define PACE_MS 8		/* a worker in reserve looks at the doorbell so seldom, for each place */
#define FULL_PCT 90		/* a worker so full takes nothing until it is well below */
#define FULL_AGAIN_PCT 75

static int
place(const struct work *w)
{
	return w->peers.behind < 1 ? 1 : w->peers.behind < PLACES ? w->peers.behind : PLACES;
}

int64_t
standing_later_ms(const struct work *w)
{
	return (int64_t)LATER_MS * place(w);
}

/* Nothing to do, and others come before it. */
static bool
in_reserve(const struct work *w)
{
	return w->peers.behind > 0 && w->n == 0 && linger_count(w->linger) == 0;
}

void
standing_pace(struct work *w)
{
	busq_tail_pace(w->tail, in_reserve(w) ? PACE_MS * place(w) : 0);
}

static int
percent(int64_t of, int64_t all)
{
	return of >= all ? 100 : (int)(of * 100 / all);
}

/* How much of what it may hold it holds. */
static int
filled(const struct work *w)
{
	int turns = percent(w->n, w->wk->conf.turns_max), bytes = percent(w->held, w->wk->conf.turn_bytes);

	return turns > bytes ? turns : bytes;
}

void
standing_measure(struct work *w)
{
	int64_t now = clock_mono_us(), waited = loop_waited_us(w->wk->loop);

	if (w->measured_us > 0)
		w->busy = (w->busy + 100 - percent(waited - w->waited_us, now - w->measured_us)) / 2;
	w->measured_us = now;
	w->waited_us = waited;
	w->full = filled(w) >= (w->full ? FULL_AGAIN_PCT : FULL_PCT);
}

int
work_load(const struct work *w)
{
	int full = filled(w);

	return w->busy > full ? w->busy : full;
}

int
work_spread(const struct work *w)
{
	return w->peers.spread;
}

bool
standing_alone(const struct work *w)
{
	return w->alone != NULL && w->alone->t.attempts >= SUSPECT;
}

bool
work_open(const struct work *w)
{
	return !w->wk->draining && dbq_ready(w->wk->db) && w->hears && w->blamed && !w->full && !standing_alone(w) && clock_mono_ms() >= w->room_ms;
}
