/*
 * req: one request as a handler sees it. The frame (serve.c) has matched the route, authenticated, read and shape-checked the body and
 * the query; the handler checks what needs data, changes, and encodes its reply into `out`. Errors it returns become envelopes.
 */
#ifndef ROOST_GATEWAY_REQ_H
#define ROOST_GATEWAY_REQ_H

#include <jansson.h>

#include "arena.h"
#include "buf.h"
#include "bus.h"
#include "conf.h"
#include "cursor.h"
#include "db.h"
#include "err.h"
#include "id.h"
#include "query.h"
#include "tenant.h"

#define REQ_PARAMS 2

struct route;
struct after;
struct bells;
struct upload_file;
struct probe_target;
struct send_later;
struct write_later;
struct kits;
struct ready;
struct verdict;

struct gw_req {
	const struct conf *conf;
	struct db *db;			/* this thread's */
	struct bus *bus;		/* this thread's */
	struct bells *bells;		/* this thread's, NULL: none (bell.h) */
	struct arena *arena;		/* this request's */
	const struct cursor_key *cursor_key;
	const struct conns *conns;	/* this process' */
	const struct route *route;
	const char *param[REQ_PARAMS];	/* path parameters, well-formed */
	struct tenant_key who;		/* zero on open routes */
	json_t *body;			/* of the route's shape, or NULL when it has none or none was sent. The handler's to change */
	struct buf text;		/* what it was read from, for another run of the handler; empty if large */
	struct query query;
	char id[ID_MAX];		/* req_ */
	int status;			/* 200 unless the handler says otherwise */
	struct buf out;			/* the reply's JSON; complete before a commit, or not begun */
	struct buf sent;		/* of a reply that echoes events: `id stamp` or `id -` per line, so that it need not be kept */
	bool replayed;			/* `out` is an earlier attempt's answer */
	struct after *after;		/* after.h */
	bool managed;			/* its anthropic-beta names managed-agents */
	const struct upload_file *upload;	/* upload.h: what a multipart route has received */
	const struct probe_target *probe;	/* probe.h: the answer is still to be asked for */
	int may_send;			/* how many messages its handler may leave to be sent with others */
	struct send_later *later;	/* together.h: ... as it has done */
	bool may_write;			/* may it leave a new object to be written with others? */
	struct write_later *write;	/* together.h: ... as it has done */
	struct kits *kits;		/* this process' */
	struct ready *ready;		/* this process' */
	void (*looks)(struct gw_req *r, const struct verdict *v);	/* ready.h: puts in the verdict of a look that is still to come */
	struct buf head;		/* more header lines of a reply that is no error */
	const char *type;		/* its Content-Type; NULL: JSON */
};

typedef int gw_handler(struct gw_req *r, struct err *e);

/* EK_FORBIDDEN when the organization is suspended; for handlers that learn its state inside their transaction. */
int req_active(const char *organization_state, struct err *e);

#endif
