/*
 * query: see query.h. Works on a bounded number of pairs, decodes once into the request's arena, and refuses what it cannot represent
 * (bad escapes, NUL, invalid UTF-8) before any of it can reach a statement. Never logs a value.
 */
#include "query.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "jx.h"
#include "percent.h"
#include "shape.h"
#include "xalloc.h"

#define QINT(nm, lo, hi, df) { .name = nm, .kind = QK_INT, .min = lo, .max = hi, .dflt = df },
#define QBOOL(nm, df) { .name = nm, .kind = QK_BOOL, .dflt = df },
#define QTEXT(nm, lo, hi) { .name = nm, .kind = QK_TEXT, .min = lo, .max = hi },
#define QENUM(nm, vals) { .name = nm, .kind = QK_ENUM, .values = values_##vals },
#define QENUMS(nm, vals, most) { .name = nm, .kind = QK_ENUMS, .max = most, .values = values_##vals },
#define QTEXTS(nm, lo, hi, n) { .name = nm, .kind = QK_TEXTS, .min = lo, .max = hi, .most = n },
#define QTIME(nm) { .name = nm, .kind = QK_TIME },
#define QVALUES(id, ...) static const char *const values_##id[] = { __VA_ARGS__, NULL };
#define QUERY(id, ...)										\
	static const struct query_param params_##id[] = { __VA_ARGS__ { .name = NULL } };	\
	const struct query_spec query_##id = { .name = #id, .params = params_##id };
#include "queries.def"

static const char *const secrets[] = { "api_key", "apikey", "api-key", "x-api-key", "access_token", "authorization", NULL };

char *
query_decode(const char *s, size_t len, bool plus, struct arena *a)
{
	char *out = arena_alloc(a, len + 1);

	return percent_decode(s, len, plus, out, len + 1) ? out : NULL;
}

static bool
utf8(const char *s)
{
	AUTO(json) json_t *v = json_string(s);	/* NULL unless valid */

	return v != NULL;
}

static int
bad_value(const struct query_param *p, const char *got, struct err *e)
{
	char legal[200] = "";
	size_t used = 0;

	for (const char *const *o = p->values; *o && used < sizeof legal - 1; o++)
		used += (size_t)snprintf(legal + used, sizeof legal - used, "%s\"%s\"", used ? ", " : "", *o);
	return err_set(e, EK_INVALID, 0, "%s: \"%.60s\" is not a valid value; expected one of %s", p->name, got, legal);
}

static int
take_enum(struct query *q, size_t i, const struct query_param *p, const char *text, struct arena *a, struct err *e)
{
	const char *const *o = p->values;

	while (*o && strcmp(*o, text) != 0)
		o++;
	if (!*o)
		return bad_value(p, text, e);
	if (p->kind == QK_ENUM) {
		q->v[i].text = *o;
		return 0;
	}
	if (!q->v[i].list)
		q->v[i].list = arena_alloc(a, (size_t)p->max * sizeof *q->v[i].list);
	for (int k = 0; k < q->v[i].n; k++)
		if (q->v[i].list[k] == *o)
			return 0;
	if (q->v[i].n >= p->max)
		return err_set(e, EK_INVALID, 0, "%s: at most %lld values are allowed", p->name, (long long)p->max);
	q->v[i].list[q->v[i].n++] = *o;
	return 0;
}

static int
text_fits(const struct query_param *p, const char *text, struct err *e)
{
	int64_t n = shape_chars(text);

	if (n < p->min || n > p->max)
		return err_set(e, EK_INVALID, 0, "%s: must be %lld to %lld characters", p->name, (long long)p->min, (long long)p->max);
	return 0;
}

static int
take_texts(struct query *q, size_t i, const struct query_param *p, const char *text, struct arena *a, struct err *e)
{
	if (text_fits(p, text, e) < 0)
		return -1;
	if (!q->v[i].list)
		q->v[i].list = arena_alloc(a, (size_t)p->most * sizeof *q->v[i].list);
	for (int k = 0; k < q->v[i].n; k++)
		if (strcmp(q->v[i].list[k], text) == 0)
			return 0;
	if (q->v[i].n >= p->most)
		return err_set(e, EK_INVALID, 0, "%s: at most %d values are allowed", p->name, p->most);
	q->v[i].list[q->v[i].n++] = text;
	return 0;
}

static int
take_int(struct query *q, size_t i, const struct query_param *p, const char *text, struct err *e)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (!text[0] || *end || errno == EINVAL || text[0] == ' ' || text[0] == '+')
		return err_set(e, EK_INVALID, 0, "%s: expected an integer", p->name);
	if (n < p->min)
		return err_set(e, EK_INVALID, 0, "%s: Input should be greater than or equal to %lld", p->name, (long long)p->min);
	if (n > p->max)
		return err_set(e, EK_INVALID, 0, "%s: Input should be less than or equal to %lld", p->name, (long long)p->max);
	q->v[i].num = n;
	return 0;
}

