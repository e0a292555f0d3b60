/* link: tests/env/gateway_rig.c tests/env/shape_cases.c tests/env/gw_nothing.c gateway/route.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c gateway/query.c */
/*
 * Generated bad input against a running gateway: every case that the route, shape and query tables give, for every endpoint there is. Each
 * is refused with the right status, error type and path, changes nothing in any table, and leaves the connection usable. Bodies that are
 * just good enough are sent as well: whatever becomes of them, no other tenant's row changes and no shape refuses them.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "../../env/shape_cases.h"
#include "buf.h"
#include "jx.h"
#include "query.h"
#include "route.h"
#include "xalloc.h"

#define ABSENT_TAIL "011111111111111111111111"

/* A good id per path parameter; parameters that are not here get the id of an object that is not there. */
static struct { const char *name; char own[64], foreign[64]; } ids[] = {
	{ "agent_id", "", "" }, { "environment_id", "", "" }, { "session_id", "", "" }, { "vault_id", "", "" }, { "credential_id", "", "" }, { "model_id", "roost-scripted", "" },
};

static struct { int cases, wrong; } total;

static void
make(enum gwr_who who, size_t at)
{
	char agent[ID_MAX], environment[ID_MAX], session[ID_MAX];
	AUTO(json) json_t *k = gwr_ok(who, "POST", "/v1/vaults", "{\"display_name\":\"V\"}");
	AUTO(json) json_t *n = gwr_ok(who, "POST", gwr_fmt("/v1/vaults/%s/credentials", jx_str(k, "id")), "{\"auth\":{\"type\":\"static_bearer\","
	    "\"mcp_server_url\":\"https://mcp.example.com\",\"token\":\"t\"}}");
	const char *const made[] = { agent, environment, session, jx_str(k, "id"), jx_str(n, "id") };

	gwr_session(who, agent, environment, session);
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		snprintf(at ? ids[i].foreign : ids[i].own, 64, "%s", made[i]);
}

static int
start(void **state)
{
	gwr_start("");
	make(GWR_A, 0);
	make(GWR_C, 1);
	return 0;
}

static int
stop(void **state)
{
	fprintf(stderr, "%d generated requests, %d deviations\n", total.cases, total.wrong);
	gwr_stop();
	return 0;
}

/* Does the gateway answer this route with something of its own? */
static bool
ours(const struct route *r)
{
	return r->access == ROUTE_WORKSPACE && r->handler != route_nowhere && r->handler != route_elsewhere;
}

enum which { OWN, FOREIGN };

static const char *
id_for(const char *name, enum which which)
{
	const char *prefix = route_param_prefix(name);

	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		if (strcmp(ids[i].name, name) == 0)
			return which == FOREIGN && ids[i].foreign[0] ? ids[i].foreign : ids[i].own;
	return gwr_fmt("%s" ABSENT_TAIL, prefix ? prefix : "");
}

/* The route's path with ids in it, parameter `odd` (or none, -1) being text instead. */
static void
path_of(const struct route *r, enum which which, int odd, const char *text, char out[512])
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	const char *p = r->path;
	char name[32];

	for (int n = 0; *p; n++) {
		size_t len = strcspn(p, "{");

		buf_put(&b, p, len);
		p += len;
		if (!*p)
			break;
		buf_str(&b, n == odd ? text : id_for(route_param_name(r, n, name), which));
		p += strcspn(p, "}") + 1;
	}
	snprintf(out, 512, "%s", b.data);
}

static void
deviates(const char *what, const char *uri, const char *want, const struct gwr_reply *r)
{
	if (total.wrong++ < 40)
		fprintf(stderr, "%s %s\n  want: %s\n  got:  %d %.300s\n", what, uri, want, r->status, r->body);
}

/* One request that must be refused like this; message NULL: any. */
static void
refused_as(const char *what, const char *method, const char *uri, const char *body, int status, const char *type, const char *message)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const char *got, *words;

	gwr_send(GWR_A, method, uri, body, body ? strlen(body) : 0, NULL, &r);
	total.cases++;
	got = jx_str(json_object_get(r.json, "error"), "type");
	words = jx_str(json_object_get(r.json, "error"), "message");
	if (r.status != status || !got || strcmp(got, type) != 0 || (message && strncmp(words, message, strlen(message)) != 0))
		deviates(what, uri, gwr_fmt("%d %s %s", status, type, message ? message : ""), &r);
}

