/* link: tests/env/gw_nothing.c gateway/route.c gateway/query.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c gateway/stream/target.c gateway/head.c */
/*
 * Paths and queries, of the API and of streams. What is taken is valid UTF-8 within its limits; no path parameter holds a slash, a dot
 * segment or a NUL.
 */
#include "fuzz.h"

#include <jansson.h>
#include <string.h>

#include "arena.h"
#include "head.h"
#include "jx.h"
#include "query.h"
#include "route.h"
#include "shape.h"
#include "target.h"

static const struct query_spec *const specs[] = {
#define QUERY(id, ...) &query_##id,
#define QVALUES(...)
#include "queries.def"
#undef QUERY
#undef QVALUES
};
static const char *const methods[] = { "GET", "POST", "DELETE", "PUT" };

static void
is_text(const char *s, int64_t min, int64_t max)
{
	AUTO(json) json_t *v = json_string(s);

	HOLDS(v != NULL);
	HOLDS(shape_chars(s) >= min && shape_chars(s) <= max);
}

static void
query(struct arena *a, const struct query_spec *spec, const char *text)
{
	struct query q;
	struct err e = ERR_INIT;

	if (query_parse(spec, text, a, &q, &e) < 0) {
		HOLDS(e.kind == EK_INVALID && e.pub[0]);
		return;
	}
	for (size_t i = 0; spec->params[i].name; i++) {
		const struct query_param *p = &spec->params[i];

		if (p->kind == QK_INT && q.v[i].given)
			HOLDS(q.v[i].num >= p->min && q.v[i].num <= p->max);
		if (p->kind == QK_TEXT && q.v[i].given)
			is_text(q.v[i].text, p->min, p->max);
		for (int k = 0; (p->kind == QK_ENUMS || p->kind == QK_TEXTS) && k < q.v[i].n; k++)
			is_text(q.v[i].list[k], 1, p->kind == QK_TEXTS ? p->max : 100);
	}
}

static void
path(struct arena *a, const char *method, const char *text)
{
	const char *params[REQ_PARAMS] = { NULL };
	const struct route *r = NULL;
	struct err e = ERR_INIT;
	char allow[64];

	if (route_match(method, text, a, &r, params, allow, &e) < 0) {
		HOLDS(e.kind == EK_NO_ROUTE || (e.kind == EK_METHOD && allow[0]));
		return;
	}
	for (int i = 0; i < REQ_PARAMS && params[i]; i++)
		HOLDS(params[i][0] && !strchr(params[i], '/') && strcmp(params[i], ".") != 0 && strcmp(params[i], "..") != 0);
	(void)route_check_params(r, params, &e);
}

static void
stream(const char *text)
{
	struct target t = { .after = 0 };
	struct err e = ERR_INIT;

	if (target_route(text, &t, &e) == 0)
		HOLDS(!strchr(t.session, '/') && t.session[0]);
	if (target_query(text, &t, &e) == 0)
		HOLDS(t.deltas <= (TARGET_MESSAGE | TARGET_THINKING) && t.after >= 0);
	(void)target_resume("Last-Event-ID", text, &t, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct query_spec *spec = specs[pick(&data, &size, sizeof specs / sizeof specs[0])];
	const char *method = methods[pick(&data, &size, sizeof methods / sizeof methods[0])];
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	char *text;

	if (size > HEAD_URI_MAX)
		return 0;
	text = arena_strndup(a, (const char *)data, strnlen((const char *)data, size));
	query(a, spec, text);
	path(a, method, text);
	stream(text);
	return 0;
}
