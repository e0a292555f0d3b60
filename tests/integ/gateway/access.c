/* link: tests/env/gateway_rig.c */
/*
 * Who may come in, and what of HTTP and JSON is let through: the hand-written list of abuse cases for authentication, tenancy, HTTP and
 * JSON, against a running gateway. Every refusal leaves the connection usable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <zlib.h>

#include "../../env/gateway_rig.h"
#include "apikey.h"
#include "clock.h"
#include "xalloc.h"

#define BODY_MAX 200000
#define DEADLINE_MS 30000
#define VERSION "HTTP_ANTHROPIC_VERSION", "2026-10-21"
#define BETA "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01"
#define JSON "CONTENT_TYPE", "application/json"

static char agent[ID_MAX], environment[ID_MAX], session[ID_MAX];

static int
start(void **state)
{
	gwr_start(gwr_fmt("body_max = %d\nkey_cache_s = 1\n", BODY_MAX));
	gwr_session(GWR_A, agent, environment, session);
	return 0;
}

/* GET path (or POST when there is a body) with exactly these headers. */
static void
expect(const char *path, const char *body, const char *const *headers, int status, const char *message)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const char *got;

	gwr_send(GWR_NOBODY, body ? "POST" : "GET", path, body, body ? strlen(body) : 0, headers, &r);
	got = jx_str(json_object_get(r.json, "error"), "message");
	if (r.status != status || (message && (!got || strncmp(got, message, strlen(message)) != 0)))
		fail_msg("%s %.200s\n  want %d %s\n  got  %d %s", path, body ? body : "", status, message ? message : "", r.status, r.body);
}

#define H(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void
keys(void **state)
{
	const char *bearer = xasprintf("Bearer %s", gwr_key(GWR_A)), *other = gwr_key(GWR_B), *key = gwr_key(GWR_A);

	expect("/v1/agents", NULL, H(VERSION, BETA), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", ""), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", "Bearer "), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", "Basic YTpi"), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", "Bearer nope"), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", gwr_fmt("%s ", bearer)), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", gwr_fmt("Bearer %.65s\xc3\xa9", key)), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", gwr_fmt("%.65s%c", key, key[65] == 'a' ? 'b' : 'a')), 401,
	    "Authentication failed");
	for (int who = GWR_REVOKED; who <= GWR_UNKNOWN; who++)
		expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", gwr_key(who)), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", bearer), 200, NULL);
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_AUTHORIZATION", gwr_fmt("bearer %s", key)), 200, NULL);
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key), 200, NULL);
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key, "HTTP_AUTHORIZATION", bearer), 200, NULL);
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", other, "HTTP_AUTHORIZATION", bearer), 401, "Authentication failed");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key, "HTTP_X_API_KEY", other), 401, "Authentication failed");
	free((char *)bearer);
}

static void
huge_key(void **state)
{
	char *big = xmalloc(10 << 20);

	memset(big, 'k', (10 << 20) - 1);
	big[(10 << 20) - 1] = '\0';
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", big), 431, "The request's headers are larger");
	big[15000] = '\0';
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", big), 401, "Authentication failed");
	free(big);
}

static void
key_in_url(void **state)
{
	expect(gwr_fmt("/v1/agents?api_key=%s", gwr_key(GWR_A)), NULL, H(VERSION, BETA), 401, "Authentication failed");
	expect(gwr_fmt("/v1/agents?x-api-key=%s", gwr_key(GWR_A)), NULL, H(VERSION, BETA, "HTTP_X_API_KEY", gwr_key(GWR_A)), 400,
	    "API keys are not accepted in the query string");
}

static void
kinds_of_key(void **state)
{
	gwr_bad(GWR_ADMIN, "GET", "/v1/sessions", NULL, 403, "permission_error", "An admin key");
	gwr_bad(GWR_ADMIN, "POST", "/v1/agents", "{}", 403, "permission_error", "An admin key");
	gwr_bad(GWR_A, "GET", "/v1/organizations/me", NULL, 404, "not_found_error", "Not found");
}