#define INVALID 400, "invalid_request_error"

/* Runs see() on every route that fits, and checks that nothing changed in between. */
static void
unchanged(bool (*fits)(const struct route *r), void (*see)(const struct route *r))
{
	AUTO(str) char *before = gwr_state();
	int wrong = total.wrong, connections = gwr_connections();

	for (size_t i = 0; i < routes_count; i++) {
		AUTO(str) char *after = NULL;

		if (!ours(&routes[i]) || !fits(&routes[i]))
			continue;
		see(&routes[i]);
		after = gwr_state();
		if (strcmp(before, after) != 0)
			fail_msg("%s %s: refused requests changed something", routes[i].method, routes[i].path);
	}
	assert_int_equal(total.wrong, wrong);
	assert_int_equal(gwr_connections(), connections);
}

/* --- bodies ----------------------------------------------------------------------------------------------------------------- */

static bool
takes_json(const struct route *r)
{
	return r->body != &shape_none && !shape_multipart(r->body);
}

static void
send_refused(void *arg, const char *name, const json_t *body, const char *expect)
{
	AUTO(str) char *text = expect ? jx_dump(body) : NULL;

	if (expect)
		refused_as(name, "POST", arg, text, INVALID, expect);
}

static void
body_cases(const struct route *r)
{
	static const struct { const char *body, *expect; } forms[] = {
		{ "[]", "Failed to parse request body: expected an object, got an array" }, { "7", "Failed to parse request body: expected an object" },
		{ "\"x\"", "Failed to parse request body: expected an object" }, { "null", "Failed to parse request body: expected an object" },
		{ "{", "Failed to parse request body: invalid JSON" }, { "{}{}", "Failed to parse request body: invalid JSON" },
		{ "\xef\xbb\xbf{}", "Failed to parse request body: invalid JSON" }, { "{\"a\":1,\"a\":1}", "Failed to parse request body: invalid JSON" },
		{ "{\"a\":\"\\ud800\"}", "Failed to parse request body: invalid JSON" }, { "{\"a\":\"\\u0000\"}", "Failed to parse request body: invalid JSON" },
		{ "{\"a\":\"\xff\"}", "Failed to parse request body: invalid JSON" }, { "{\"a\":1e400}", "Failed to parse request body: " },
		{ "{\"a\":NaN}", "Failed to parse request body: invalid JSON" }, { "{\"a\":-}", "Failed to parse request body: invalid JSON" },
	};
	char uri[512];

	path_of(r, OWN, -1, NULL, uri);
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		refused_as(forms[i].body, r->method, uri, forms[i].body, INVALID, forms[i].expect);
	if (r->body != &shape_empty)
		refused_as("no body", r->method, uri, NULL, INVALID, "Failed to parse request body: the body is empty");
	shape_cases(r->body, send_refused, uri);
}

static void
bodies(void **state)
{
	unchanged(takes_json, body_cases);
}

/* A body that the shape admits: it may be refused for other reasons, never by the shape, and never with a fault. */
static void
send_good(void *arg, const char *name, const json_t *body, const char *expect)
{
	static const char *const shape_words[] = { "Failed to parse", "value is required", "must be at most", "Input should be", "must have at " };
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const char *words;
	AUTO(str) char *text = NULL;

	if (expect)
		return;
	text = jx_dump(body);
	gwr_send(GWR_A, "POST", arg, text, strlen(text), NULL, &r);
	total.cases++;
	words = jx_str(json_object_get(r.json, "error"), "message");
	if (r.status >= 500 || (r.status != 200 && !words)) {
		deviates(name, arg, "no fault", &r);
		return;
	}
	for (size_t i = 0; r.status == 400 && i < sizeof shape_words / sizeof *shape_words; i++)
		if (strstr(words, shape_words[i]))
			deviates(name, arg, "not refused by its shape", &r);
}

