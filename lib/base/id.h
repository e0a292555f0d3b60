/*
 * id: fixed-width identifiers: prefix + "01" + 22 base58 characters of a time-ordered 128-bit value (48 bits of milliseconds, then
 * random), so primary keys append and sort by time, bytewise.
 */
#ifndef ROOST_BASE_ID_H
#define ROOST_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_MAX 48	/* any id with its NUL */
#define ID_TAIL 24	/* "01" + 22 */

/* A fresh id. prefix ends in '_' ("sesn_"). Returns out. Aborts when the kernel has no randomness. */
char *id_new(const char *prefix, char out[ID_MAX]);

/* Is text well-formed for this prefix? (It may still not exist.) */
bool id_ok(const char *prefix, const char *text);

/*
 * Could text be an id, or a name made like one: letters, digits, `_` and `-`, shorter than ID_MAX? Of what comes from outside the process and
 * goes into an array of Postgres or a path. text may be NULL.
 */
bool id_is_name(const char *text);

/* Of an id, or any name, for tables (FNV-1a): who chooses names can choose ones that collide. */
uint32_t id_hash(const char *text);

/* 22 base58 characters for exactly these 16 bytes. */
void id_base58(const unsigned char bytes[16], char out[23]);

/* n <= 256 random bytes for a name that is no secret: the kernel is asked for many at a time. */
void id_noise(void *out, size_t n);

/* n random bytes; aborts when the kernel has none. */
void id_random(void *out, size_t n);

#endif