static void
workspace_header(void **state)
{
	const char *key = gwr_key(GWR_A);

	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key, "HTTP_ANTHROPIC_WORKSPACE_ID", "wrkspc_A"), 200, NULL);
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key, "HTTP_ANTHROPIC_WORKSPACE_ID", "wrkspc_B"), 403,
	    "anthropic-workspace-id");
	expect("/v1/agents", NULL, H(VERSION, BETA, "HTTP_X_API_KEY", key, "HTTP_ANTHROPIC_WORKSPACE_ID", "wrkspc_C"), 403,
	    "anthropic-workspace-id");
}

/* route -> key -> beta -> version */
static void
order_of_checks(void **state)
{
	const char *key = gwr_key(GWR_A);

	expect("/v1/nothing", NULL, H(JSON), 404, "Not found");
	expect("/v1/agents", NULL, H(JSON), 401, "Authentication failed");
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key), 404, "not found");
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, BETA), 400, "anthropic-version: header is required");
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, BETA, "HTTP_ANTHROPIC_VERSION", "2019-01-01"), 400, "anthropic-version:");
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, BETA, "HTTP_ANTHROPIC_VERSION", "2023-06-01"), 200, NULL);
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, VERSION, "HTTP_ANTHROPIC_BETA", "files-api-2025-04-14"), 404, "not found");
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, VERSION, "HTTP_ANTHROPIC_BETA", "made-up, managed-agents-2026-04-01"), 200, NULL);
	expect("/v1/agents", NULL, H("HTTP_X_API_KEY", key, VERSION, "HTTP_ANTHROPIC_BETA", "made-up", BETA), 200, NULL);
	expect("/v1/environments", NULL, H("HTTP_X_API_KEY", key, VERSION), 200, NULL);
	expect("/v1/environments", NULL, H("HTTP_X_API_KEY", key, VERSION, "HTTP_ANTHROPIC_BETA", "made-up"), 400, "Unexpected value(s)");
	expect("/v1/models", NULL, H("HTTP_X_API_KEY", key, VERSION), 200, NULL);
	expect("/healthz", NULL, H(JSON), 200, NULL);	/* no worker here: the API serves all the same */
	expect("/openapi.json", NULL, H(JSON), 200, NULL);
}

static void
suspended(void **state)
{
	AUTO(json) json_t *list = gwr_ok(GWR_SUSPENDED, "GET", "/v1/agents", NULL);

	gwr_bad(GWR_SUSPENDED, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}", 403, "permission_error",
	    "This organization is suspended");
	gwr_bad(GWR_SUSPENDED, "POST", "/v1/environments", "{\"name\":\"A\"}", 403, "permission_error", "This organization is suspended");
	/* also while the key is still cached as active: the write itself looks */
	json_decref(gwr_ok(GWR_C, "GET", "/v1/agents", NULL));
	free(gwr_sql("UPDATE organization SET state = 'suspended' WHERE id = 'org-2'"));
	gwr_bad(GWR_C, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}", 403, "permission_error", "This organization is suspended");
	free(gwr_sql("UPDATE organization SET state = 'active' WHERE id = 'org-2'"));
}

/* A revocation works within key_cache_s. */
static void
revocation(void **state)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	int status;

	json_decref(gwr_ok(GWR_B, "GET", "/v1/agents", NULL));
	free(gwr_sql("UPDATE api_key SET revoked_at = now() WHERE workspace_id = 'wrkspc_B'"));
	do {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_B, "GET", "/v1/agents", NULL, 0, NULL, &r);
		status = r.status;
		(void)usleep(20000);	/* the step of a wait with a deadline */
	} while (status == 200 && clock_mono_ms() < end);
	assert_int_equal(status, 401);
	free(gwr_sql("UPDATE api_key SET revoked_at = NULL WHERE workspace_id = 'wrkspc_B'"));
}

/* A key of the right form; its check is what anybody can compute. secret: 43 characters. */
static const char *
crc_key(const char *public_id, int n)
{
	static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	static char key[APIKEY_LEN + 1];
	unsigned long v;

	snprintf(key, sizeof key, "rst_%s_%043d", public_id, n);
	v = crc32(0, (const unsigned char *)key, 60);
	for (int i = 65; i >= 60; i--, v /= 62)
		key[i] = base62[v % 62];
	key[APIKEY_LEN] = '\0';
	return key;
}

/* The status that a key gets. */
static int
status_of(const char *key)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	gwr_send(GWR_NOBODY, "GET", "/v1/agents", NULL, 0, H("HTTP_X_API_KEY", key, VERSION, BETA), &r);
	return r.status;
}

