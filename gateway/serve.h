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

/* Of the process; read-only after the start. */
struct gw {
	const struct conf *conf;
	struct auth *auth;
	struct cursor_key cursor_key;
};

/* Of one handler thread. */
struct gw_thread {
	const struct gw *gw;
	struct db *db;
	struct bus *bus;
	struct arena *arena;
};

/* Answer the accepted request completely; the body is read to its end (bounded) whatever the outcome. */
void serve(struct gw_thread *t, FCGX_Request *fcgi);

#endif
