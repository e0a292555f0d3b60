/*
 * loop: see loop.h. Watches live in a table indexed by fd, so that epoll_data needs no pointer that could be freed under an event of
 * the same round: a generation number beside the fd tells a stale event from one of the fd's new owner. Timers are a binary heap by the
 * microsecond, so that none fires early; epoll waits whole milliseconds, so one may fire almost a millisecond late. Tasks are a list.
 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "xalloc.h"

struct watch {
	loop_fd_fn *fn;
	void *ctx;
	uint32_t events, gen;
};

struct loop_timer {
	int64_t due;		/* monotonic us */
	uint64_t order;		/* equal due times fire in the order they were set */
	int at;			/* place in the heap */
	loop_timer_fn *fn;
	void *ctx;
};

struct loop {
	int ep;
	struct watch *watches;
	int nwatches;
	struct loop_timer **heap;
	int ntimers, captimers;
	uint64_t orders;
	struct loop_task *tasks, **tasks_tail;
	loop_timer_fn *idle;	/* before the tasks and the wait, and after each task */
	void *idle_ctx;
	int64_t waited_us;
	volatile sig_atomic_t stopped;
};

struct loop *
loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof *l);

	l->ep = epoll_create1(EPOLL_CLOEXEC);
	must(l->ep >= 0);
	l->tasks_tail = &l->tasks;
	return l;
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;
	int i;

	if (!l)
		return;
	for (i = 0; i < l->ntimers; i++)
		free(l->heap[i]);
	free(l->heap);
	free(l->watches);
	close(l->ep);
	free(l);
	*lp = NULL;
}

void
loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *ctx)
{
	struct epoll_event ev = { .events = events };
	struct watch *w;
	int op, n;

	must(fd >= 0);
	if (fd >= l->nwatches) {
		n = fd + 64;
		l->watches = xrealloc(l->watches, (size_t)n * sizeof *l->watches);
		memset(l->watches + l->nwatches, 0, (size_t)(n - l->nwatches) * sizeof *l->watches);
		l->nwatches = n;
	}
	w = &l->watches[fd];
	op = w->fn ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (!w->fn)
		w->gen++;
	else if (w->events == events) {
		w->fn = fn;
		w->ctx = ctx;
		return;
	}
	w->fn = fn;
	w->ctx = ctx;
	w->events = events;
	ev.data.u64 = (uint64_t)w->gen << 32 | (uint32_t)fd;
	must(epoll_ctl(l->ep, op, fd, &ev) == 0);
}

void
loop_unwatch(struct loop *l, int fd)
{
	if (fd < 0 || fd >= l->nwatches || !l->watches[fd].fn)
		return;
	l->watches[fd].fn = NULL;
	l->watches[fd].gen++;
	(void)epoll_ctl(l->ep, EPOLL_CTL_DEL, fd, NULL);	/* fails when the fd is closed already: then it is gone anyway */
}

static bool
sooner(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void
place(struct loop *l, int i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->at = i;
}

static void
sift_up(struct loop *l, int i)
{
	struct loop_timer *t = l->heap[i];

	for (; i > 0 && sooner(t, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		place(l, i, l->heap[(i - 1) / 2]);
	place(l, i, t);
}

static void
sift_down(struct loop *l, int i)
{
	struct loop_timer *t = l->heap[i];
	int kid;

	while ((kid = 2 * i + 1) < l->ntimers) {
		if (kid + 1 < l->ntimers && sooner(l->heap[kid + 1], l->heap[kid]))
			kid++;
		if (!sooner(l->heap[kid], t))
			break;
		place(l, i, l->heap[kid]);
		i = kid;
	}
	place(l, i, t);
}

static void
heap_remove(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last = l->heap[--l->ntimers];
	int i = t->at;

	if (last == t)
		return;
	place(l, i, last);
	sift_up(l, i);
	sift_down(l, last->at);
}

struct loop_timer *
loop_after(struct loop *l, int64_t ms, loop_timer_fn *fn, void *ctx)
{
	struct loop_timer *t = xmalloc(sizeof *t);	/* calloc would pass by the thread's own free memory */

	if (l->ntimers == l->captimers) {
		l->captimers = l->captimers ? 2 * l->captimers : 16;
		l->heap = xrealloc(l->heap, (size_t)l->captimers * sizeof(struct loop_timer *));
	}
	t->due = clock_mono_us() + (ms > 0 ? ms : 0) * 1000;
	t->order = l->orders++;
	t->fn = fn;
	t->ctx = ctx;
	place(l, l->ntimers++, t);
	sift_up(l, t->at);
	return t;
}

void
loop_cancel(struct loop *l, struct loop_timer **t)
{
	if (!*t)
		return;
	heap_remove(l, *t);
	free(*t);
	*t = NULL;
}

void
loop_soon(struct loop *l, struct loop_task *t)
{
	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	*l->tasks_tail = t;
	l->tasks_tail = &t->next;
}

void
loop_not(struct loop *l, struct loop_task *t)
{
	struct loop_task **at = &l->tasks;

	if (!t->queued)
		return;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (l->tasks_tail == &t->next)
		l->tasks_tail = at;
	t->queued = false;
}

static void
run_tasks(struct loop *l)
{
	struct loop_task *t;

	while ((t = l->tasks)) {
		loop_not(l, t);
		t->fn(t->ctx);
		if (l->idle)
			l->idle(l->idle_ctx);
	}
}

void
loop_before_wait(struct loop *l, loop_timer_fn *fn, void *ctx)
{
	l->idle = fn;
	l->idle_ctx = ctx;
}

/* Only timers set before this round fire, so a timer of 0 ms that sets another cannot starve the descriptors. */
static void
fire_timers(struct loop *l)
{
	int64_t now = clock_mono_us();
	uint64_t limit = l->orders;

	/* a fired timer has left the heap before it is freed; the analyzer does not see that */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	while (l->ntimers > 0 && l->heap[0]->due <= now && l->heap[0]->order < limit && !l->stopped) {
		struct loop_timer *t = l->heap[0];

		heap_remove(l, t);
		t->fn(t->ctx);
		free(t);
	}
}

int
loop_once(struct loop *l, int max_ms)
{
	struct epoll_event evs[128];
	int n, i, wait = max_ms;
	int64_t began;

	if (l->stopped)
		return 0;
	if (l->idle)
		l->idle(l->idle_ctx);
	run_tasks(l);
	if (l->ntimers > 0) {
		int64_t left = (l->heap[0]->due - clock_mono_us() + 999) / 1000;

		left = left < 0 ? 0 : left > 60000 ? 60000 : left;
		if (wait < 0 || left < wait)
			wait = (int)left;
	}
	began = clock_mono_us();
	n = epoll_wait(l->ep, evs, 128, wait);
	must(n >= 0 || errno == EINTR);
	l->waited_us += clock_mono_us() - began;
	for (i = 0; i < n && !l->stopped; i++) {
		int fd = (int)(uint32_t)evs[i].data.u64;
		struct watch *w = fd < l->nwatches ? &l->watches[fd] : NULL;

		if (w && w->fn && w->gen == (uint32_t)(evs[i].data.u64 >> 32))
			w->fn(w->ctx, fd, evs[i].events);
	}
	fire_timers(l);
	return !l->stopped;
}

int64_t
loop_waited_us(const struct loop *l)
{
	return l->waited_us;
}

void
loop_run(struct loop *l)
{
	while (loop_once(l, -1))
		;
}

void
loop_stop(struct loop *l)
{
	l->stopped = 1;
}
