/*
 * stream_rig: what tests of the streams share: a real Postgres, Redis and, if wanted, nginx in a temporary folder, two workspaces with a
 * key each, a session whose log the test writes, roost-stream processes, and clients that speak to them as nginx does (FastCGI) or
 * through nginx (HTTP). Fails the cmocka test that runs. Programs run from the top of the checkout.
 */
#ifndef ROOST_TESTS_STREAM_RIG_H
#define ROOST_TESTS_STREAM_RIG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "apikey.h"
#include "buf.h"
#include "bus.h"
#include "conf.h"
#include "id.h"

#define SR_PING_MS 1200
#define SR_SOON_MS 30000		/* the longest a client waits for anything */
#define SR_HUBS 2
#define SR_SILENCE_MS 2000	/* after which nginx gives a TCP client up that acknowledges nothing */
#define SR_NGINX (-1)		/* instead of a hub's number: through nginx */
#define SR_NGINX_TCP (-2)	/* by its port */

extern char sr_dir[64], sr_session[ID_MAX], sr_thread[ID_MAX], sr_key[2][APIKEY_LEN + 1];
extern struct conf sr_conf;		/* of hub 0: also what an in-process hub uses */
extern struct bus *sr_bus;
extern PGconn *sr_owner;
extern int sr_last_seq;
extern pid_t sr_hub[SR_HUBS];		/* 0: not running */

/* Postgres, Redis, keys; no hub. max: sse_max of each. */
void sr_start(int max);
/* Ends everything that was started. 0 when nothing is left. */
int sr_stop(void);

void sr_redis_start(void);
void sr_redis_kill(void);
void sr_redis_signal(int sig);
void sr_redis_flush(void);
/* As pg_ctl's immediate stop, and the start after it. */
void sr_postgres_kill(void);
void sr_postgres_start(void);
void sr_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* roost-stream number n of this build, listening when it returns. */
void sr_hub_start(int n);
/* Send the signal and wait for the end. Returns the status of waitpid. */
int sr_hub_end(int n, int sig);
/* Resident bytes. */
int64_t sr_hub_memory(int n);

/* An nginx with the instance's own settings for streams in front of all hubs, started as the instance starts it (ops/roostctl/listen.c). */
void sr_nginx_start(void);
void sr_nginx_reload(void);
void sr_nginx_kill(void);
struct sr_client;
/* Has it still this client's connection, by its port? */
bool sr_nginx_holds(const struct sr_client *c);

/* --- clients ------------------------------------------------------------------------------------------------------------------- */

struct sr_client {
	int fd;
	struct buf raw, text;		/* text: what the response holds, header included */
	size_t scanned;			/* of text: whole frames looked at */
	int64_t last;			/* the last `id:`, -1 before the first */
	int64_t events;			/* frames with an `id:` that are no ping */
	int64_t out_of_order;		/* those whose number is not the one after `last` */
	bool http;			/* through nginx */
	bool forget;			/* drop text once it was looked at */
	bool ended;			/* END_REQUEST seen */
	bool closed;
};

/* What is NULL is left out of the request, what is "" is a good value. */
struct sr_ask { const char *method, *path, *bearer, *beta, *version, *agent; };
#define SR_GET(p) (&(struct sr_ask){ "GET", (p), "", "", "", NULL })

/* To hub 0. */
struct sr_client sr_ask(const struct sr_ask *a);
/* To hub n, or through nginx (-1), resuming after `last` (a Last-Event-ID; NULL: none). */
struct sr_client sr_ask_at(const struct sr_ask *a, int n, const char *last);

/* The path of the session's stream, in a static buffer; query begins with ?. */
const char *sr_path(const char *query);
/* The session's stream on hub 0, opened; also when the hub has to notice first that others have left. */
struct sr_client sr_open_stream(const char *query);
/* On hub n or through nginx (-1), after event number `last` (-1: live). */
struct sr_client sr_open_at(int n, int64_t last);
/* Come again, at hub n, with the last id that was seen; what was counted stays. The server may need a moment. */
void sr_come_again(struct sr_client *c, int n);

/* Wait up to ms for something to read, and take it. */
void sr_hear(struct sr_client *c, int ms);
bool sr_heard(const struct sr_client *c, const char *what);
/* Wait until the client has got this text. Returns the milliseconds it took. */
int64_t sr_expect(struct sr_client *c, const char *what);
/* Wait until the client has got event number seq, at most ms. Every one so far must have come once and in order. */
int64_t sr_expect_seq(struct sr_client *c, int64_t seq, int ms);
/* The response ends, and the connection with it. */
void sr_expect_end(struct sr_client *c);
/* The connection ends, somehow. */
void sr_expect_closed(struct sr_client *c);
int sr_count(const struct sr_client *c, const char *what);
void sr_hang_up(struct sr_client *c);
/* Teardown of a test: whoever it has left connected, because it failed, is gone for the next one. */
int sr_clear(void **state);

/* --- a session ----------------------------------------------------------------------------------------------------------------- */

void sr_new_session(void);
/* Commit an event to the log; its body grows to `size` when that is larger. */
void sr_commit(const char *type, int size);
/* Commit n events of one type and size at once. */
void sr_commit_many(const char *type, int n, int size);
/* Tell the hubs about one; body NULL: as sr_commit makes it. Redis must be there. */
void sr_publish(const char *type, int seq, const char *body);
/* Both, and Redis need not be there. */
void sr_emit(const char *type);
/* A preview as a worker sends it: numbered. */
void sr_preview(const char *type, const char *body, const char *number);

#endif
