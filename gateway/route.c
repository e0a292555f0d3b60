/*
 * route: see route.h. The raw path is matched segment by segment against the templates, before any decoding, so that no encoding trick
 * changes which endpoint is meant; only parameters are decoded. A linear scan: the table is small and comparisons fail early.
 */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "id.h"

const struct route routes[] = {
#define ROUTE(m, p, h, acc, bt, sh, q, rep)							\
	{ .method = #m, .path = p, .name = #h, .handler = h, .access = ROUTE_##acc, .beta = AUTH_BETA_##bt, .body = &shape_##sh,	\
	  .query = &query_##q, .reply = rep },
#include "routes.def"
#undef ROUTE
};
const size_t routes_count = sizeof routes / sizeof *routes;

/* What a path parameter must look like. prefix NULL: any printable text. A refusal that ends in ": " is followed by what was sent. */
static const struct {
	const char *name, *prefix, *refusal;
} params_known[] = {
	{ "agent_id", "agent_", "Invalid agent ID." },
	{ "environment_id", "env_", "Invalid environment ID." },
	{ "session_id", "sesn_", "Invalid session ID." },
	{ "thread_id", "sthr_", "Invalid thread ID: " },
	{ "file_id", "file_", "Invalid file ID." },
	{ "vault_id", "vlt_", "Invalid vault ID." },
	{ "credential_id", "vcrd_", "Invalid credential ID." },
	{ "resource_id", "sesrsc_", "Invalid resource ID." },
	{ "model_id", NULL, "Invalid model ID." },
};

int
route_nowhere(struct gw_req *r, struct err *e)
{
	return err_set(e, EK_NO_ROUTE, 0, "Not found");
}

int
route_elsewhere(struct gw_req *r, struct err *e)
{
	return err_set(e, EK_NO_ROUTE, 0, "Not found");
}

/* A segment that may stand in a path: not empty, no dot segment however encoded, no encoded slash. Decoded into the arena, or NULL. */
static char *
segment(const char *s, size_t len, struct arena *a)
{
	char *text = len > 0 && len < 512 ? query_decode(s, len, false, a) : NULL;

	if (!text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strchr(text, '/') || strchr(text, '\\'))
		return NULL;
	return text;
}

static bool
path_matches(const char *template, const char *path, struct arena *a, const char *params[REQ_PARAMS])
{
	int n = 0;

	while (*template == '/' && *path == '/') {
		size_t want = strcspn(++template, "/"), got = strcspn(++path, "/");

		if (*template == '{') {
			if (n == REQ_PARAMS || !(params[n++] = segment(path, got, a)))
				return false;
		} else if (want != got || memcmp(template, path, want) != 0) {
			return false;
		}
		template += want;
		path += got;
	}
	return !*template && !*path;
}

int
route_match(const char *method, const char *raw_path, struct arena *a, const struct route **out_route,
    const char *params[REQ_PARAMS], char allow[64], struct err *e)
{
	size_t used = 0;

	allow[0] = '\0';
	for (size_t i = 0; i < routes_count; i++) {
		const char *found[REQ_PARAMS] = { NULL };

		if (!path_matches(routes[i].path, raw_path, a, found))
			continue;
		if (strcmp(routes[i].method, method) == 0) {
			memcpy(params, found, sizeof found);
			*out_route = &routes[i];
			return 0;
		}
		if (routes[i].handler != route_nowhere)
			used += (size_t)snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "", routes[i].method);
	}
	if (used)
		return err_set(e, EK_METHOD, 0, "Method not allowed");
	return err_set(e, EK_NO_ROUTE, 0, "Not found");
}

const char *
route_param_name(const struct route *r, int n, char out[32])
{
	const char *p = r->path;

	while ((p = strchr(p, '{'))) {
		size_t len = strcspn(++p, "}");

		if (n-- == 0) {
			snprintf(out, 32, "%.*s", (int)len, p);
			return out;
		}
	}
	return NULL;
}

const char *
route_param_prefix(const char *name)
{
	for (size_t i = 0; i < sizeof params_known / sizeof *params_known; i++)
		if (strcmp(params_known[i].name, name) == 0)
			return params_known[i].prefix;
	return NULL;
}

static bool
printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

int
route_check_params(const struct route *r, const char *const params[REQ_PARAMS], struct err *e)
{
	char name[32];

	for (int n = 0; n < REQ_PARAMS && route_param_name(r, n, name); n++)
		for (size_t i = 0; i < sizeof params_known / sizeof *params_known; i++) {
			if (strcmp(params_known[i].name, name) != 0)
				continue;
			if (params_known[i].prefix ? !id_ok(params_known[i].prefix, params[n]) : !printable(params[n]))
				return err_set(e, EK_INVALID, 0, "%s%.100s", params_known[i].refusal,
				    params_known[i].refusal[strlen(params_known[i].refusal) - 1] == ' ' ? params[n] : "");
		}
	return 0;
}

bool
route_writes(const struct route *r)
{
	return r->access == ROUTE_WORKSPACE && strcmp(r->method, "GET") != 0 && r->handler != route_nowhere;
}

bool
route_makes(const struct route *r)
{
	return r->access == ROUTE_WORKSPACE && strcmp(r->method, "POST") == 0 && !strchr(r->path, '{');
}

bool
route_sends(const struct route *r)
{
	return route_makes(r) || r->handler == api_event_send;
}
