/*
 * ask: frames (frame.h) over a unix socket for who waits for the answer: one thread, one question at a time, a deadline for each step.
 */
#ifndef ROOST_BASE_ASK_H
#define ROOST_BASE_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "jx.h"

/* A connected descriptor, or -1 with EK_UNAVAILABLE. */
int ask_connect(const char *socket_path, struct err *e);
/*
 * The same of a process that may be just being replaced: while nobody listens there it is tried again, for ASK_REACH_MS, but not beyond until (of
 * clock_mono_ms()). Nothing has been asked before it returns, so this repeats nothing.
 */
#define ASK_REACH_MS 5000
int ask_reach(const char *socket_path, int64_t until, struct err *e);

/* Send one frame of at most FRAME_MAX bytes. deadline: of clock_mono_ms(). EK_UNAVAILABLE: the peer is gone; EK_TIMEOUT. */
int ask_send(int fd, const char *json, size_t len, int64_t deadline, struct err *e);

/*
 * Receive one frame of at most max bytes into out, which is emptied before. 0, or -1: EK_UNAVAILABLE (gone, also between frames), EK_TIMEOUT,
 * EK_TOO_LARGE.
 */
int ask_recv(int fd, size_t max, int64_t deadline, struct buf *out, struct err *e);

/* The frame that says why there is no answer, {"error":"<kind>"}: the kind is all that leaves the process. */
void ask_refuse(struct buf *out, enum err_kind kind);
/* -1 with the kind when reply is such a frame. */
int ask_refused(const json_t *reply, struct err *e);

/*
 * One question and its answer, a JSON object of at most max bytes. until: of clock_mono_ms(). 0 with *out the caller's; or -1, *out untouched:
 * what ask_send() and ask_recv() say, EK_INTERNAL when the answer is no object, or the kind of a refusal. No error quotes more of the answer, and
 * its text is wiped: it may hold a secret.
 */
int ask_json(int fd, const char *question, size_t max, int64_t until, json_t **out, struct err *e);

#endif
