/* utf8: what counts as a character (RFC 3629), on both sides of the sandbox's wall. NUL and every byte of what is not UTF-8 counts as one. */
#ifndef ROOST_SANDBOX_UTF8_H
#define ROOST_SANDBOX_UTF8_H

#include <stddef.h>

/* Bytes of the valid character at p (left > 0 bytes are there); 0: none, or NUL. */
size_t utf8_char(const char *p, size_t left);
/* Characters in len bytes. */
size_t utf8_count(const char *p, size_t len);

#endif
