/* percent: what URLs and header values write as %XX. */
#ifndef ROOST_BASE_PERCENT_H
#define ROOST_BASE_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

/* The byte that the first three of len characters stand for, 1 to 255; -1: they are no %XX, or %00. */
int percent_byte(const char *s, size_t len);

/* Copy len bytes with each %XX decoded (and + as space when plus). false: malformed, too long for size, or with a NUL. */
bool percent_decode(const char *s, size_t len, bool plus, char *out, size_t size);

#endif
