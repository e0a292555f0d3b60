/*
 * gateway_rig: a roost-gateway of its own with real Postgres and Redis in a temporary folder, tenants to try, and a FastCGI client that
 * speaks to it the way nginx does: one kept connection, one request at a time.
 */
#ifndef ROOST_TESTS_GATEWAY_RIG_H
#define ROOST_TESTS_GATEWAY_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "id.h"
#include "jx.h"

/* Who calls. Workspaces: GWR_A and GWR_B of one organization, GWR_C of another, GWR_SUSPENDED of a third that is suspended. */
enum gwr_who { GWR_A, GWR_B, GWR_C, GWR_SUSPENDED, GWR_ADMIN, GWR_REVOKED, GWR_EXPIRED, GWR_ARCHIVED, GWR_UNKNOWN, GWR_NOBODY };

extern char gwr_dir[64];

/* Runs from the top of the checkout; OUT (environment) names the build folder. settings: more lines for the configuration. */
void gwr_start(const char *settings);
void gwr_stop(void);
/* gwr_stop() as cmocka's teardown of a group. */
int gwr_over(void **state);
/* End the process with SIGTERM and start it again; its exit status must be 0. */
void gwr_restart(void);
const char *gwr_key(enum gwr_who who);

struct gwr_reply {
	int status;
	char *head, *body;		/* head: header lines; body: NUL-terminated */
	size_t len;
	json_t *json;			/* the body, or NULL when it is not JSON */
};
void gwr_reply_free(struct gwr_reply *r);

__attribute__((unused)) static inline void
gwr_reply_cleanup(struct gwr_reply *r)
{
	gwr_reply_free(r);
}

/*
 * One request on the kept connection. headers: name, value pairs up to NULL, as FastCGI parameters ("HTTP_X_API_KEY"); NULL: those of
 * `who` (Bearer key, version, beta).
 */
void gwr_send(enum gwr_who who, const char *method, const char *uri, const char *body, size_t len, const char *const *headers,
    struct gwr_reply *out);

/* The same in steps, on a connection of its own: the head with this content length, the body in pieces (the last has length 0), the
 * reply, which closes it. gwr_body() and gwr_answer(): false when the gateway has closed. */
int gwr_begin(enum gwr_who who, const char *method, const char *uri, size_t len, const char *const *headers);
bool gwr_body(int fd, const void *data, size_t len);
bool gwr_answer(int fd, struct gwr_reply *out);

/* The gateway's process. */
int gwr_pid(void);

/* A header's value in a reply (lower-case name), or NULL. The caller frees it. */
char *gwr_header(const struct gwr_reply *r, const char *name);

/* Expect 200 and JSON; the caller owns it. body may be NULL. fmt as printf. */
json_t *gwr_ok(enum gwr_who who, const char *method, const char *uri, const char *body);
/* A new agent (of the scripted model) and an environment; a session of two such; all three: their ids. */
void gwr_parts(enum gwr_who who, char agent[ID_MAX], char environment[ID_MAX]);
void gwr_session_of(enum gwr_who who, const char *agent, const char *environment, char session[ID_MAX]);
void gwr_session(enum gwr_who who, char agent[ID_MAX], char environment[ID_MAX], char session[ID_MAX]);
/* Expect this status, error type and beginning of the message; all standard headers and the envelope are checked. */
void gwr_bad(enum gwr_who who, const char *method, const char *uri, const char *body, int status, const char *type, const char *message);

/* How many connections the client has had to open: a kept connection that broke shows here. */
int gwr_connections(void);

/* Redis is gone for the rest of the program. */
void gwr_stop_redis(void);

/* In a child process: use a connection of one's own from now on. */
void gwr_forked(void);

/* Run SQL as the database's owner; the first cell as text, which the caller frees. */
char *gwr_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Wait until the query's first cell is want. */
void gwr_wait(const char *want, const char *sql);

/* A digest of everything the API can change, and of what of that is not GWR_A's. The caller frees it. */
char *gwr_state(void);
char *gwr_state_of_others(void);

/* Text in a static ring of buffers, for arguments. */
const char *gwr_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