static void
good_bodies(void **state)
{
	AUTO(str) char *before = gwr_state_of_others(), *after = NULL, *all_before = gwr_state(), *all_after = NULL;
	int wrong = total.wrong;
	char uri[512];

	for (size_t i = 0; i < routes_count; i++)
		if (ours(&routes[i]) && takes_json(&routes[i]) && routes[i].body != &shape_empty) {
			path_of(&routes[i], OWN, -1, NULL, uri);
			shape_cases(routes[i].body, send_good, uri);
		}
	after = gwr_state_of_others();
	assert_string_equal(before, after);
	all_after = gwr_state();
	assert_string_not_equal(all_before, all_after);		/* the digest sees what these requests did */
	assert_int_equal(total.wrong, wrong);
}

/* --- query parameters ------------------------------------------------------------------------------------------------------- */

static void
query_refused(const struct route *r, const char *uri, const char *name, const char *value)
{
	refused_as("query", r->method, gwr_fmt("%s?%s=%s", uri, name, value), NULL, INVALID, gwr_fmt("%s: ", name));
}

/* A value at the edge of what is allowed: perhaps refused for its company, never for itself. */
static void
query_taken(const struct route *r, const char *uri, const char *name, const char *value)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply reply = { 0 };
	const char *words;

	gwr_send(GWR_A, r->method, gwr_fmt("%s?%s=%s", uri, name, value), NULL, 0, NULL, &reply);
	total.cases++;
	words = jx_str(json_object_get(reply.json, "error"), "message");
	if (reply.status >= 500 || (reply.status == 400 && (!words || strstr(words, "Input should be") || strstr(words, " characters"))))
		deviates("query", gwr_fmt("%s?%s=%s", uri, name, value), "taken", &reply);
}

static void
parameter_cases(const struct route *r, const char *uri, const struct query_param *p)
{
	switch (p->kind) {
	case QK_INT:
		for (int64_t d = 0; d < 2 && strcmp(r->method, "GET") == 0; d++) {
			query_taken(r, uri, p->name, gwr_fmt("%" PRId64, p->min + d));
			query_taken(r, uri, p->name, gwr_fmt("%" PRId64, p->max - d));
		}
		query_refused(r, uri, p->name, gwr_fmt("%lld", (long long)p->min - 1));
		query_refused(r, uri, p->name, gwr_fmt("%lld", (long long)p->max + 1));
		query_refused(r, uri, p->name, "-1");
		query_refused(r, uri, p->name, "1000000000000000000000000");
		query_refused(r, uri, p->name, "1.5");
		query_refused(r, uri, p->name, "0x1");
		query_refused(r, uri, p->name, "x");
		query_refused(r, uri, p->name, "");
		query_refused(r, uri, p->name, gwr_fmt("%lld&%s=%lld", (long long)p->min, p->name, (long long)p->min));
		break;
	case QK_BOOL:
		query_refused(r, uri, p->name, "1");
		query_refused(r, uri, p->name, "TRUE");
		query_refused(r, uri, p->name, "");
		break;
	case QK_ENUM:
		query_refused(r, uri, p->name, "nope");
		query_refused(r, uri, p->name, "");
		break;
	case QK_ENUMS:
		query_refused(r, uri, p->name, "nope");
		refused_as("query", r->method, gwr_fmt("%s?%s%%5B%%5D=nope", uri, p->name), NULL, INVALID, p->name);
		refused_as("query", r->method, gwr_fmt("%s?%s[]=%s&%s[]=nope", uri, p->name, p->values[0], p->name), NULL, INVALID, p->name);
		break;
	case QK_TIME:
		query_refused(r, uri, p->name, "yesterday");
		query_refused(r, uri, p->name, "2026-11-20");
		query_refused(r, uri, p->name, "1763617071");
		query_refused(r, uri, p->name, "2026-13-20T00:00:00Z");
		query_refused(r, uri, p->name, "10000-01-01T00:00:00Z");
		break;
	case QK_TEXT:
	case QK_TEXTS:
		query_refused(r, uri, p->name, "%ff%fe");
		if (p->min > 0)
			query_refused(r, uri, p->name, "");
		if (p->max < 3000 && strcmp(r->method, "GET") == 0)
			query_taken(r, uri, p->name, gwr_fmt("%0*d", (int)p->max, 0));
		if (p->max < 3000)
			query_refused(r, uri, p->name, gwr_fmt("%0*d", (int)p->max + 1, 0));
	}
}

