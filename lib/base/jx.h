/*
 * jx: jansson with limits checked before memory is spent.
 *
 * json_t trees are owned with AUTO(json); json_object_get() results are borrowed.
 */
#ifndef ROOST_BASE_JX_H
#define ROOST_BASE_JX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "cleanup.h"
#include "err.h"

DEFINE_CLEANUP(json_t *, json, json_decref)

#define JX_DEPTH_MAX 64		/* deepest legal document; the contract's deepest shape needs 9 */

/*
 * Parse one JSON value. Refused (EK_INVALID, text fit for a client): nesting over JX_DEPTH_MAX (found by a byte scan before
 * parsing), duplicate keys, invalid UTF-8, NUL characters, trailing garbage. The caller owns *out.
 */
int jx_parse(const char *text, size_t len, json_t **out, struct err *e);

/*
 * The same, and every number keeps its text: 1.10, -0, 12345678901234567890. Those that jansson would change stand in the tree as strings
 * that jx_is_exact() tells from a client's; jx_write(), jx_dump() and jw_json() write them as numbers again. Numbers beyond double's range
 * are refused.
 */
int jx_parse_exact(const char *text, size_t len, json_t **out, struct err *e);
bool jx_is_exact(const json_t *v);

/* The index behind the string that begins with the quote at text[i], or len when it does not end. Looks at each byte once. */
size_t jx_string_end(const char *text, size_t len, size_t i);

/* The string at key, or NULL when absent or not a string. Borrowed. */
const char *jx_str(const json_t *obj, const char *key);
/* The integer at key, or dflt. */
json_int_t jx_int(const json_t *obj, const char *key, json_int_t dflt);
/* The boolean at key, or dflt. */
int jx_bool(const json_t *obj, const char *key, int dflt);
/* Compact text of a tree; the caller frees it. Key order kept. */
char *jx_dump(const json_t *v);
/* The same, at the end of b. */
void jx_write(struct buf *b, const json_t *v);

#endif
