/*
 * query: the query string, declared per route (queries.def) and parsed once. Unknown names are ignored (older clients send beta=true),
 * except names that look like a key: a secret in a URL ends up in logs, so it is refused.
 */
#ifndef ROOST_GATEWAY_QUERY_H
#define ROOST_GATEWAY_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"

enum query_kind { QK_INT, QK_BOOL, QK_TEXT, QK_ENUM, QK_ENUMS, QK_TIME, QK_TEXTS };

struct query_param {
	const char *name;
	enum query_kind kind;
	int64_t min, max;		/* of an int; characters of a text; entries of a list (enums: max, texts: most) */
	int most;
	int64_t dflt;			/* of an int or bool */
	const char *const *values;
};

struct query_spec {
	const char *name;
	const struct query_param *params;	/* up to a NULL name */
};

#define QUERY_PARAMS 16
#define QUERY_PAIRS 1000		/* name=value pairs of one request */

struct query {
	const struct query_spec *spec;
	struct {
		bool given;
		int64_t num;		/* int, bool, or time in microseconds */
		const char *text;	/* text or enum; decoded, valid UTF-8 */
		const char **list;	/* enums and texts, each value once */
		int n;
	} v[QUERY_PARAMS];
};

#define QUERY(id, ...) extern const struct query_spec query_##id;
#define QVALUES(...)
#include "queries.def"
#undef QUERY
#undef QVALUES

/* raw is what stands behind '?', or NULL. Values live in the arena. EK_INVALID names the parameter. */
int query_parse(const struct query_spec *spec, const char *raw, struct arena *a, struct query *out, struct err *e);

/* By name; the name must be declared. */
bool query_has(const struct query *q, const char *name);		/* is the name declared? */
bool query_given(const struct query *q, const char *name);
int64_t query_int(const struct query *q, const char *name);		/* the default when absent */
bool query_bool(const struct query *q, const char *name);
const char *query_text(const struct query *q, const char *name);	/* NULL when absent */
int query_list(const struct query *q, const char *name, const char *const **out);
/* Microseconds as text for a statement's parameter, NULL when absent. In the arena. */
const char *query_time(const struct query *q, const char *name, struct arena *a);

/* Decode %xx of len bytes into the arena. NULL when malformed, or when a NUL byte comes out. */
char *query_decode(const char *s, size_t len, bool plus, struct arena *a);

#endif
