/*
 * park: the parked dispatch (performance.md 1). One epoll set holds the listening socket and every kept connection; the handler thread that
 * leads takes one readable descriptor, lets libfcgi read exactly one request from it, answers, and parks it again. An idle kept
 * connection costs no thread. The others sleep: while the leader waits for something else, the next event wakes one of them, which leads;
 * one that is held up is joined by another. When all are held, a thread that never waits takes what comes (park_spare_run()).
 */
#ifndef ROOST_GATEWAY_PARK_H
#define ROOST_GATEWAY_PARK_H

#include <fcgiapp.h>
#include <stdbool.h>

#include "err.h"

struct park;

/* Bind and listen on a unix socket, mode 0660, group (may be ""). Replaces a stale socket file. */
struct park *park_open(const char *socket_path, const char *group, struct err *e);

/*
 * A handler thread's life: answers requests with handle(arg, request) until park_stop(), then what is already readable, then returns.
 * handle() false: the request now belongs to somebody who will answer it and call park_done(). rest(arg, false) is called when a
 * reply has left, rest(arg, true) now and then while there is nothing to do: for what nobody waits for.
 */
void park_run(struct park *p, bool (*handle)(void *arg, FCGX_Request *fcgi), void (*rest)(void *arg, bool idle), void *arg);

/*
 * The life of one more thread: while all those of park_run() are held, and have been for a while, it takes what comes, and handle() says what
 * becomes of it: answered; given to somebody who will answer it and call park_done(); or kept, in order, for the first of them that is free.
 * full: no more is kept. handle() must not wait for what holds the others. Returns after park_stop().
 */
enum park_spare { PARK_ANSWERED, PARK_GIVEN, PARK_KEPT };
void park_spare_run(struct park *p, enum park_spare (*handle)(void *arg, FCGX_Request *fcgi, bool full), void *arg);

/*
 * Another descriptor in the same set, say a connection that answers requests which were given away: whichever thread finds it readable calls
 * ready(arg, its own argument of park_run()). Its owner asks for each report anew; fresh: the first time. Stopping waits while
 * pending(arg) > 0, as it does for requests. What is gathered to be sent there together, gathers(arg), is sent by flush(arg) as soon as
 * nothing else is readable, after a few more events, or when the thread that leads is about to wait for something else; both may be NULL.
 * So may ready, of one that has no descriptor and is only waited for.
 * park_aside(): before the first park_run(). What it returns is the seat that park_aside_watch() is called with, which stands
 * where dbshare_open() and warmq_open() want a function and its argument.
 */
#define PARK_ASIDES 5
struct park_aside {
	void (*ready)(void *arg, void *thread_arg);
	void (*note)(void *arg);	/* the same by a thread that cannot go on with it: for somebody's rest(). With ready */
	int (*pending)(void *arg);
	bool (*gathers)(void *arg);
	void (*flush)(void *arg);
	void *arg;
};
struct park_seat { struct park *park; int aside; };
struct park_seat park_aside(struct park *p, const struct park_aside *a);
void park_aside_watch(void *seat, int fd, bool fresh);

/* Does the calling thread lead: will it send what is gathered, as soon as it is back? */
bool park_leads(const struct park *p);

/* There is something to be done in rest(): some thread that is free calls it now. */
void park_nudge(struct park *p);

/* A request that handle() gave away has been answered: its connection is parked again or closed, the request freed. From any thread. */
void park_done(struct park *p, FCGX_Request *fcgi);

/* The calling thread is about to wait for something else, or to work for long: it does not lead any more. */
void park_yield(void);

/* No new connections; every park_run() returns once no request is waiting. Callable from another thread. */
void park_stop(struct park *p);

/* After all park_run() have returned. */
void park_close(struct park **p);

#endif
