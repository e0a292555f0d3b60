/*
 * frame: u32 big-endian length + that many bytes (JSON), over a stream socket: how worker and hands talk (design section 7).
 *
 * A connection object buffers both directions and never blocks; a frame over the ceiling closes the connection. The caller watches
 * the fd in its own loop and calls frame_on_event().
 */
#ifndef ROOST_BASE_FRAME_H
#define ROOST_BASE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define FRAME_MAX (4u << 20)	/* one frame: a tool input or result; results are cut at 100,000 characters before */

struct frame_conn;

/* One whole frame arrived; json is NUL-terminated, borrowed until return. Return -1 to have the connection closed. */
typedef int frame_fn(void *ctx, struct frame_conn *fc, const char *json, size_t len);

/* Takes fd (made non-blocking). */
struct frame_conn *frame_new(int fd, frame_fn *fn, void *ctx);
/* Closes the fd and frees; sets *fc = NULL; accepts NULL. */
void frame_free(struct frame_conn **fc);
int frame_fd(const struct frame_conn *fc);

/* Queue one frame and write what fits. -1: the peer is gone or over 16 MiB waits unread (EK_UNAVAILABLE). */
int frame_send(struct frame_conn *fc, const char *json, size_t len, struct err *e);

/* The longest frame that frame_send() takes now: who has more waits for EPOLLOUT. */
size_t frame_room(const struct frame_conn *fc);

/* Serve epoll's events. -1: closed by the peer or protocol error; the caller frees. */
int frame_on_event(struct frame_conn *fc, uint32_t events);

/* The epoll events to wait for now (EPOLLIN, plus EPOLLOUT while output waits). */
uint32_t frame_wants(const struct frame_conn *fc);

#endif
