/*
 * shape: what a request body may hold, as data (shapes.def), and the one checker for all of them.
 *
 * The same tables drive validation, mass-assignment safety (a key that is not in the table does not get in), tri-state updates,
 * GET /openapi.json and the generated bad-input tests. Checking is in two passes, because parse errors win over semantic ones
 * (contract 1.6): form (unknown keys, types, enum values; bracketed path), then limits (required, lengths, ranges, features that come
 * later; dotted path). Cross-field rules are the handlers'.
 */
#ifndef ROOST_GATEWAY_SHAPE_H
#define ROOST_GATEWAY_SHAPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum shape_kind {
	SK_STRING, SK_INT, SK_BOOL, SK_OBJECT, SK_UNION, SK_MAP, SK_ANY,
	SK_NUMBER, SK_TIME,	/* in replies only */
	SK_FILE		/* a part with a file name: makes the body multipart/form-data, which shape_check() is not for */
};

/* Flags of a field or a variant. */
enum {
	F_OPT = 0,
	F_REQ = 1,	/* must be present */
	F_NULL = 2,	/* null is legal */
	F_LATER = 4,	/* a feature to come: anything but null, [], {} or "" is refused with "not supported yet" */
	F_DEL = 8,	/* map: a null value is legal and deletes the key */
	F_SECRET = 16	/* string: write-only, without control characters, never quoted; object, union: it holds such strings */
};

/* What an update does with a field that is present (absent always preserves). */
enum shape_update {
	U_OWN,		/* the handler decides */
	U_SET,		/* replaces; cannot be cleared (null, when legal, preserves) */
	U_CLEAR,	/* null and "" store null */
	U_STORE,	/* stored as sent, null and "" included */
	U_LIST,		/* replaces; null stores [] */
	U_MERGE		/* map: strings upsert, null deletes */
};

struct shape;
struct shape_union;

struct shape_field {
	const char *key;
	enum shape_kind kind;
	unsigned flags;
	bool list;			/* an array of kind */
	bool text;			/* object or union: a plain string is legal too (min..max characters, or one of `values`) */
	int64_t list_min, list_max;
	int64_t min, max;		/* characters of a string, value of an integer, entries of a map */
	const char *const *values;	/* string: legal values, NULL-terminated; NULL: any */
	const struct shape *shape;
	const struct shape_union *one;
	enum shape_update update;
	const char *prefix;		/* replies: of an id */
};

struct shape {
	const char *name;
	const struct shape_field *fields;	/* up to a NULL key */
};

struct shape_variant {
	const char *tag;
	const struct shape *shape;
	unsigned flags;			/* F_LATER */
};

struct shape_union {
	const char *name, *key;		/* key: which field tells the variant ("type") */
	bool named;			/* semantic paths name the variant (events.0.user_message.content) */
	const struct shape_variant *variants;
};

#define SHAPE(id, ...) extern const struct shape shape_##id;
#define UNION(...)
#define VALUES(...)
#include "shapes.def"
#undef SHAPE
#undef UNION
#undef VALUES

#define SHAPE_PAIRS 16		/* metadata (contract 1.14) */
#define SHAPE_KEY_CHARS 64
#define SHAPE_VALUE_CHARS 512

/* body must be an object of this shape. EK_INVALID with the path in pub. */
int shape_check(const struct shape *s, const json_t *body, struct err *e);

/*
 * Apply an update whose body has passed shape_check() to a stored object, field by field by its update rule; U_OWN fields are left
 * alone. patch values are shared, not copied.
 */
void shape_update(const struct shape *s, json_t *stored, const json_t *patch);

/*
 * A multipart body's part as the integer field of this name: its text into *out, within the field's limits. EK_INVALID as shape_check().
 */
int shape_part_int(const struct shape *s, const char *key, const char *text, int64_t *out, struct err *e);

/* After a merge: still at most 16 pairs? EK_INVALID invalid_metadata. */
int shape_pairs(const json_t *metadata, struct err *e);

/* Is the body multipart/form-data? */
bool shape_multipart(const struct shape *s);

/* Does a body of this shape hold secrets (by its own fields' flags)? Then nothing of it is kept in memory or on disk (serve.c). */
bool shape_secret(const struct shape *s);

/* Code points in a UTF-8 string. */
int64_t shape_chars(const char *s);

#endif
