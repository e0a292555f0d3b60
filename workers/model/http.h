/*
 * http: POSTs with streamed replies, libcurl's multi interface inside the loop.
 *
 * HTTP/1.1 over kept connections, certificates verified, no proxy, cookie, netrc or redirect. Callbacks come from the loop and never
 * from inside libcurl, so they may start, cancel and release anything. A transfer that has no connection after connect_ms, brings no byte
 * for stall_ms, or lasts longer than an hour, ends (a quarter of a second late at most); a reply over max_bytes ends.
 */
#ifndef ROOST_WORKERS_MODEL_HTTP_H
#define ROOST_WORKERS_MODEL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "loop.h"

#define HTTP_HEADERS_MAX 6

struct http;
struct http_xfer;

/* Bytes shared by several transfers. Counted; the last put frees. */
struct http_body {
	int refs;
	struct buf bytes;
};
struct http_body *http_body_new(void);
struct http_body *http_body_get(struct http_body *b);
void http_body_put(struct http_body **b);

enum http_how {
	HTTP_COMPLETE,		/* the whole body came */
	HTTP_BROKEN,		/* connecting, TLS or the connection failed; detail says how */
	HTTP_STALLED,		/* silent for stall_ms, or over the longest time */
	HTTP_TOO_LARGE,
};

struct http_end {
	enum http_how how;
	int status;		/* 0: no response line came */
	int64_t retry_after_ms;	/* the server's wish, or 0 */
	const char *detail;	/* libcurl's words, no header or body in them; "" otherwise */
};

struct http_events {
	/* A piece of the body. http_status() tells whether it is a success's. */
	void (*data)(void *ctx, const char *bytes, size_t len);
	/* The transfer is over and freed after return; never after http_cancel or http_release. */
	void (*end)(void *ctx, const struct http_end *end);
};

struct http_post {
	const char *url;
	const char *headers[HTTP_HEADERS_MAX];	/* whole lines, NULL-terminated unless full; copied, wiped after use */
	struct buf *head;			/* taken: sent before body */
	struct http_body *body;			/* a reference is taken */
};

struct http *http_new(struct loop *loop, int64_t connect_ms, int64_t stall_ms, size_t max_bytes);
/* Ends all transfers without callbacks. Not from inside a callback. */
void http_free(struct http **h);

struct http_xfer *http_start(struct http *h, const struct http_post *p, const struct http_events *ev, void *ctx);
int http_status(const struct http_xfer *x);
/* The provider's id of the request, from the response's headers: "" when there is none yet. */
void http_request_id(const struct http_xfer *x, char *out, size_t size);

/* Drop the connection; no callback any more. Sets *x = NULL. */
void http_cancel(struct http_xfer **x);
/* All that was wanted has come: let it finish unheard for a moment, so that the connection can be used again. Sets *x = NULL. */
void http_release(struct http_xfer **x);

#endif
