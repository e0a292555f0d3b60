/*
 * catfile: see catfile.h. jansson judges the syntax (it knows the line of a syntax error or a repeated key); then the text is walked
 * once more by spans, whose place in the text gives the line of every other complaint. The fields of each object stand in a table:
 * what is not in it is refused, so that a misspelt field never passes in silence.
 */
#include "catfile.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cost.h"
#include "jspan.h"
#include "jx.h"
#include "modelcaps.h"
#include "xalloc.h"

#define FIELDS_MAX 8	/* of one object */
#define PATH_MAX_LEN 160

struct field {
	const char *name;
	bool required;
};

static const struct field top_fields[] = { { "providers", false }, { "models", false }, { NULL, false } };
static const struct field provider_fields[] = {
	{ "name", true }, { "dialect", true }, { "base_url", false }, { "api_key", false }, { NULL, false }
};
static const struct field model_fields[] = {
	{ "id", true }, { "display_name", true }, { "routes", true }, { "context_window", true }, { "max_output_tokens", true },
	{ "price", false }, { "mid_conversation_system", false }, { "capabilities", false }, { NULL, false }
};
static const struct field route_fields[] = { { "provider", true }, { "upstream", true }, { NULL, false } };
static const struct field price_fields[] = {
	{ "currency", true }, { "per_million_tokens", true }, { "fast_per_million_tokens", false }, { "per_thousand_web_searches", false },
	{ NULL, false }
};
static const struct field rate_fields[] = {
	{ "input", true }, { "output", true }, { "cache_read", false }, { "cache_write_5m", false }, { "cache_write_1h", false },
	{ NULL, false }
};

static const struct field capability_fields[] = { { "efforts", false }, { "fast", false }, { "geos", false }, { NULL, false } };

struct reader {
	const char *text;
	struct err *e;
};

static int
line_of(const struct reader *r, struct jspan at)
{
	int line = 1;

	for (const char *p = r->text; p < at.p; p++)
		line += *p == '\n';
	return line;
}

