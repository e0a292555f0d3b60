/*
 * jw: writes JSON text into a buf, without a tree.
 *
 * The writer keeps the nesting and refuses (must) a malformed document: a value without key in an object, unbalanced closes. Strings
 * must be valid UTF-8 (invalid bytes become U+FFFD). jw_raw() splices text that is already JSON, byte for byte: inputs that a model
 * produced and stored bodies go through it, because re-dumping changes numbers.
 */
#ifndef ROOST_BASE_JW_H
#define ROOST_BASE_JW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define JW_DEPTH 32

struct jw {
	struct buf *out;
	int depth;
	char kind[JW_DEPTH];		/* '{' or '[' */
	bool started[JW_DEPTH];		/* a member has been written */
	bool keyed;			/* a key waits for its value */
};

/* Start one document at the end of out (borrowed until jw_end). */
void jw_begin(struct jw *w, struct buf *out);
/* Check that the document is complete. */
void jw_end(struct jw *w);

void jw_obj(struct jw *w);		/* { */
void jw_obj_end(struct jw *w);
void jw_arr(struct jw *w);		/* [ */
void jw_arr_end(struct jw *w);
void jw_key(struct jw *w, const char *key);

void jw_str(struct jw *w, const char *s);			/* NULL writes null */
void jw_strn(struct jw *w, const char *s, size_t len);
void jw_int(struct jw *w, int64_t v);
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_seconds(struct jw *w, int64_t ms);			/* milliseconds as decimal seconds: 1234 -> 1.234 */
void jw_raw(struct jw *w, const char *json, size_t len);	/* trusted JSON text, one value */
void jw_json(struct jw *w, const json_t *v);			/* a jansson tree, compact */

/* key + value in one call */
void jw_kstr(struct jw *w, const char *key, const char *s);
void jw_kint(struct jw *w, const char *key, int64_t v);
void jw_kbool(struct jw *w, const char *key, bool v);
void jw_knull(struct jw *w, const char *key);
void jw_kraw(struct jw *w, const char *key, const char *json);	/* NULL writes null */
void jw_kjson(struct jw *w, const char *key, const json_t *v);

/* Only the escaped string with its quotes, outside any document. */
void jw_quote(struct buf *out, const char *s, size_t len);

#endif