/* While nobody can read the table of keys, invented ones are refused as fast as ever: they are not looked up. */
static void
invented_keys(void **state)
{
	char key[APIKEY_LEN + 1];
	int64_t start = clock_mono_ms();

	free(gwr_sql("BEGIN"));
	free(gwr_sql("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE"));
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof key, "rst_%012d_%043d%06d", i, i, i);
		assert_int_equal(status_of(key), 401);
	}
	free(gwr_sql("ROLLBACK"));
	fprintf(stderr, "2000 invented keys in %lld ms\n", (long long)(clock_mono_ms() - start));
}

/* Keys with a CRC32 still work, and a flood of invented ones costs few lookups; a known one goes on meanwhile. */
static void
old_keys(void **state)
{
	struct apikey_pepper pepper;
	struct err e = ERR_INIT;
	char old[APIKEY_LEN + 1], hash[APIKEY_HEX];
	int64_t start = clock_mono_ms();
	int looked_up = 0;

	snprintf(old, sizeof old, "%s", crc_key("oldoldoldold", 1));
	assert_int_equal(apikey_pepper_load(gwr_fmt("%s/pepper", gwr_dir), &pepper, &e), 0);
	apikey_hash(&pepper, old, hash);
	free(gwr_sql("INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint) "
	    "VALUES ('apikey_old', 'org-1', 'wrkspc_A', 'k', 'oldoldoldold', '%s', '')", hash));
	assert_int_equal(status_of(old), 200);
	for (int i = 0; i < 500; i++) {
		int status = status_of(crc_key("inventedkeys", i));

		assert_true(status == 401 || status == 429);
		looked_up += status == 401;
	}
	assert_true(looked_up <= 20 * (2 + (clock_mono_ms() - start) / 1000));
	assert_int_equal(status_of(old), 200);
	free(gwr_sql("DELETE FROM api_key WHERE id = 'apikey_old'"));
}

/* Another workspace's objects do not exist: same status, same words, whatever is asked of them. */
static void
tenants(void **state)
{
	static const enum gwr_who strangers[] = { GWR_B, GWR_C };

	for (int i = 0; i < 2; i++) {
		enum gwr_who who = strangers[i];
		AUTO(json) json_t *agents = gwr_ok(who, "GET", "/v1/agents?include_archived=true", NULL);
		AUTO(json) json_t *sessions = gwr_ok(who, "GET", "/v1/sessions?include_archived=true", NULL);
		AUTO(json) json_t *environments = gwr_ok(who, "GET", "/v1/environments", NULL);

		assert_int_equal(json_array_size(json_object_get(agents, "data")), 0);
		assert_int_equal(json_array_size(json_object_get(sessions, "data")), 0);
		assert_int_equal(json_array_size(json_object_get(environments, "data")), 0);
		gwr_bad(who, "GET", gwr_fmt("/v1/agents/%s", agent), NULL, 404, "not_found_error", "Agent not found.");
		gwr_bad(who, "POST", gwr_fmt("/v1/agents/%s", agent), "{\"name\":\"x\"}", 404, "not_found_error", "Agent not found.");
		gwr_bad(who, "POST", gwr_fmt("/v1/agents/%s/archive", agent), NULL, 404, "not_found_error", "Agent not found.");
		gwr_bad(who, "GET", gwr_fmt("/v1/agents/%s/versions", agent), NULL, 404, "not_found_error", "Agent not found.");
		gwr_bad(who, "GET", gwr_fmt("/v1/environments/%s", environment), NULL, 404, "not_found_error", "Environment ");
		gwr_bad(who, "DELETE", gwr_fmt("/v1/environments/%s", environment), NULL, 404, "not_found_error", "Environment ");
		gwr_bad(who, "GET", gwr_fmt("/v1/sessions/%s", session), NULL, 404, "not_found_error", "Session not found.");
		gwr_bad(who, "POST", gwr_fmt("/v1/sessions/%s", session), "{\"title\":\"x\"}", 404, "not_found_error", "Session not found.");
		gwr_bad(who, "DELETE", gwr_fmt("/v1/sessions/%s", session), NULL, 404, "not_found_error", "Session not found.");
		gwr_bad(who, "POST", gwr_fmt("/v1/sessions/%s/archive", session), NULL, 404, "not_found_error", "Session not found.");
		gwr_bad(who, "GET", gwr_fmt("/v1/sessions/%s/events", session), NULL, 404, "not_found_error", "Session not found.");
		gwr_bad(who, "POST", gwr_fmt("/v1/sessions/%s/events", session), "{\"events\":[{\"type\":\"user.interrupt\"}]}", 404,
		    "not_found_error", "Session not found.");
		gwr_bad(who, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment), 404,
		    "not_found_error", "Agent not found.");
	}
}

