/*
 * flight: a request that a thread has given away while Postgres works for it (reads.h, together.h): as its handler left it, with the arena that
 * holds what it points into. Whichever thread finds the answer goes on with it, with connections of its own.
 */
#ifndef ROOST_GATEWAY_FLIGHT_H
#define ROOST_GATEWAY_FLIGHT_H

#include <fcgiapp.h>

#include "park.h"
#include "serve.h"

struct flight {
	struct flight *next;
	struct gw_req r;
	struct db_later q;		/* of a read */
	struct err e;			/* of a send: how it went */
	FCGX_Request *fcgi;
	struct arena *arena;
	int64_t start_us;
};

/* Those that are not in the air, kept for the next ones. For several threads. */
struct flights;
struct flights *flights_new(void);
void flights_free(struct flights **all);

/* The thread's request takes off: its thread has another arena from now on. flight_back(): it has not been taken after all. */
struct flight *flight_off(struct flights *all, struct gw_thread *t, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us);
void flight_back(struct flights *all, struct gw_thread *t, struct flight *f);
/* It goes on in this thread; is answered: the reply leaves, and its connection is the park's again; is over: what is in its arena is gone. */
void flight_lands(struct flight *f, struct gw_thread *t);
void flight_answered(struct flight *f, struct park *park);
void flight_over(struct flights *all, struct flight *f);

#endif
