/*
 * loop: one epoll loop with timers, for processes that wait on many things in one thread (worker, hub, hands).
 *
 * Watches are identified by fd. A callback may add, change or remove any watch or timer, its own included. Not thread safe, except
 * loop_stop(), which may be called from a signal handler.
 */
#ifndef ROOST_BASE_LOOP_H
#define ROOST_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_timer;

/* events: bits of EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP as epoll gives them */
typedef void loop_fd_fn(void *ctx, int fd, uint32_t events);
typedef void loop_timer_fn(void *ctx);

struct loop *loop_new(void);
void loop_free(struct loop **l);

/* Watch fd (level triggered), or change what is watched. The fd stays the caller's. */
void loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *ctx);
/* Stop watching; call before close(fd). Unknown fds are ignored. */
void loop_unwatch(struct loop *l, int fd);

/* Call fn once in ms milliseconds (0 = next round), never sooner. The timer is freed after it fired: set your pointer to NULL in fn. */
struct loop_timer *loop_after(struct loop *l, int64_t ms, loop_timer_fn *fn, void *ctx);
/* Cancel; accepts NULL, sets *t = NULL. */
void loop_cancel(struct loop *l, struct loop_timer **t);

/*
 * Something to do before the loop waits again, once: what was collected while it served what was ready goes out in one piece. The task is
 * its owner's and lives until it ran or was cancelled. Asking twice is asking once; what is asked for by a task runs before the same wait.
 */
struct loop_task {
	struct loop_task *next;
	loop_timer_fn *fn;
	void *ctx;
	bool queued;
};

void loop_soon(struct loop *l, struct loop_task *t);
void loop_not(struct loop *l, struct loop_task *t);

/* Call fn when everything that was ready has been served, and again after each task. One; NULL: none. It must not add timers or tasks. */
void loop_before_wait(struct loop *l, loop_timer_fn *fn, void *ctx);

/* How long it has waited for something to do, since loop_new(), in microseconds: the rest of the time it was at work, or wanted to be. */
int64_t loop_waited_us(const struct loop *l);

/* Run until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Wait at most max_ms (-1 = until something happens), serve what is ready; for tests and drains. Returns 0 when stopped. */
int loop_once(struct loop *l, int max_ms);

#endif