static void
malformed_ids(void **state)
{
	static const char *const ids[] = { "x", "agent_", "agent_01", "agent_0111111111111111111111110", "agent_01%27%20OR%201=1", "AGENT_x" };

	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		gwr_bad(GWR_A, "GET", gwr_fmt("/v1/agents/%s", ids[i]), NULL, 400, "invalid_request_error", "Invalid agent ID.");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/sessions/%s", agent), NULL, 400, "invalid_request_error", "Invalid session ID.");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/environments/%s", session), NULL, 400, "invalid_request_error", "Invalid environment ID.");
	gwr_bad(GWR_A, "GET", "/v1/agents/agent_01aaaaaaaaaaaaaaaaaaaaaa", NULL, 404, "not_found_error", "Agent not found.");
	gwr_bad(GWR_A, "GET", "/v1/models/no%20such", NULL, 400, "invalid_request_error", "Invalid model ID.");
	gwr_bad(GWR_A, "GET", "/v1/models/nope", NULL, 404, "not_found_error", "model: nope");
}

static void
paths(void **state)
{
	static const char *const unknown[] = {
		"", "/", "/v1", "/v1/", "/v1//sessions", "/v1/sessions/", "/v1/sessions/../agents", "/v1/sessions/%2e%2e/agents", "/v1/./agents",
		"/v1/agents;x", "/v1/agents%00", "/v1/agents/%00", "/v1/agents/%2fx", "/v1/agents/a%2fb", "/v1/agents/%zz", "/V1/agents",
		"/v1%2fagents", "v1/agents", "/v1/agents/x/y/z", "//v1/agents", "/v1/agents/%5c", "http://host/v1/agents",
	};
	char *big = xmalloc(1 << 20);

	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		gwr_bad(GWR_A, "GET", unknown[i], NULL, 404, "not_found_error", "Not found");
	memset(big, 'a', (1 << 20) - 1);
	memcpy(big, "/v1/agents/", 11);
	big[(1 << 20) - 1] = '\0';
	gwr_bad(GWR_A, "GET", big, NULL, 414, "invalid_request_error", "The path and query are longer");
	big[8192] = '\0';
	gwr_bad(GWR_A, "GET", big, NULL, 404, "not_found_error", "Not found");
	free(big);
}

static void
methods(void **state)
{
	static const struct { const char *path, *allow; } known[] = {
		{ "/v1/agents", "POST, GET" }, { "/v1/environments", "POST, GET" }, { "/v1/sessions", "POST, GET" }, { "/v1/models", "GET" },
		{ "/healthz", "GET" },
	};
	static const char *const wrong[] = { "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "", "DELETE" };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
			__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
			AUTO(str) char *allow = NULL;

			gwr_send(GWR_A, wrong[k], known[i].path, NULL, 0, NULL, &r);
			assert_int_equal(r.status, 405);
			assert_string_equal(jx_str(json_object_get(r.json, "error"), "type"), "invalid_request_error");
			allow = gwr_header(&r, "allow");
			assert_string_equal(allow, known[i].allow);
		}
	gwr_bad(GWR_A, "DELETE", gwr_fmt("/v1/agents/%s", agent), NULL, 404, "not_found_error", "Not found");
}

static void
many_parameters(void **state)
{
	char *uri = xmalloc(20000), *p;

	strcpy(uri, gwr_fmt("/v1/sessions/%s/events?", session));
	p = uri + strlen(uri);
	for (int i = 0; i < 1000; i++)
		p += sprintf(p, "t[]=x&");
	json_decref(gwr_ok(GWR_A, "GET", uri, NULL));
	strcpy(p, "t[]=x");
	gwr_bad(GWR_A, "GET", uri, NULL, 400, "invalid_request_error", "At most 1000 query parameters");
	strcpy(uri, gwr_fmt("/v1/sessions/%s/events?types[]=user.message", session));
	for (int i = 0; i < 100; i++)
		strcat(uri, "&types%5B%5D=user.message&types=agent.message");
	json_decref(gwr_ok(GWR_A, "GET", uri, NULL));
	free(uri);
}

