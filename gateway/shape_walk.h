/*
 * shape_walk: the two walks of shape_check() and what they share: places in a body, and which variant of a union a value is. Only the
 * files of shape.h need it.
 */
#ifndef ROOST_GATEWAY_SHAPE_WALK_H
#define ROOST_GATEWAY_SHAPE_WALK_H

#include <stdbool.h>

#include "buf.h"
#include "shape.h"

/* One step of a path: a key or an index, and the variant chosen there when semantic paths name it. */
struct shape_at {
	const struct shape_at *up;
	const char *key;
	size_t index;
	const char *variant;
};

/* As text: tools[0].name, or dotted, with variants, tools.0.custom.name. Of the body itself: nothing. */
void shape_at_put(const struct shape_at *at, bool dotted, struct buf *b);

/* The variant that a value names, or NULL. */
const struct shape_variant *shape_variant_of(const struct shape_union *u, const json_t *v);

/* First walk: unknown keys, types, enum values. 0, or -1 and EK_INVALID with the bracketed place. */
int shape_form(const struct shape *s, const json_t *body, struct err *e);

/* Second walk, of what the first one has let through: required, lengths, ranges, features to come. EK_INVALID with the dotted place. */
int shape_limits(const struct shape *s, const json_t *body, struct err *e);
/* The same of one value; at: its place, whose variant may be set. */
int shape_limits_value(const struct shape_field *f, const json_t *v, struct shape_at *at, struct err *e);

#endif
