/*
 * serve: the frame around every handler. Takes one FastCGI request from its first byte to its last: routing, authentication, body and
 * query checks, the handler, the reply with its headers or the error envelope, one log line. Nothing of the frame is in a handler.
 */
#ifndef ROOST_GATEWAY_SERVE_H
#define ROOST_GATEWAY_SERVE_H

#include <fcgiapp.h>

#include "auth.h"
#include "bus.h"
#include "conf.h"
#include "cursor.h"
#include "db.h"
#include "dedupe.h"
#include "park.h"
#include "req.h"

struct uploads;
struct probes;
struct reads;
struct together;
struct shares;
struct waiting;
struct ready;

/* Of the process; read-only after the start. */
struct gw {
	const struct conf *conf;
	struct auth *auth;
	struct cursor_key cursor_key;
	struct uploads *uploads;
	struct probes *probes;
	struct reads *reads;
	struct together *sends, *writes;
	struct shares *shares;
	struct waiting *waiting;
	struct kits *kits;
	struct ready *ready;
	struct conns *conns;
};

/* Of one handler thread. */
struct gw_thread {
	const struct gw *gw;
	struct db *db;
	struct bus *bus;
	struct bells *bells;
	struct arena *arena;
};

/*
 * Answer the accepted request completely; the body is read to its end (bounded) whatever the outcome. False: an upload, a
 * validation, a quick read, a send or a new object, or one that waits for its turn, which has been handed over and will be answered and
 * given back to the park by another thread (upload.h, probe.h, reads.h, together.h, waiting.h).
 */
bool serve(struct gw_thread *t, FCGX_Request *fcgi);
/* The same of one that has waited for its turn (waiting.h): its key has been looked at, it counts as begun. */
bool serve_on(struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us);

/*
 * What the spare thread does (park.h), whose t has no connection to Postgres: who needs none is answered, who does is kept, or refused when too
 * many are or Postgres is known to stand still.
 */
enum park_spare serve_spare(struct gw_thread *t, FCGX_Request *fcgi, bool full);

/* For what was handed over. Which call r is an attempt of, by its headers and what its body says. */
int serve_attempt(const struct gw_req *r, const FCGX_Request *fcgi, const char *body, size_t len, struct dedupe_id *out, struct err *e);
/* A quick read's answer has come (q->res; NULL: it is to be read the usual way): its handler once more, and the last words. */
void serve_again(struct gw_thread *t, struct gw_req *r, struct db_later *q, FCGX_Request *fcgi, int64_t start_us);

#endif