#define KEYED "HTTP_X_API_KEY", gwr_key(GWR_A), VERSION, BETA
#define GOOD "{\"name\":\"A\",\"model\":\"roost-scripted\"}"

static void
bodies(void **state)
{
	char *big = xmalloc(BODY_MAX + 2);

	expect("/v1/agents", GOOD, H(KEYED, "CONTENT_TYPE", "application/json; charset=utf-8"), 200, NULL);
	expect("/v1/agents", GOOD, H(KEYED), 200, NULL);
	expect("/v1/agents", GOOD, H(KEYED, "CONTENT_TYPE", "application/json; charset=US-ASCII"), 200, NULL);
	expect("/v1/agents", "{\"name\":\"caf\xe9\",\"model\":\"roost-scripted\"}", H(KEYED, "CONTENT_TYPE", "application/json; charset=ISO-8859-1"), 200,
	    NULL);
	expect("/v1/agents", GOOD, H(KEYED, "CONTENT_TYPE", "application/json; charset=utf-16"), 400, "Unsupported charset");
	expect("/v1/agents", GOOD, H(KEYED, JSON, "HTTP_CONTENT_ENCODING", "identity"), 200, NULL);
	expect("/v1/agents", GOOD, H(KEYED, JSON, "HTTP_CONTENT_ENCODING", "gzip"), 400, "The body is not valid gzip");
	expect("/v1/agents", GOOD, H(KEYED, JSON, "HTTP_CONTENT_ENCODING", "made-up"), 400, "Content-Encoding");
	expect("/v1/agents", GOOD, H(KEYED, JSON, "HTTP_EXPECT", "100-continue", "HTTP_X_MADE_UP", "\x01\xff"), 200, NULL);
	expect("/v1/agents", "", H(KEYED, JSON), 400, "Failed to parse request body: the body is empty");
	expect("/v1/agents", " \n", H(KEYED, JSON), 400, "Failed to parse request body: the body is empty");
	memset(big, ' ', BODY_MAX + 1);
	memcpy(big, GOOD, strlen(GOOD));
	big[BODY_MAX] = '\0';
	expect("/v1/agents", big, H(KEYED, JSON), 200, NULL);
	big[BODY_MAX] = ' ';
	big[BODY_MAX + 1] = '\0';
	gwr_bad(GWR_A, "POST", "/v1/agents", big, 413, "request_too_large", "Request exceeds the maximum");
	gwr_bad(GWR_NOBODY, "POST", "/v1/agents", big, 401, "authentication_error", "Authentication failed");
	gwr_bad(GWR_A, "GET", "/v1/agents", big, 413, "request_too_large", "Request exceeds the maximum");
	free(big);
}

static const struct { const char *body; size_t len; } malformed[] = {
#define BAD(text) { text, sizeof text - 1 }
	BAD("{"), BAD("}"), BAD("nope"), BAD("{\"name\":}"), BAD("{\"name\" \"a\"}"), BAD("{'name':'a'}"), BAD("{\"name\":\"a\",}"),
	BAD("{\"name\":\"a\"} x"), BAD("{\"name\":\"a\"}{}"), BAD("{\"name\":NaN}"), BAD("{\"name\":1e400}"), BAD("{\"name\":01}"),
	BAD("{\"name\":\"\xff\"}"), BAD("{\"name\":\"\xc0\x80\"}"), BAD("{\"name\":\"\xed\xa0\x80\"}"), BAD("{\"name\":\"\\ud800\"}"),
	BAD("{\"name\":\"\\u0000\"}"), BAD("{\"name\":\"a\0b\"}"), BAD("\0"), BAD("\xef\xbb\xbf{}"), BAD("{\"name\":\"a\",\"name\":\"b\"}"),
	BAD("{\"name\":\"a\nb\"}"), BAD("[]"), BAD("\"x\""), BAD("7"), BAD("null"),
	BAD("{\"name\":\"a\",\"model\":\"m\",\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}"),
#undef BAD
};