#define FAIL(r, at, path, fmt, ...) \
	err_set((r)->e, EK_INVALID, 0, "line %d: %s%s" fmt, line_of(r, at), path, *(path) ? ": " : "", ##__VA_ARGS__)

/* Of which kind is a value? By its first character; an absent one is of none. */
static bool
begins(struct jspan v, char with)
{
	return v.p && *v.p == with;
}

/* Spread an object's members over its table: values[i] belongs to fields[i]; p is NULL when absent. */
static int
members(const struct reader *r, struct jspan object, const char *path, const struct field *fields, struct jspan values[FIELDS_MAX])
{
	struct jspan_iter it = jspan_object(object);
	struct jspan key, value;
	int i;

	memset(values, 0, FIELDS_MAX * sizeof(*values));
	if (!begins(object, '{'))
		return FAIL(r, object, path, "must be an object");
	while (jspan_member(&it, &key, &value)) {
		for (i = 0; fields[i].name; i++) {
			if (key.n == strlen(fields[i].name) && !memcmp(key.p, fields[i].name, key.n))
				break;
		}
		if (!fields[i].name)
			return FAIL(r, key, path, "unknown field \"%.*s\"", (int)(key.n < 60 ? key.n : 60), key.p);
		values[i] = value;
	}
	for (i = 0; fields[i].name; i++) {
		if (fields[i].required && !values[i].p)
			return FAIL(r, object, path, "field \"%s\" is missing", fields[i].name);
	}
	return 0;
}

/* A string of 1..max bytes of which ok() holds; NULL: any text without control characters. The caller frees. */
static char *
string(const struct reader *r, struct jspan at, const char *path, size_t max, int (*ok)(int c), const char *rule)
{
	AUTO(buf) struct buf text = { 0 };

	if (!begins(at, '"')) {
		FAIL(r, at, path, "must be a string");
		return NULL;
	}
	jspan_unquote(&text, at);
	if (!text.len || text.len > max) {
		FAIL(r, at, path, "must be 1 to %zu bytes long", max);
		return NULL;
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (ok ? !ok(c) : c < 0x20 || c == 0x7f) {
			explicit_bzero(text.data, text.len);
			FAIL(r, at, path, "%s", ok ? rule : "must not hold control characters");
			return NULL;
		}
	}
	return buf_steal(&text);
}

static int
name_char(int c)
{
	return c < 0x80 && (isalnum(c) || c == '-' || c == '_' || c == '.');
}

static int
id_char(int c)
{
	return name_char(c) || c == ':' || c == '/' || c == '@' || c == '+';
}

static int
visible_char(int c)
{
	return c > 0x20 && c < 0x7f;
}

static int
number(const struct reader *r, struct jspan at, const char *path, int64_t max, int64_t *out)
{
	if (!jspan_int(at, out) || *out < 1 || *out > max)
		return FAIL(r, at, path, "must be a whole number from 1 to %lld", (long long)max);
	return 0;
}

/* A price: digits, perhaps a point and more digits. In a string, because JSON numbers are not decimals everywhere. */
static int
decimal(const struct reader *r, struct jspan at, const char *path)
{
	int64_t nano;

	if (!begins(at, '"'))
		return FAIL(r, at, path, "must be a decimal number in a string, such as \"0.30\"");
	if (!cost_per_million(at.p + 1, at.n - 2, &nano))
		return FAIL(r, at, path, "must be a decimal number, at most 9 digits before and 3 after the point");
	return 0;
}

static int
base_url(const struct reader *r, struct jspan at, const char *path, const char *url)
{
	const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;
	size_t n;

	if (!host)
		return FAIL(r, at, path, "must begin with http:// or https://");
	if (strpbrk(host, "?#@\\\"<>"))
		return FAIL(r, at, path, "must be scheme, host, port and path only (no user, query or fragment)");
	n = strcspn(host, "/");
	if (!n || host[0] == ':')
		return FAIL(r, at, path, "has no host");
	return 0;
}

static int
provider(const struct reader *r, struct jspan at, const char *path, struct catfile_provider *p)
{
	static const char *const dialects[] = { "anthropic", "openai", "scripted" };
	struct jspan v[FIELDS_MAX];
	char sub[PATH_MAX_LEN + 16];
	bool scripted, known = false;

	if (members(r, at, path, provider_fields, v) < 0)
		return -1;
	p->line = line_of(r, at);
	snprintf(sub, sizeof(sub), "%s.name", path);
	if (!(p->name = string(r, v[0], sub, 64, name_char, "may hold letters, digits, - _ and . only")))
		return -1;
	if (!strcmp(p->name, "scripted"))
		return FAIL(r, v[0], sub, "\"scripted\" is built in; routes may use it without declaring it");
	snprintf(sub, sizeof(sub), "%s.dialect", path);
	if (!(p->dialect = string(r, v[1], sub, 15, name_char, "must be anthropic, openai or scripted")))
		return -1;
	for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
		known |= !strcmp(p->dialect, dialects[i]);
	if (!known)
		return FAIL(r, v[1], sub, "must be anthropic, openai or scripted");
	scripted = !strcmp(p->dialect, "scripted");
	snprintf(sub, sizeof(sub), "%s.base_url", path);
	if (scripted && (!v[2].p || jspan_is(v[2], "")))
		p->base_url = xstrdup("");
	else if (scripted)
		return FAIL(r, v[2], sub, "a scripted provider has none");
	else if (!v[2].p)
		return FAIL(r, at, path, "field \"base_url\" is missing");
	else if (!(p->base_url = string(r, v[2], sub, 255, visible_char, "must not hold spaces")) ||
	    base_url(r, v[2], sub, p->base_url) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.api_key", path);
	p->key = v[3].p ? CATFILE_KEY_SET : CATFILE_KEY_KEEP;
	if (!v[3].p)
		return 0;
	if (begins(v[3], 'n')) {
		p->key = CATFILE_KEY_NONE;
		return 0;
	}
	p->api_key = string(r, v[3], sub, 500, visible_char, "may hold visible ASCII only");
	return p->api_key ? 0 : -1;
}

static int
rates(const struct reader *r, struct jspan at, const char *path)
{
	struct jspan v[FIELDS_MAX];
	char sub[PATH_MAX_LEN + 96];

	if (members(r, at, path, rate_fields, v) < 0)
		return -1;
	for (int i = 0; rate_fields[i].name; i++) {
		snprintf(sub, sizeof(sub), "%s.%s", path, rate_fields[i].name);
		if (v[i].p && decimal(r, v[i], sub) < 0)
			return -1;
	}
	return 0;
}

/* A value as compact JSON. What gets here holds strings and booleans only, so that re-dumping changes white space and nothing else. */
static char *
compact(struct jspan at)
{
	AUTO(json) json_t *tree = json_loadb(at.p, at.n, 0, NULL);
	char *text;

	must(tree);
	text = json_dumps(tree, JSON_COMPACT);
	must(text);
	return text;
}

static int
price(const struct reader *r, struct jspan at, const char *path, char **out)
{
	struct jspan v[FIELDS_MAX];
	char sub[PATH_MAX_LEN + 48];

	if (members(r, at, path, price_fields, v) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.currency", path);
	if (!begins(v[0], '"') || v[0].n != 5 || !isupper((unsigned char)v[0].p[1]) || !isupper((unsigned char)v[0].p[2]) ||
	    !isupper((unsigned char)v[0].p[3]))
		return FAIL(r, v[0], sub, "must be three capital letters, such as \"USD\"");
	for (int i = 1; i <= 2; i++) {
		snprintf(sub, sizeof(sub), "%s.%s", path, price_fields[i].name);
		if (v[i].p && rates(r, v[i], sub) < 0)
			return -1;
	}
	snprintf(sub, sizeof(sub), "%s.%s", path, price_fields[3].name);
	if (v[3].p && decimal(r, v[3], sub) < 0)
		return -1;
	*out = compact(at);
	return 0;
}

/* A list of different words, each one of `legal` (ended by NULL). *out_last is set when the last of those is among them. */
static int
words(const struct reader *r, struct jspan at, const char *path, const char *const *legal, bool *out_last)
{
	struct jspan_iter it = jspan_array(at);
	unsigned seen = 0, bit;
	struct jspan one;
	int i;

	if (!begins(at, '['))
		return FAIL(r, at, path, "must be an array");
	while (jspan_next(&it, &one)) {
		for (i = 0; legal[i] && !jspan_is(one, legal[i]);)
			i++;
		bit = 1u << i;
		if (!legal[i])
			return FAIL(r, one, path, "%.*s is none that there is", (int)(one.n < 40 ? one.n : 40), one.p);
		if (seen & bit)
			return FAIL(r, one, path, "names \"%s\" twice", legal[i]);
		seen |= bit;
		*out_last = *out_last || !legal[i + 1];
	}
	return 0;
}

static int
capabilities(const struct reader *r, struct jspan at, const char *path, struct catfile_model *m)
{
	struct jspan v[FIELDS_MAX];
	char sub[PATH_MAX_LEN + 48];
	bool highest = false;

	if (members(r, at, path, capability_fields, v) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.efforts", path);
	if (v[0].p && words(r, v[0], sub, modelcaps_efforts, &highest) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.fast", path);
	if (v[1].p && !begins(v[1], 't') && !begins(v[1], 'f'))
		return FAIL(r, v[1], sub, "must be true or false");
	m->elsewhere = begins(v[1], 't');
	snprintf(sub, sizeof(sub), "%s.geos", path);
	if (v[2].p && words(r, v[2], sub, modelcaps_geos, &m->elsewhere) < 0)
		return -1;
	m->capabilities = compact(at);
	return 0;
}

static int
routes(const struct reader *r, struct jspan at, const char *path, struct catfile_model *m)
{
	struct jspan_iter it = jspan_array(at);
	struct jspan one, v[FIELDS_MAX];
	char sub[PATH_MAX_LEN], name[PATH_MAX_LEN + 16];

	if (!begins(at, '['))
		return FAIL(r, at, path, "must be an array");
	m->routes = xcalloc(CATFILE_ROUTES, sizeof(*m->routes));
	while (jspan_next(&it, &one)) {
		struct catfile_route *route = &m->routes[m->nroutes];

		snprintf(sub, sizeof(sub), "%s[%d]", path, m->nroutes);
		if (m->nroutes == CATFILE_ROUTES)
			return FAIL(r, one, sub, "more than %d routes", CATFILE_ROUTES);
		m->nroutes++;
		if (members(r, one, sub, route_fields, v) < 0)
			return -1;
		route->line = line_of(r, v[0]);
		snprintf(name, sizeof(name), "%s.provider", sub);
		if (!(route->provider = string(r, v[0], name, 64, name_char, "may hold letters, digits, - _ and . only")))
			return -1;
		snprintf(name, sizeof(name), "%s.upstream", sub);
		if (!(route->upstream = string(r, v[1], name, 127, visible_char, "may hold visible ASCII only")))
			return -1;
		for (int i = 0; i + 1 < m->nroutes; i++) {
			if (!strcmp(m->routes[i].provider, route->provider) && !strcmp(m->routes[i].upstream, route->upstream))
				return FAIL(r, one, sub, "repeats route %d", i);
		}
	}
	return m->nroutes ? 0 : FAIL(r, at, path, "must name at least one route");
}

static int
model(const struct reader *r, struct jspan at, const char *path, struct catfile_model *m)
{
	struct jspan v[FIELDS_MAX];
	char sub[PATH_MAX_LEN];

	if (members(r, at, path, model_fields, v) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.id", path);
	if (!(m->id = string(r, v[0], sub, 128, id_char, "may hold letters, digits and - _ . : / @ + only")))
		return -1;
	if (!strcmp(m->id, "roost-scripted"))
		return FAIL(r, v[0], sub, "\"roost-scripted\" is built in");
	snprintf(sub, sizeof(sub), "%s.display_name", path);
	if (!(m->display_name = string(r, v[1], sub, 200, NULL, "")))
		return -1;
	snprintf(sub, sizeof(sub), "%s.routes", path);
	if (routes(r, v[2], sub, m) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.context_window", path);
	if (number(r, v[3], sub, 100000000, &m->context_window) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.max_output_tokens", path);
	if (number(r, v[4], sub, m->context_window, &m->max_output_tokens) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.mid_conversation_system", path);
	if (v[6].p && !begins(v[6], 't') && !begins(v[6], 'f'))
		return FAIL(r, v[6], sub, "must be true or false");
	m->mid_system = begins(v[6], 't');
	m->keep_mid_system = v[6].p == NULL;
	m->keep_price = v[5].p == NULL;
	m->keep_capabilities = v[7].p == NULL;
	snprintf(sub, sizeof(sub), "%s.capabilities", path);
	if (v[7].p && !begins(v[7], 'n') && capabilities(r, v[7], sub, m) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s.price", path);
	return v[5].p && !begins(v[5], 'n') ? price(r, v[5], sub, &m->price) : 0;
}

static int
all_providers(const struct reader *r, struct jspan at, struct catfile *f)
{
	struct jspan_iter it = jspan_array(at);
	struct jspan one;
	char path[32];

	if (!begins(at, '['))
		return FAIL(r, at, "providers", "must be an array");
	f->providers = xcalloc(CATFILE_PROVIDERS, sizeof(*f->providers));
	while (jspan_next(&it, &one)) {
		snprintf(path, sizeof(path), "providers[%d]", f->nproviders);
		if (f->nproviders == CATFILE_PROVIDERS)
			return FAIL(r, one, path, "more than %d providers", CATFILE_PROVIDERS);
		if (provider(r, one, path, &f->providers[f->nproviders++]) < 0)
			return -1;
		for (int i = 0; i + 1 < f->nproviders; i++) {
			if (!strcmp(f->providers[i].name, f->providers[f->nproviders - 1].name))
				return FAIL(r, one, path, "provider \"%s\" is declared twice", f->providers[i].name);
		}
	}
	return 0;
}

static int
all_models(const struct reader *r, struct jspan at, struct catfile *f)
{
	struct jspan_iter it = jspan_array(at);
	struct jspan one;
	char path[32];

	if (!begins(at, '['))
		return FAIL(r, at, "models", "must be an array");
	f->models = xcalloc(CATFILE_MODELS, sizeof(*f->models));
	while (jspan_next(&it, &one)) {
		snprintf(path, sizeof(path), "models[%d]", f->nmodels);
		if (f->nmodels == CATFILE_MODELS)
			return FAIL(r, one, path, "more than %d models", CATFILE_MODELS);
		if (model(r, one, path, &f->models[f->nmodels++]) < 0)
			return -1;
		for (int i = 0; i + 1 < f->nmodels; i++) {
			if (!strcmp(f->models[i].id, f->models[f->nmodels - 1].id))
				return FAIL(r, one, path, "model \"%s\" is declared twice", f->models[i].id);
		}
	}
	return 0;
}

static int
document(const char *text, size_t len, struct catfile *f, struct err *e)
{
	AUTO(json) json_t *tree = NULL;
	struct reader r = { text, e };
	struct jspan_iter it = jspan_list(text, len);
	struct jspan all = { text, 0 }, v[FIELDS_MAX];
	json_error_t je;

	if (len > CATFILE_MAX)
		return err_set(e, EK_INVALID, 0, "line 1: the file is larger than %u bytes", CATFILE_MAX);
	tree = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!tree)
		return err_set(e, EK_INVALID, 0, "line %d: %s", je.line > 0 ? je.line : 1, je.text);
	if (!jspan_next(&it, &all))
		return err_set(e, EK_INVALID, 0, "line 1: the file is empty");
	if (members(&r, all, "", top_fields, v) < 0)
		return -1;
	if (!v[0].p && !v[1].p)
		return FAIL(&r, all, "", "neither \"providers\" nor \"models\"");
	if (v[0].p && all_providers(&r, v[0], f) < 0)
		return -1;
	return v[1].p ? all_models(&r, v[1], f) : 0;
}

int
catfile_parse(const char *text, size_t len, struct catfile *out, struct err *e)
{
	struct catfile f = { 0 };

	if (document(text, len, &f, e) < 0) {
		catfile_free(&f);
		return -1;
	}
	*out = f;
	return 0;
}

void
catfile_free(struct catfile *f)
{
	for (int i = 0; i < f->nproviders; i++) {
		struct catfile_provider *p = &f->providers[i];

		if (p->api_key)
			explicit_bzero(p->api_key, strlen(p->api_key));
		free(p->api_key);
		free(p->name);
		free(p->dialect);
		free(p->base_url);
	}
	for (int i = 0; i < f->nmodels; i++) {
		struct catfile_model *m = &f->models[i];

		for (int k = 0; k < m->nroutes; k++) {
			free(m->routes[k].provider);
			free(m->routes[k].upstream);
		}
		free(m->routes);
		free(m->id);
		free(m->display_name);
		free(m->price);
		free(m->capabilities);
	}
	free(f->providers);
	free(f->models);
	*f = (struct catfile){ 0 };
}

const struct catfile_provider *
catfile_provider(const struct catfile *f, const char *name)
{
	for (int i = 0; i < f->nproviders; i++) {
		if (!strcmp(f->providers[i].name, name))
			return &f->providers[i];
	}
	return NULL;
}