static int
take(struct query *q, size_t i, char *text, struct arena *a, struct err *e)
{
	const struct query_param *p = &q->spec->params[i];

	if (!utf8(text))
		return err_set(e, EK_INVALID, 0, "%s: not valid UTF-8", p->name);
	if (!text[0] && p->min == 0 && (p->kind == QK_TEXT || p->kind == QK_TEXTS))
		return 0;		/* how the SDK writes null */
	if (q->v[i].given && p->kind != QK_ENUMS && p->kind != QK_TEXTS)
		return err_set(e, EK_INVALID, 0, "%s: given more than once", p->name);
	q->v[i].given = true;
	switch (p->kind) {
	case QK_INT:
		return take_int(q, i, p, text, e);
	case QK_BOOL:
		q->v[i].num = strcmp(text, "true") == 0;
		return q->v[i].num || strcmp(text, "false") == 0 ? 0 :
		    err_set(e, EK_INVALID, 0, "%s: expected true or false", p->name);
	case QK_ENUM:
	case QK_ENUMS:
		return take_enum(q, i, p, text, a, e);
	case QK_TIME:
		for (char *c = text; *c; c++)
			if (*c == ' ')
				*c = '+';	/* an offset's plus that was not escaped */
		return clock_parse(text, &q->v[i].num) == 0 ? 0 :
		    err_set(e, EK_INVALID, 0, "%s: expected an RFC 3339 timestamp", p->name);
	case QK_TEXT:
		q->v[i].text = text;
		return text_fits(p, text, e);
	case QK_TEXTS:
		return take_texts(q, i, p, text, a, e);
	}
	return 0;
}

/* name=value; a name[] is a name. */
static int
take_pair(struct query *q, const char *pair, size_t len, struct arena *a, struct err *e)
{
	const char *eq = memchr(pair, '=', len);
	size_t name_len = eq ? (size_t)(eq - pair) : len;
	char *name = query_decode(pair, name_len, true, a);
	char *value = eq ? query_decode(eq + 1, len - name_len - 1, true, a) : arena_strdup(a, "");
	size_t i;

	if (!name || !value)
		return err_set(e, EK_INVALID, 0, "Malformed query string");
	name_len = strlen(name);
	if (name_len > 2 && strcmp(name + name_len - 2, "[]") == 0)
		name[name_len - 2] = '\0';
	for (i = 0; secrets[i]; i++)
		if (strcasecmp(name, secrets[i]) == 0)
			return err_set(e, EK_INVALID, 0, "API keys are not accepted in the query string; send a header and revoke this key");
	for (i = 0; q->spec->params[i].name; i++)
		if (strcmp(q->spec->params[i].name, name) == 0)
			return take(q, i, value, a, e);
	return 0;
}

int
query_parse(const struct query_spec *spec, const char *raw, struct arena *a, struct query *out, struct err *e)
{
	int pairs = 0;

	memset(out, 0, sizeof *out);
	out->spec = spec;
	for (size_t i = 0; spec->params[i].name; i++) {
		must(i < QUERY_PARAMS);
		out->v[i].num = spec->params[i].dflt;
	}
	while (raw && *raw) {
		size_t len = strcspn(raw, "&");

		if (len > 0 && ++pairs > QUERY_PAIRS)
			return err_set(e, EK_INVALID, 0, "At most %d query parameters are allowed", QUERY_PAIRS);
		if (len > 0 && take_pair(out, raw, len, a, e) < 0)
			return -1;
		raw += len + (raw[len] == '&');
	}
	return 0;
}

static size_t
index_of(const struct query *q, const char *name)
{
	size_t i = 0;

	while (q->spec->params[i].name && strcmp(q->spec->params[i].name, name) != 0)
		i++;
	must(q->spec->params[i].name != NULL);
	return i;
}

bool
query_has(const struct query *q, const char *name)
{
	for (size_t i = 0; q->spec->params[i].name; i++)
		if (strcmp(q->spec->params[i].name, name) == 0)
			return true;
	return false;
}

bool
query_given(const struct query *q, const char *name)
{
	return q->v[index_of(q, name)].given;
}

int64_t
query_int(const struct query *q, const char *name)
{
	return q->v[index_of(q, name)].num;
}

bool
query_bool(const struct query *q, const char *name)
{
	return q->v[index_of(q, name)].num != 0;
}

const char *
query_text(const struct query *q, const char *name)
{
	return q->v[index_of(q, name)].text;
}

int
query_list(const struct query *q, const char *name, const char *const **out)
{
	size_t i = index_of(q, name);

	*out = (const char *const *)q->v[i].list;
	return q->v[i].n;
}

const char *
query_time(const struct query *q, const char *name, struct arena *a)
{
	size_t i = index_of(q, name);

	return q->v[i].given ? arena_printf(a, "%lld", (long long)q->v[i].num) : NULL;
}