static void
json(void **state)
{
	AUTO(str) char *before = gwr_state(), *after = NULL;
	int connections = gwr_connections();

	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_A, "POST", "/v1/agents", malformed[i].body, malformed[i].len, NULL, &r);
		if (r.status != 400 || strncmp(jx_str(json_object_get(r.json, "error"), "message"), "Failed to parse request body", 28) != 0)
			fail_msg("%s: %d %s", malformed[i].body, r.status, r.body);
	}
	after = gwr_state();
	assert_string_equal(before, after);
	assert_int_equal(gwr_connections(), connections);
}

static char *
repeat(const char *head, const char *unit, int n, const char *tail)
{
	char *out = xmalloc(strlen(head) + strlen(unit) * (size_t)n + strlen(tail) + 1), *p = stpcpy(out, head);

	while (n-- > 0)
		p = stpcpy(p, unit);
	strcpy(p, tail);
	return out;
}

static void
json_bombs(void **state)
{
	AUTO(str) char *deep = repeat("{\"name\":", "[", 10000, "}"), *wide = repeat("{\"name\":[", "0,", 90000, "0]}");
	AUTO(str) char *closed = repeat("{\"name\":", "{\"a\":", 65, "1}");

	gwr_bad(GWR_A, "POST", "/v1/agents", deep, 400, "invalid_request_error", "Failed to parse request body: nesting deeper");
	gwr_bad(GWR_A, "POST", "/v1/agents", closed, 400, "invalid_request_error", "Failed to parse request body: nesting deeper");
	gwr_bad(GWR_A, "POST", "/v1/agents", wide, 400, "invalid_request_error", "Failed to parse request: name: expected a string");
}

static void
not_assignable(void **state)
{
	static const char *const fields[] = { "id", "version", "created_at", "archived_at", "workspace_id", "organization_id", "org_id", "type" };

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		gwr_bad(GWR_A, "POST", "/v1/agents", gwr_fmt("{\"name\":\"A\",\"model\":\"roost-scripted\",\"%s\":\"x\"}", fields[i]), 400,
		    "invalid_request_error", gwr_fmt("Failed to parse request body: unknown field \"%s\"", fields[i]));
	gwr_bad(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"status\":\"running\"}", agent, environment),
	    400, "invalid_request_error", "Failed to parse request body: unknown field \"status\"");
	gwr_bad(GWR_A, "POST", gwr_fmt("/v1/sessions/%s", session), "{\"usage\":{}}", 400, "invalid_request_error",
	    "Failed to parse request body: unknown field \"usage\"");
	gwr_bad(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", session),
	    "{\"events\":[{\"type\":\"user.interrupt\",\"processed_at\":\"2020-01-01T00:00:00Z\"}]}", 400, "invalid_request_error",
	    "Failed to parse request body: unknown field \"processed_at\" in events[0]");
}

/* The announced length is longer than what comes: refused, and the next request is understood. */
static void
short_body(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	gwr_send(GWR_A, "POST", "/v1/agents", "{}", 2, H("CONTENT_LENGTH", "50", KEYED, JSON), &r);
	assert_int_equal(r.status, 400);
	assert_non_null(strstr(r.body, "incomplete body"));
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents", NULL));
}

static void
graceful_stop(void **state)
{
	gwr_restart();
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents", NULL));
}

/* The server closed every connection meanwhile: nobody notices, not even a write. */
static void
lost_database_connection(void **state)
{
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents", NULL));
	for (int i = 0; i < 2; i++) {
		free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
		json_decref(gwr_ok(GWR_A, "GET", gwr_fmt("/v1/sessions/%s", session), NULL));
		free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
		json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s", session), gwr_fmt("{\"title\":\"%d\"}", i)));
	}
}

/* What GET /healthz says, looked at after this was called. The caller owns it. */
static json_t *
health(int *status)
{
	int64_t began = clock_mono_ms();

	for (;;) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_NOBODY, "GET", "/healthz", NULL, 0, NULL, &r);
		*status = r.status;
		if (jx_int(r.json, "age_ms", -1) <= clock_mono_ms() - began)
			return steal(r.json);
		usleep(20000);
	}
}

/* It says this status, and of this part that; the API serves or not. */
static void
assert_health(int want, const char *says, const char *part, const char *of_part)
{
	int status;
	AUTO(json) json_t *h = health(&status);

	assert_string_equal(jx_str(json_object_get(json_object_get(h, "checks"), part), "status"), of_part);
	assert_string_equal(jx_str(h, "status"), says);
	assert_int_equal(status, want);
}

