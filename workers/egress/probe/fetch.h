/*
 * fetch: one HTTP request to a server that a tenant named, and what came back. Blocking, with a deadline. https only unless a setting allows
 * http, public addresses only (guard.h), no redirect followed, no proxy, no cookie, nothing kept between requests but the connection.
 */
#ifndef ROOST_EGRESS_FETCH_H
#define ROOST_EGRESS_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "err.h"

#define FETCH_HEADERS 12
#define FETCH_BODY (1u << 20)	/* bytes of a reply's body that are looked at */

struct fetch;			/* of the process */

struct fetch_ask {
	const char *method, *url;
	const char *headers[FETCH_HEADERS];	/* whole lines; NULL ends */
	const char *body;			/* NULL: none */
	int64_t ms;				/* longest time */
	/* Asked with the body as far as it is there, when the reply is an event stream: is it enough? NULL: read to the end. */
	bool (*enough)(void *arg, const struct buf *body);
	void *arg;
};

struct fetch_reply {
	int status;		/* 0: there was no answer */
	bool sent;		/* the request may have reached the server, although no answer came */
	bool refused;		/* the address or URL is not one that may be reached */
	bool cut;		/* the body goes on */
	char type[128];		/* Content-Type, "" when there is none */
	char session[256];	/* Mcp-Session-Id */
	struct buf body;
	char why[128];		/* no answer: for the log */
};

/* EK_INVALID when a setting is wrong. */
struct fetch *fetch_open(const struct conf *c, struct err *e);
void fetch_close(struct fetch **f);

/* Always fills out, which is emptied before and freed with fetch_reply_free(). */
void fetch_run(struct fetch *f, const struct fetch_ask *ask, struct fetch_reply *out);
void fetch_reply_free(struct fetch_reply *r);

/* Is the reply's media type this one? */
bool fetch_is(const struct fetch_reply *r, const char *essence);

#endif
