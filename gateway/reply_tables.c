/*
 * reply_tables: replies.def as C tables, and the names that routes.def uses. Nothing but data and a lookup by name.
 */
#include "replies.h"

#include <stdio.h>
#include <string.h>

#define A F_REQ
#define N (F_REQ | F_NULL)
#define O F_OPT
#define ON F_NULL

#define txt(k, fl) .key = k, .kind = SK_STRING, .flags = fl, .max = INT64_MAX
#define obj(k, fl, re) .key = k, .kind = SK_OBJECT, .flags = fl, .shape = &reply_##re
#define one(k, fl, un) .key = k, .kind = SK_UNION, .flags = fl, .one = &replies_##un
#define IS(k, text) { .key = k, .kind = SK_STRING, .flags = F_REQ, .values = (const char *const[]){ text, NULL } },
#define TXT(...) { txt(__VA_ARGS__) },
#define ID(k, fl, pre) { txt(k, fl), .prefix = pre },
#define CHOICE(k, fl, ...) { .key = k, .kind = SK_STRING, .flags = fl, .values = (const char *const[]){ __VA_ARGS__, NULL } },
#define NUM(k, fl) { .key = k, .kind = SK_NUMBER, .flags = fl },
#define INT(k, fl) { .key = k, .kind = SK_INT, .flags = fl, .min = INT64_MIN, .max = INT64_MAX },
#define BOOL(k, fl) { .key = k, .kind = SK_BOOL, .flags = fl },
#define TIME(k, fl) { .key = k, .kind = SK_TIME, .flags = fl },
#define OBJ(...) { obj(__VA_ARGS__) },
#define ONE(...) { one(__VA_ARGS__) },
#define MAP(k, fl) { .key = k, .kind = SK_MAP, .flags = fl, .max = SHAPE_PAIRS },
#define ANY(k, fl) { .key = k, .kind = SK_ANY, .flags = fl },
#define LIST(...) { .list = true, .list_max = INT64_MAX, __VA_ARGS__ },
#define V(t, re, fl) { .tag = t, .shape = &reply_##re },

#define REPLY(id, nm, ...)								\
	static const struct shape_field fields_##id[] = { __VA_ARGS__ { .key = NULL } };	\
	static const struct shape reply_##id = { .name = nm, .fields = fields_##id };
#define REPLIES(id, nm, k, ...)								\
	static const struct shape_variant variants_##id[] = { __VA_ARGS__ { .tag = NULL } };	\
	static const struct shape_union replies_##id = { .name = nm, .key = k, .variants = variants_##id };
#include "replies.def"
#undef REPLY
#undef REPLIES

const struct reply_doc replies[] = {
#define REPLY(id, nm, ...) { .name = nm, .shape = &reply_##id },
#define REPLIES(id, nm, ...) { .name = nm, .one = &replies_##id },
#include "replies.def"
};
const size_t replies_count = sizeof replies / sizeof *replies;

static const struct reply_doc *
named(const char *name, size_t len)
{
	for (size_t i = 0; i < replies_count; i++)
		if (strlen(replies[i].name) == len && memcmp(replies[i].name, name, len) == 0)
			return &replies[i];
	return NULL;
}

enum reply_envelope
reply_of(const char *name, const struct reply_doc **out)
{
	static const struct { const char *head; enum reply_envelope envelope; } envelopes[] = {
		{ "PageCursor<", REPLY_PAGE_CURSOR }, { "EitherPage<", REPLY_EITHER }, { "BidirectionalPageCursor<", REPLY_BOTH_WAYS }, { "Page<", REPLY_PAGE },
	};

	*out = NULL;
	if (!name[0] || strcmp(name, "OpenAPI") == 0)
		return REPLY_NONE;
	if (strcmp(name, "Binary") == 0)
		return REPLY_BINARY;
	if (strcmp(name, "EventStream") == 0) {
		*out = named("StreamEvent", 11);
		return REPLY_STREAM;
	}
	for (size_t i = 0; i < sizeof envelopes / sizeof *envelopes; i++) {
		size_t n = strlen(envelopes[i].head);

		if (strncmp(name, envelopes[i].head, n) == 0) {
			*out = named(name + n, strlen(name + n) - 1);
			return envelopes[i].envelope;
		}
	}
	*out = named(name, strlen(name));
	return REPLY_PLAIN;
}

const struct reply_doc *
reply_find(const struct shape *s, const struct shape_union *u)
{
	for (size_t i = 0; i < replies_count; i++)
		if (s ? replies[i].shape == s : replies[i].one == u)
			return &replies[i];
	return NULL;
}