/* A database that takes no writes: sends are a 503 that clients try again, reads are answered, and readiness says which of the two it is. */
static void
read_only_postgres(void **state)
{
	free(gwr_sql("ALTER ROLE roost_gw SET default_transaction_read_only = on"));
	free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
	gwr_bad(GWR_A, "POST", "/v1/agents", GOOD, 503, "api_error", "The service is temporarily unavailable. Please retry.");
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents", NULL));
	assert_health(503, "down", "postgres", "read_only");
	free(gwr_sql("ALTER ROLE roost_gw RESET default_transaction_read_only"));
	free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/agents", GOOD));
	assert_health(200, "degraded", "postgres", "ok");	/* no worker here */
}

/* No room for a megabyte: as on a full disk, where the write of one row might still succeed. */
static void
no_room(void **state)
{
	free(gwr_sql("ALTER ROLE roost_gw SET temp_file_limit = 0"));
	free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
	assert_health(503, "down", "postgres", "read_only");
	free(gwr_sql("ALTER ROLE roost_gw RESET temp_file_limit"));
	free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
	assert_health(200, "degraded", "postgres", "ok");
}

/* Many ask: the database is asked once a second. Nothing else writes here: transactions are counted. */
static void
herd_for_health(void **state)
{
	AUTO(str) char *before = NULL, *after = NULL;
	int64_t began = clock_mono_ms();

	before = gwr_sql("SELECT txid_current()");
	for (int i = 0; i < 300; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_NOBODY, "GET", "/healthz", NULL, 0, NULL, &r);
		assert_int_equal(r.status, 200);
	}
	after = gwr_sql("SELECT txid_current()");
	assert_in_range(atoll(after) - atoll(before) - 1, 0, 2 + (clock_mono_ms() - began) / 1000);
}

/* Postgres refuses us: 503 envelopes and a health check that names it; then everything is well again by itself. */
static void
without_postgres(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	AUTO(str) char *after = NULL;

	free(gwr_sql("ALTER ROLE roost_gw NOLOGIN"));
	free(gwr_sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'roost_gw'"));
	gwr_send(GWR_A, "POST", "/v1/agents", GOOD, strlen(GOOD), NULL, &r);
	assert_int_equal(r.status, 503);
	assert_string_equal(jx_str(json_object_get(r.json, "error"), "type"), "api_error");
	assert_string_equal(jx_str(json_object_get(r.json, "error"), "message"), "The service is temporarily unavailable. Please retry.");
	after = gwr_header(&r, "retry-after");
	assert_non_null(after);
	assert_health(503, "down", "postgres", "down");
	assert_health(503, "down", "redis", "ok");
	assert_health(503, "down", "worker", "unknown");
	free(gwr_sql("ALTER ROLE roost_gw LOGIN"));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/agents", GOOD));
}

/* Redis only carries hints: events are taken without it. */
static void
without_redis(void **state)
{
	gwr_stop_redis();
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", session), "{\"events\":[{\"type\":\"user.interrupt\"}]}"));
	assert_health(200, "degraded", "redis", "down");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys), cmocka_unit_test(huge_key), cmocka_unit_test(key_in_url), cmocka_unit_test(kinds_of_key),
		cmocka_unit_test(workspace_header), cmocka_unit_test(order_of_checks), cmocka_unit_test(suspended), cmocka_unit_test(revocation),
		cmocka_unit_test(invented_keys), cmocka_unit_test(old_keys),
		cmocka_unit_test(tenants), cmocka_unit_test(malformed_ids), cmocka_unit_test(paths), cmocka_unit_test(methods),
		cmocka_unit_test(many_parameters), cmocka_unit_test(bodies), cmocka_unit_test(json), cmocka_unit_test(json_bombs),
		cmocka_unit_test(not_assignable), cmocka_unit_test(short_body), cmocka_unit_test(graceful_stop),
		cmocka_unit_test(lost_database_connection), cmocka_unit_test(read_only_postgres), cmocka_unit_test(no_room),
		cmocka_unit_test(herd_for_health), cmocka_unit_test(without_postgres), cmocka_unit_test(without_redis),
	};

	return cmocka_run_group_tests_name("access", tests, start, gwr_over);
}
