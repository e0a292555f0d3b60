/*
 * buf: a growing byte buffer with a ceiling.
 *
 * Zero-initialised is valid and empty (BUF_INIT(max) sets the ceiling; max 0 = no ceiling). Crossing the ceiling sets `over`, keeps
 * what is there and ignores all later puts, so a caller checks once at the end. `data` is always NUL-terminated when not NULL.
 */
#ifndef ROOST_BASE_BUF_H
#define ROOST_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

struct buf {
	char *data;
	size_t len, cap, max;
	bool over;
	bool secret;	/* set before the first byte: memory is wiped whenever it is given back */
};

#define BUF_INIT(m) { .max = (m) }

void buf_put(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_ch(struct buf *b, char c);
void buf_int(struct buf *b, int64_t v);		/* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Make room for len more bytes and return where to write them; the caller then adds to b->len. NULL when over the ceiling. */
char *buf_reserve(struct buf *b, size_t len);

/* Drop the first n bytes (n <= len). */
void buf_shift(struct buf *b, size_t n);

/* Empty it, keep the memory. */
void buf_reset(struct buf *b);

/* Hand the NUL-terminated bytes to the caller, who frees them; b is empty afterwards. Never NULL. */
char *buf_steal(struct buf *b);

/* Release the memory. */
void buf_free(struct buf *b);

__attribute__((unused)) static inline void
buf_cleanup(struct buf *b)
{
	buf_free(b);
}

#endif
