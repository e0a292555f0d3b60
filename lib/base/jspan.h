/*
 * jspan: looks into JSON text without building a tree, and checks JSON text that stays text.
 *
 * A span is the exact text of one value inside a larger text, borrowed from it. Contexts are joined and tool inputs are spliced as
 * text (jansson reprints 1.10 and refuses integers above 2^63), so what must be known about them is read here. Reading is lenient:
 * it trusts text that was checked once, never leaves [p, end), and reports nonsense as "no more". jspan_check_object() is strict.
 */
#ifndef ROOST_BASE_JSPAN_H
#define ROOST_BASE_JSPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct jspan {
	const char *p;
	size_t n;
};

struct jspan_iter {
	const char *p, *end;
};

/* Walk the members of an object, the elements of an array, or comma-separated values without brackets. */
struct jspan_iter jspan_object(struct jspan object);
struct jspan_iter jspan_array(struct jspan array);
struct jspan_iter jspan_list(const char *text, size_t len);

/* The next element. false at the end, or at the first thing that is no value. */
bool jspan_next(struct jspan_iter *it, struct jspan *out_value);
/* The next member; key is the text between its quotes, escapes untouched. */
bool jspan_member(struct jspan_iter *it, struct jspan *out_key, struct jspan *out_value);

/* The value at a plain ASCII key of an object. */
bool jspan_get(struct jspan object, const char *key, struct jspan *out_value);
/* Is the value the string text (plain ASCII, nothing that JSON would escape)? */
bool jspan_is(struct jspan value, const char *text);
/* Is the value a string of white space only (or empty)? */
bool jspan_blank(struct jspan value);

/* An integer without fraction or exponent, at most 18 digits. */
bool jspan_int(struct jspan value, int64_t *out);

/* Append the decoded string (UTF-8) to out. \u0000 and lone surrogates become U+FFFD. Anything but a string appends nothing. */
void jspan_unquote(struct buf *out, struct jspan string);

/*
 * Is text exactly one valid JSON object (RFC 8259: grammar, UTF-8, no lone surrogates), at most max_depth deep? White space around
 * it is allowed.
 */
bool jspan_check_object(const char *text, size_t len, int max_depth);

#endif
