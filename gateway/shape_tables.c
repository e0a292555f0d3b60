/*
 * shape_tables: shapes.def as C tables. Nothing but data; the compiler finds a shape that does not exist or is used before its
 * definition.
 */
#include "shape.h"

#include <stddef.h>

#define str(k, fl, lo, hi, up) .key = k, .kind = SK_STRING, .flags = fl, .min = lo, .max = hi, .update = up
#define obj(k, fl, sh, up) .key = k, .kind = SK_OBJECT, .flags = fl, .shape = &shape_##sh, .update = up
#define one(k, fl, un, up) .key = k, .kind = SK_UNION, .flags = fl, .one = &union_##un, .update = up
#define textual(lo, hi, ...) __VA_ARGS__, .text = true, .min = lo, .max = hi
#define STR(...) { str(__VA_ARGS__) },
#define OBJ(...) { obj(__VA_ARGS__) },
#define ONE(...) { one(__VA_ARGS__) },
#define ENUM(k, fl, vals, up) { .key = k, .kind = SK_STRING, .flags = fl, .values = values_##vals, .update = up },
#define INT(k, fl, lo, hi, up) { .key = k, .kind = SK_INT, .flags = fl, .min = lo, .max = hi, .update = up },
#define BOOL(k, fl, up) { .key = k, .kind = SK_BOOL, .flags = fl, .update = up },
#define META(k, fl, up) { .key = k, .kind = SK_MAP, .flags = fl, .max = SHAPE_PAIRS, .update = up },
#define ANY(k, fl, up) { .key = k, .kind = SK_ANY, .flags = fl, .update = up },
#define UPLOAD(k, fl) { .key = k, .kind = SK_FILE, .flags = fl },
#define LIST(lo, hi, ...) { .list = true, .list_min = lo, .list_max = hi, __VA_ARGS__ },
#define TEXTUAL(...) { textual(__VA_ARGS__) },
#define TEXTUAL_ENUM(vals, ...) { __VA_ARGS__, .text = true, .values = values_##vals },

#define V(t, sh, fl) { .tag = t, .shape = &shape_##sh, .flags = fl },

#define VALUES(id, ...) static const char *const values_##id[] = { __VA_ARGS__, NULL };
#define UNION(id, k, nm, ...)								\
	static const struct shape_variant variants_##id[] = { __VA_ARGS__ { .tag = NULL } };	\
	static const struct shape_union union_##id = { .name = #id, .key = k, .named = nm, .variants = variants_##id };
#define SHAPE(id, ...)									\
	static const struct shape_field fields_##id[] = { __VA_ARGS__ { .key = NULL } };	\
	const struct shape shape_##id = { .name = #id, .fields = fields_##id };

#include "shapes.def"
