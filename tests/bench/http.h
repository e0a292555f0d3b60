/*
 * http: a small HTTP/1.1 client over TLS for measuring: one request at a time per connection, replies whole, streams in pieces. Dies with
 * a message when something is not as a measurement needs it.
 */
#ifndef ROOST_BENCH_HTTP_H
#define ROOST_BENCH_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct http;

/* Where to: ROOST_BASE_URL, ROOST_CA_FILE, ROOST_API_KEY of the environment. */
void http_init(void);

/* A connection to the instance's port, or another port of this host (0: the instance's). */
struct http *http_open(int port);
void http_close(struct http *h);
int http_fd(const struct http *h);

/* Send a request. body NULL: none. key NULL: the instance's. */
void http_send(struct http *h, const char *method, const char *path, const char *body, const char *key);

/* Take what has come. 0: not whole yet. Else the status; the body is in *out_body until the next call. Does not wait. */
int http_take(struct http *h, const char **out_body);

/* Send and wait. Dies unless the reply is 200. The caller frees. */
char *http_call(struct http *h, const char *method, const char *path, const char *body);

/* Open a stream: sends the GET and waits for the 200 and the first bytes. */
struct http *http_stream(const char *path);
struct http *http_stream_at(int port, const char *path);	/* on another port of this host; 0: the instance's */

/* Add what has come of the stream to *text. Does not wait. Dies when it ended. */
void http_hear(struct http *h, struct buf *text);

double now_us(void);
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