static bool
has_query(const struct route *r)
{
	return takes_json(r) == false && r->query->params[0].name;
}

static void
query_cases(const struct route *r)
{
	char uri[512];

	path_of(r, OWN, -1, NULL, uri);
	for (const struct query_param *p = r->query->params; p->name; p++)
		parameter_cases(r, uri, p);
	refused_as("query", r->method, gwr_fmt("%s?x=%%zz", uri), NULL, INVALID, "Malformed query string");
	refused_as("query", r->method, gwr_fmt("%s?x=%%00", uri), NULL, INVALID, "Malformed query string");
	refused_as("query", r->method, gwr_fmt("%s?x=%%e", uri), NULL, INVALID, "Malformed query string");
	refused_as("query", r->method, gwr_fmt("%s?api_key=x", uri), NULL, INVALID, "API keys are not accepted");
}

static void
queries(void **state)
{
	unchanged(has_query, query_cases);
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents?beta=true&unheard=of&&=&x", NULL));
}

/* --- ids in paths ------------------------------------------------------------------------------------------------------------- */

static bool
has_ids(const struct route *r)
{
	return strchr(r->path, '{') && !shape_multipart(r->body);
}

/* The smallest good body, so that the path decides. */
static char *
body_of(const struct route *r)
{
	AUTO(json) json_t *v = takes_json(r) ? shape_specimen(r->body) : NULL;

	return v ? jx_dump(v) : NULL;
}

static void
id_cases(const struct route *r)
{
	static const char *const malformed[] = { "x", "sesn_", "agent_01", "%20", "id", "0", "null", "%F0%9F%A6%86", "sesn_01111111111111111111111O",
	    "nope_011111111111111111111111", "sesn_0111111111111111111111111" };
	AUTO(str) char *body = body_of(r);
	char uri[512], name[32];

	for (int n = 0; n < REQ_PARAMS && route_param_name(r, n, name); n++) {
		const char *prefix = route_param_prefix(name);

		for (size_t i = 0; prefix && i < sizeof malformed / sizeof *malformed; i++) {
			path_of(r, OWN, n, malformed[i], uri);
			refused_as("malformed id", r->method, uri, body, INVALID, "Invalid ");
		}
		path_of(r, OWN, n, gwr_fmt("%s" ABSENT_TAIL, prefix ? prefix : "absent-"), uri);
		refused_as("absent id", r->method, uri, body, 404, "not_found_error", NULL);
	}
}

static void
path_ids(void **state)
{
	unchanged(has_ids, id_cases);
}

/* Another tenant's object: 404, and the same words as for one that is not there. */
static void
foreign_cases(const struct route *r)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply theirs = { 0 }, none = { 0 };
	AUTO(str) char *body = body_of(r), *said = NULL;
	const char *words;
	char uri[512], name[32];

	if (!route_param_prefix(route_param_name(r, 0, name)))
		return;
	path_of(r, FOREIGN, -1, NULL, uri);
	gwr_send(GWR_A, r->method, uri, body, body ? strlen(body) : 0, NULL, &theirs);
	path_of(r, OWN, 0, gwr_fmt("%s" ABSENT_TAIL, route_param_prefix(name)), uri);
	gwr_send(GWR_A, r->method, uri, body, body ? strlen(body) : 0, NULL, &none);
	total.cases += 2;
	words = jx_str(json_object_get(theirs.json, "error"), "message");
	said = xstrdup(jx_str(json_object_get(none.json, "error"), "message"));
	if (theirs.status != 404 || none.status != 404)
		deviates("foreign id", uri, "404", &theirs);
	/* an id that is quoted differs, nothing else may */
	if (strlen(words) != strlen(said) || strcspn(words, "_") != strcspn(said, "_"))
		deviates("foreign id", uri, said, &theirs);
}

static void
foreign_ids(void **state)
{
	unchanged(has_ids, foreign_cases);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies), cmocka_unit_test(queries), cmocka_unit_test(path_ids), cmocka_unit_test(foreign_ids),
		cmocka_unit_test(good_bodies),
	};

	return cmocka_run_group_tests_name("bad_input", tests, start, stop);
}
