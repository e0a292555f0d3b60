/* link: tests/env/gateway_rig.c */
/*
 * Agents, environments, sessions and lists against a running gateway: complete replies, updates that preserve, clear and replace, versions,
 * archive and delete rules, and pages that stay in place while rows come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/child.h"
#include "../../env/gateway_rig.h"
#include "clock.h"
#include "xalloc.h"

#define BAD(status, uri, body, message) \
	gwr_bad(GWR_A, "POST", uri, body, status, status == 404 ? "not_found_error" : "invalid_request_error", message)

static int
start(void **state)
{
	gwr_start("");
	return 0;
}

static json_t *post(const char *uri, const char *body) { return gwr_ok(GWR_A, "POST", uri, body); }
static json_t *get(const char *uri) { return gwr_ok(GWR_A, "GET", uri, NULL); }

/* The id of a new object, in gwr_fmt's ring. */
static const char *
made(const char *uri, const char *body)
{
	AUTO(json) json_t *o = post(uri, body);

	return gwr_fmt("%s", jx_str(o, "id"));
}

static char *
new_agent(void)
{
	return xstrdup(made("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}"));
}

static char *
new_environment(void)
{
	static int n;

	return xstrdup(made("/v1/environments", gwr_fmt("{\"name\":\"env %d\"}", n++)));
}

static char *
new_session(const char *agent, const char *environment)
{
	return xstrdup(made("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment)));
}

/* As if a worker had taken it up. */
static void
run(const char *session)
{
	free(gwr_sql("UPDATE session SET status = 'running', at_work = true WHERE id = '%s'", session));
	free(gwr_sql("INSERT INTO work (workspace_id, session_id, due_at, lease_owner) SELECT workspace_id, id, now(), 'w' FROM session WHERE id = '%s'",
	    session));
}

/* want is a subset: every key in it must be in got, equal. */
static void
contains(const json_t *got, const char *want)
{
	AUTO(json) json_t *w = json_loads(want, JSON_DECODE_ANY, NULL);
	const char *key;
	json_t *v;

	assert_non_null(w);
	json_object_foreach(w, key, v) {
		AUTO(str) char *have = json_object_get(got, key) ? jx_dump(json_object_get(got, key)) : xstrdup("(absent)");

		if (!json_equal(json_object_get(got, key), v))
			fail_msg("%s is %s; want %s", key, have, want);
	}
}

static void
has_keys(const json_t *o, const char *keys)
{
	AUTO(str) char *list = xstrdup(keys), *text = jx_dump(o);

	for (char *k = strtok(list, " "); k; k = strtok(NULL, " "))
		if (!json_object_get(o, k))
			fail_msg("%s is missing in %s", k, text);
}

/* --- agents ----------------------------------------------------------------------------------------------------------------- */

static void
agent_complete(void **state)
{
	AUTO(json) json_t *a = post("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}");
	AUTO(json) json_t *odd = post("/v1/agents", "{\"name\":\"\xf0\x9f\xa6\x86 \xd7\xa9\xd7\x9c\xe2\x80\x8b^$.*'\\\"\\n--;\",\"model\":\"roost-scripted\"}");
	AUTO(json) json_t *again = get(gwr_fmt("/v1/agents/%s", jx_str(a, "id")));

	has_keys(a, "type id name description model system tools mcp_servers skills multiagent execution_identity metadata version created_at "
	    "updated_at archived_at");
	assert_int_equal(json_object_size(a), 16);
	contains(a, "{\"type\":\"agent\",\"version\":1,\"description\":null,\"system\":null,\"tools\":[],\"mcp_servers\":[],\"skills\":[],"
	    "\"multiagent\":null,\"execution_identity\":{\"type\":\"service_account\"},\"metadata\":{},\"archived_at\":null,"
	    "\"model\":{\"id\":\"roost-scripted\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}}");
	assert_true(json_equal(a, again));
	assert_int_equal(strlen(jx_str(a, "created_at")), 27);
	assert_string_equal(jx_str(odd, "name"), "\xf0\x9f\xa6\x86 \xd7\xa9\xd7\x9c\xe2\x80\x8b^$.*'\"\n--;");
}

static void
agent_tools(void **state)
{
	AUTO(json) json_t *a = post("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"tools\":["
	    "{\"type\":\"agent_toolset_20260401\",\"default_config\":{\"enabled\":false,\"permission_policy\":{\"type\":\"always_ask\"}},"
	    "\"configs\":[{\"name\":\"bash\",\"enabled\":true},{\"name\":\"web_search\",\"type\":\"web_search\",\"allowed_domains\":[\"example.com\"],"
	    "\"permission_policy\":{\"type\":\"always_allow\"}},{\"name\":\"web_fetch\",\"url_sources\":{\"user_input\":\"none\",\"client_tool_results\":"
	    "{\"type\":\"only\",\"tools\":[{\"type\":\"tool_reference\",\"name\":\"mine\"}]}}}]},"
	    "{\"type\":\"custom\",\"name\":\"mine\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]}");

	contains(a, "{\"tools\":[{\"type\":\"agent_toolset_20260401\",\"default_config\":{\"enabled\":false,\"permission_policy\":{\"type\":\"always_ask\"}},"
	    "\"configs\":[{\"type\":\"bash\",\"name\":\"bash\",\"enabled\":true,\"permission_policy\":{\"type\":\"always_ask\"}},"
	    "{\"type\":\"web_search\",\"name\":\"web_search\",\"enabled\":false,\"permission_policy\":{\"type\":\"always_allow\"},"
	    "\"allowed_domains\":[\"example.com\"],\"user_location\":null},"
	    "{\"type\":\"web_fetch\",\"name\":\"web_fetch\",\"enabled\":false,\"permission_policy\":{\"type\":\"always_ask\"},"
	    "\"max_content_tokens\":null,\"url_sources\":{\"client_tool_results\":{\"type\":\"only\",\"tools\":"
	    "[{\"type\":\"tool_reference\",\"name\":\"mine\"}]},\"server_tool_results\":null,\"user_input\":{\"type\":\"none\"}}}]},"
	    "{\"type\":\"custom\",\"name\":\"mine\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]}");
}

static void
agent_update(void **state)
{
	AUTO(str) char *id = new_agent(), *uri = xasprintf("/v1/agents/%s", id);
	AUTO(json) json_t *one = get(uri), *same = post(uri, "{\"name\":\"A\",\"version\":1}"), *two = NULL, *three = NULL, *old = NULL, *four = NULL;
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply stale = { 0 };
	AUTO(str) char *retry = NULL;

	assert_true(json_equal(one, same));	/* no change, no version */
	two = post(uri, "{\"version\":1,\"description\":\"d\",\"system\":\"s\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"},\"model\":{\"id\":\"roost-scripted\","
	    "\"effort\":\"low\"},\"tools\":[{\"type\":\"agent_toolset_20260401\"}]}");
	contains(two, "{\"version\":2,\"description\":\"d\",\"system\":\"s\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"}}");
	gwr_send(GWR_A, "POST", uri, "{\"version\":1}", strlen("{\"version\":1}"), NULL, &stale);
	assert_int_equal(stale.status, 409);
	retry = gwr_header(&stale, "x-should-retry");
	assert_string_equal(retry, "false");
	assert_non_null(strstr(stale.body, "Concurrent modification detected. Please fetch the latest version and retry."));
	/* effort stays with the same model; null and "" clear; metadata merges */
	three = post(uri, "{\"model\":\"roost-scripted\",\"description\":\"\",\"system\":null,\"tools\":null,\"metadata\":{\"a\":null,\"c\":\"3\"}}");
	contains(three, "{\"version\":3,\"description\":null,\"system\":null,\"tools\":[],\"metadata\":{\"b\":\"2\",\"c\":\"3\"},"
	    "\"model\":{\"id\":\"roost-scripted\",\"effort\":{\"type\":\"low\"},\"speed\":\"standard\"}}");
	/* another model: its default effort */
	four = post(uri, "{\"model\":{\"id\":\"another\"}}");
	contains(four, "{\"version\":4,\"model\":{\"id\":\"another\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}}");
	old = get(gwr_fmt("%s?version=2", uri));
	contains(old, "{\"version\":2,\"description\":\"d\"}");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?version=9", uri), NULL, 404, "not_found_error", "Agent version not found.");
}

/*
 * An update that waited for another one's row lock sees what that one wrote: a stale version is a conflict. (Read in the statement that
 * waits, the new version's row is not visible yet, and the agent seemed not to exist.)
 */
static void
agent_update_race(void **state)
{
	AUTO(str) char *id = new_agent(), *uri = xasprintf("/v1/agents/%s", id);
	int64_t end = clock_mono_ms() + 30000;
	AUTO(str) char *waiting = xstrdup("0");
	int status;
	pid_t pid;

	free(gwr_sql("BEGIN"));
	free(gwr_sql("INSERT INTO agent_version SELECT agent_id, 2, workspace_id, body, now() FROM agent_version WHERE agent_id = '%s'", id));
	free(gwr_sql("UPDATE agent SET version = 2 WHERE id = '%s'", id));
	pid = child_fork(SIGKILL);
	if (pid == 0) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
		const char *body = "{\"version\":1,\"name\":\"late\"}";

		gwr_forked();
		gwr_send(GWR_A, "POST", uri, body, strlen(body), NULL, &r);
		_exit(r.status == 409 ? 0 : 1);
	}
	while (strcmp(waiting, "1") != 0 && clock_mono_ms() < end) {
		free(waiting);
		waiting = gwr_sql("SELECT count(*) FROM pg_locks WHERE NOT granted");
	}
	assert_string_equal(waiting, "1");
	free(gwr_sql("COMMIT"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
agent_rules(void **state)
{
#define TOOLS(t) "{\"name\":\"A\",\"model\":\"roost-scripted\",\"tools\":[" t "]}"
#define CUSTOM(n) "{\"type\":\"custom\",\"name\":\"" n "\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}"
#define SCHEMA(s) "{\"type\":\"custom\",\"name\":\"x\",\"description\":\"d\",\"input_schema\":" s "}"
	static const struct { const char *body, *message; } cases[] = {
		{ TOOLS("{\"type\":\"agent_toolset_20260401\"},{\"type\":\"agent_toolset_20260401\"}"),
		  "tools.1.agent_toolset_20260401: duplicate entry; at most one agent_toolset_20260401 is allowed" },
		{ TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"bash\"},{\"name\":\"bash\"}]}"),
		  "tools.0.agent_toolset_20260401.configs.1: duplicate entry" },
		{ TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"bash\",\"type\":\"read\"}]}"),
		  "tools.0.agent_toolset_20260401.configs.0.type: must be equal" },
		{ TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"find\"}]}"),
		  "Failed to parse request: tools[0].configs[0].name: \"find\" is not a valid value; expected one of " },
		{ TOOLS(CUSTOM("a b")), "tools.0.custom.name: must match" }, { TOOLS(CUSTOM("bash")), "tools.0.custom.name: \"bash\" is the name" },
		{ TOOLS(CUSTOM("mcp__x")), "tools.0.custom.name: the prefix mcp__" },
		{ TOOLS(CUSTOM("x") "," CUSTOM("x")), "tools.1.custom.name: duplicate" },
		{ TOOLS(SCHEMA("{\"type\":\"array\"}")), "tools.0.custom.input_schema.type: must be \"object\"" },
		{ TOOLS(SCHEMA("{\"type\":\"object\",\"anyOf\":[]}")), "tools.0.custom.input_schema: anyOf" },
		{ TOOLS(SCHEMA("{\"type\":\"object\",\"properties\":{\"a\":{\"items\":{\"$ref\":\"#\"}}}}")), "tools.0.custom.input_schema: $ref" },
		{ TOOLS(SCHEMA("{\"type\":\"object\",\"properties\":{\"a b\":{}}}")), "tools.0.custom.input_schema.properties: \"a b\"" },
		{ TOOLS(SCHEMA("{\"type\":\"object\",\"required\":[1]}")), "tools.0.custom.input_schema.required.0" },
		{ TOOLS(SCHEMA("{\"type\":\"object\",\"required\":[1.10]}")), "tools.0.custom.input_schema.required.0" },
		{ TOOLS(SCHEMA("{\"type\":1.10}")), "tools.0.custom.input_schema.type" },
		{ TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"web_fetch\",\"allowed_domains\":[\"a.com\"],\"blocked_domains\":[\"b.com\"]}]}"),
		  "tools.0.agent_toolset_20260401.configs.0: Only one of allowed_domains or blocked_domains may be set." },
		{ TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"web_fetch\",\"allowed_domains\":[\"10.0.0.1\"]}]}"),
		  "tools.0.agent_toolset_20260401.configs.0.allowed_domains.0: IP addresses are not supported" },
		{ "{\"name\":\"A\",\"model\":\"m\",\"multiagent\":{\"type\":\"coordinator\",\"agents\":[\"x\"]}}", "multiagent: not supported yet" },
		{ "{\"name\":\"A\",\"model\":\"m\",\"execution_identity\":{\"type\":\"aws_role\",\"role_arn\":\"x\"}}",
		  "execution_identity.role_arn: must be the ARN of an IAM role" },
		{ "{\"name\":\"A\",\"model\":{\"id\":\"m\",\"speed\":\"fast\"}}", "model.speed: \"fast\" is not supported" },
		{ "{\"name\":\"A\",\"model\":{\"id\":\"m\",\"inference_geo\":\"us\"}}", "model.inference_geo: \"us\" is not supported" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		BAD(400, "/v1/agents", cases[i].body, cases[i].message);
}

/* While a provider is configured, an id that the catalogue does not know is refused; without one the scripted model answers for all. */
static void
agent_model_known(void **state)
{
	json_decref(post("/v1/agents", "{\"name\":\"A\",\"model\":\"unheard-of\"}"));
	free(gwr_sql("INSERT INTO provider (name, dialect, base_url) VALUES ('p', 'openai', 'http://127.0.0.1:1')"));
	BAD(400, "/v1/agents", "{\"name\":\"A\",\"model\":\"unheard-of\"}", "model: \"unheard-of\" is not a known model");
	json_decref(post("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}"));
	free(gwr_sql("DELETE FROM provider WHERE name = 'p'"));
}

static void
agent_archive(void **state)
{
	AUTO(str) char *id = new_agent(), *environment = new_environment(), *uri = xasprintf("/v1/agents/%s", id);
	AUTO(json) json_t *once = NULL, *twice = NULL, *read = NULL;

	once = post(gwr_fmt("%s/archive", uri), NULL);
	twice = post(gwr_fmt("%s/archive", uri), "{}");
	assert_non_null(jx_str(once, "archived_at"));
	assert_true(json_equal(once, twice));
	read = get(uri);
	assert_true(json_equal(once, read));
	BAD(400, uri, "{\"name\":\"B\"}", "Cannot modify archived agent");
	BAD(400, "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", id, environment),
	    gwr_fmt("agent %s is archived and cannot be used to create a session", id));
}

/* --- environments ----------------------------------------------------------------------------------------------------------- */

static void
environment_life(void **state)
{
	AUTO(json) json_t *v = post("/v1/environments", "{\"name\":\"life\"}"), *u = NULL, *a = NULL, *gone = NULL;
	AUTO(str) char *uri = xasprintf("/v1/environments/%s", jx_str(v, "id"));

	has_keys(v, "type id name description config metadata created_at updated_at archived_at scope state");
	contains(v, "{\"type\":\"environment\",\"description\":\"\",\"scope\":\"organization\",\"state\":\"active\",\"archived_at\":null,\"metadata\":{},"
	    "\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"unrestricted\"},\"packages\":{\"type\":\"packages\",\"apt\":[],\"cargo\":[],"
	    "\"gem\":[],\"go\":[],\"npm\":[],\"pip\":[]}}}");
	u = post(uri, "{\"description\":null,\"metadata\":{\"a\":\"1\"},\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\","
	    "\"allowed_hosts\":[\"example.com\",\"*.example.org\"]}}}");
	contains(u, "{\"name\":\"life\",\"description\":null,\"metadata\":{\"a\":\"1\"}}");
	json_decref(u);
	/* what is left out is kept */
	u = post(uri, "{\"name\":null,\"metadata\":{\"a\":\"\",\"b\":\"2\"},\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\","
	    "\"allow_mcp_servers\":true}}}");
	contains(u, "{\"name\":\"life\",\"metadata\":{\"b\":\"2\"},\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allowed_hosts\":"
	    "[\"example.com\",\"*.example.org\"],\"allow_mcp_servers\":true,\"allow_package_managers\":false},\"packages\":{\"type\":\"packages\",\"apt\":[],"
	    "\"cargo\":[],\"gem\":[],\"go\":[],\"npm\":[],\"pip\":[]}}}");
	a = post(gwr_fmt("%s/archive", uri), NULL);
	contains(a, "{\"state\":\"archived\"}");
	BAD(400, uri, "{\"name\":\"x\"}", "Environment ");
	json_decref(post("/v1/environments", "{\"name\":\"life\"}"));	/* the name of an archived one is free */
	gone = gwr_ok(GWR_A, "DELETE", uri, NULL);
	contains(gone, "{\"type\":\"environment_deleted\"}");
	gwr_bad(GWR_A, "GET", uri, NULL, 404, "not_found_error", "Environment ");
}

static void
environment_rules(void **state)
{
	AUTO(str) char *id = new_environment(), *uri = xasprintf("/v1/environments/%s", id);
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const char *other = "{\"config\":{\"type\":\"self_hosted\"}}";

	json_decref(post("/v1/environments", "{\"name\":\"taken\"}"));
	BAD(409, "/v1/environments", "{\"name\":\"taken\"}", "An environment named \"taken\" already exists.");
	BAD(409, uri, "{\"name\":\"taken\"}", "An environment named \"taken\" already exists.");
	json_decref(gwr_ok(GWR_B, "POST", "/v1/environments", "{\"name\":\"taken\"}"));
	BAD(400, "/v1/environments", "{\"name\":\"x\",\"scope\":\"account\"}", "scope: ");
	BAD(400, "/v1/environments", "{\"name\":\"x\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"https://a.b\"]}}}",
	    "`allowed_hosts` entry \"https://a.b\" contains a URL scheme.");
	BAD(400, "/v1/environments", "{\"name\":\"x\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"a.b:443\"]}}}",
	    "`allowed_hosts` entry \"a.b:443\" contains a port.");
	gwr_send(GWR_A, "POST", uri, other, strlen(other), NULL, &r);
	assert_int_equal(r.status, 400);
	assert_string_equal(jx_str(json_object_get(json_object_get(r.json, "error"), "details"), "error_code"), "invalid_config_type_change");
}

static void
environment_in_use(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *session = new_session(agent, environment);
	AUTO(str) char *uri = xasprintf("/v1/environments/%s", environment);

	/* waiting for its client: busy */
	free(gwr_sql("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('%s', 'sevt_x', 1, 'custom', 't', '{}')", session));
	gwr_bad(GWR_A, "DELETE", uri, NULL, 409, "invalid_request_error", "Environment has 1 active sessions. Use force=true to delete anyway.");
	free(gwr_sql("DELETE FROM action WHERE session_id = '%s'", session));
	run(session);
	gwr_bad(GWR_A, "DELETE", uri, NULL, 409, "invalid_request_error", "Environment has 1 active sessions.");
	json_decref(gwr_ok(GWR_A, "DELETE", gwr_fmt("%s?force=true", uri), NULL));
}

/* --- sessions --------------------------------------------------------------------------------------------------------------- */

static void
session_complete(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment();
	AUTO(json) json_t *s = post("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"title\":\"T\",\"metadata\":{\"a\":\"b\"},"
	    "\"resources\":[],\"vault_ids\":[]}", agent, environment));
	AUTO(json) json_t *again = get(gwr_fmt("/v1/sessions/%s", jx_str(s, "id")));

	has_keys(s, "type id agent environment_id title status metadata resources vault_ids budget outcome_evaluations stats usage created_at "
	    "updated_at archived_at");
	contains(s, "{\"type\":\"session\",\"status\":\"idle\",\"title\":\"T\",\"metadata\":{\"a\":\"b\"},\"resources\":[],\"vault_ids\":[],\"budget\":null,"
	    "\"outcome_evaluations\":[],\"archived_at\":null}");
	has_keys(json_object_get(s, "agent"), "type id version name description model system tools mcp_servers skills execution_identity multiagent");
	assert_int_equal(json_object_size(json_object_get(s, "agent")), 12);
	contains(json_object_get(s, "usage"), "{\"input_tokens\":0,\"output_tokens\":0,\"cache_read_input_tokens\":0,\"cache_creation\":null,"
	    "\"server_tool_use\":{\"web_search_requests\":0,\"web_fetch_requests\":0},\"list_cost\":{\"amount\":\"0\",\"currency\":\"USD\"}}");
	assert_true(json_equal(json_object_get(s, "agent"), json_object_get(again, "agent")));
	contains(again, "{\"status\":\"idle\",\"title\":\"T\"}");
}

static void
session_agents(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment();
	AUTO(json) json_t *two = post(gwr_fmt("/v1/agents/%s", agent), "{\"system\":\"two\",\"tools\":[{\"type\":\"agent_toolset_20260401\"}]}");
	AUTO(json) json_t *newest = NULL, *first = NULL, *over = NULL;

#define SESSION(a) gwr_fmt("{\"agent\":" a ",\"environment_id\":\"%s\"}", agent, environment)
	newest = post("/v1/sessions", SESSION("{\"type\":\"agent\",\"id\":\"%s\"}"));
	contains(json_object_get(newest, "agent"), "{\"version\":2,\"system\":\"two\"}");
	first = post("/v1/sessions", SESSION("{\"type\":\"agent\",\"id\":\"%s\",\"version\":1}"));
	contains(json_object_get(first, "agent"), "{\"version\":1,\"system\":null,\"tools\":[]}");
	over = post("/v1/sessions", SESSION("{\"type\":\"agent_with_overrides\",\"id\":\"%s\",\"system\":null,\"tools\":[],"
	    "\"model\":{\"id\":\"other\",\"effort\":\"low\"}}"));
	contains(json_object_get(over, "agent"), "{\"type\":\"agent\",\"version\":2,\"system\":null,\"tools\":[],"
	    "\"model\":{\"id\":\"other\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}}");
	BAD(400, "/v1/sessions", SESSION("{\"type\":\"agent_with_overrides\",\"id\":\"%s\",\"model\":null}"), "agent.model: ");
	BAD(404, "/v1/sessions", SESSION("{\"type\":\"agent\",\"id\":\"%s\",\"version\":999}"), "agent.version: 999 not found");
	BAD(404, "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"env_01aaaaaaaaaaaaaaaaaaaaaa\"}", agent),
	    "Environment env_01aaaaaaaaaaaaaaaaaaaaaa not found.");
	BAD(400, "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", environment, agent), "agent: Invalid agent ID.");
	json_decref(post(gwr_fmt("/v1/environments/%s/archive", environment), NULL));
	BAD(400, "/v1/sessions", SESSION("\"%s\""), gwr_fmt("Environment %s is archived.", environment));
}

static void
session_later(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment();
	static const struct { const char *field, *message; } cases[] = {
		{ "\"resources\":[{\"type\":\"memory_store\",\"memory_store_id\":\"x\"}]",
		  "resources.0: type \"memory_store\" is not supported yet" },
		{ "\"vault_ids\":[\"vlt_x\"]", "vault_ids: not supported yet" },
		{ "\"initial_events\":[{\"type\":\"user.interrupt\"}]", "Failed to parse request: initial_events[0].type: \"user.interrupt\"" },
		{ "\"initial_events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},{\"type\":\"user.message\",\"content\":[]}]",
		  "initial_events.1.user_message.content: must have at least 1 items" },
	};
	AUTO(str) char *before = gwr_state(), *after = NULL;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		BAD(400, "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",%s}", agent, environment, cases[i].field), cases[i].message);
	after = gwr_state();
	assert_string_equal(before, after);
}

static void
session_initial_events(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment();
	AUTO(json) json_t *s = post("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"initial_events\":[{\"type\":\"user.message\","
	    "\"content\":[{\"type\":\"text\",\"text\":\"one\"}]},{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"two\"}]}]}", agent,
	    environment));
	AUTO(json) json_t *list = get(gwr_fmt("/v1/sessions/%s/events", jx_str(s, "id"))), *again = get(gwr_fmt("/v1/sessions/%s", jx_str(s, "id")));
	const json_t *data = json_object_get(list, "data");

	contains(s, "{\"status\":\"running\"}");
	contains(again, "{\"status\":\"running\"}");
	assert_int_equal(json_array_size(data), 2);
	contains(json_array_get(data, 0), "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"one\"}],\"processed_at\":null}");
	BAD(400, gwr_fmt("/v1/sessions/%s/archive", jx_str(s, "id")), NULL, "Session ");
	gwr_bad(GWR_A, "DELETE", gwr_fmt("/v1/sessions/%s", jx_str(s, "id")), NULL, 400, "invalid_request_error",
	    "Cannot delete session while it is running. Send an interrupt event or wait for the session to complete.");
}

static void
session_update(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *id = new_session(agent, environment);
	AUTO(str) char *uri = xasprintf("/v1/sessions/%s", id), *events = xasprintf("/v1/sessions/%s/events", id);
	AUTO(json) json_t *s = post(uri, "{\"title\":\"T\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"}}"), *list = NULL;
	const json_t *data;

	contains(s, "{\"title\":\"T\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"},\"status\":\"idle\"}");
	json_decref(post(uri, "{\"title\":\"T\",\"metadata\":{\"a\":\"1\"}}"));		/* changes nothing, tells nothing */
	json_decref(post(uri, "{}"));
	json_decref(post(uri, "{\"title\":null}"));
	json_decref(post(uri, "{\"metadata\":{\"a\":null}}"));
	json_decref(post(uri, "{\"metadata\":{\"b\":null}}"));
	BAD(400, uri, "{\"vault_ids\":[]}", "vault_ids: not supported yet");
	list = get(events);
	data = json_object_get(list, "data");
	assert_int_equal(json_array_size(data), 4);
	contains(json_array_get(data, 0), "{\"type\":\"session.updated\",\"title\":\"T\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"}}");
	contains(json_array_get(data, 1), "{\"type\":\"session.updated\",\"title\":null}");
	for (size_t i = 0; i < 4; i++)			/* they wait; only a client's events may be without a stamp */
		assert_true(json_is_string(json_object_get(json_array_get(data, i), "processed_at")));
	assert_null(json_object_get(json_array_get(data, 1), "metadata"));
	contains(json_array_get(data, 2), "{\"metadata\":{\"b\":\"2\"}}");
	assert_null(json_object_get(json_array_get(data, 3), "metadata"));	/* cleared to empty: left out */
	for (int i = 0; i < 16; i++)
		json_decref(post(uri, gwr_fmt("{\"metadata\":{\"k%d\":\"v\"}}", i)));
	BAD(400, uri, "{\"metadata\":{\"k16\":\"v\"}}", "metadata: at most 16 pairs");
	json_decref(post(uri, "{\"metadata\":{\"k16\":\"v\",\"k0\":null}}"));
}

static void
session_archive(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *id = new_session(agent, environment);
	AUTO(str) char *uri = xasprintf("/v1/sessions/%s", id), *events = xasprintf("/v1/sessions/%s/events", id);
	AUTO(json) json_t *s = NULL, *again = NULL, *list = NULL, *gone = NULL;
	AUTO(str) char *dropped = NULL, *left = NULL;
	const json_t *data;

	json_decref(post(uri, "{\"title\":\"T\"}"));
	s = post(gwr_fmt("%s/archive", uri), NULL);
	contains(s, "{\"status\":\"terminated\",\"title\":\"T\"}");
	assert_non_null(jx_str(s, "archived_at"));
	again = post(gwr_fmt("%s/archive", uri), NULL);
	assert_string_equal(jx_str(s, "archived_at"), jx_str(again, "archived_at"));
	list = get(events);
	data = json_object_get(list, "data");
	assert_int_equal(json_array_size(data), 3);
	contains(json_array_get(data, 0), "{\"type\":\"session.updated\"}");
	contains(json_array_get(data, 1), "{\"type\":\"session.thread_status_terminated\",\"agent_name\":\"A\"}");
	contains(json_array_get(data, 2), "{\"type\":\"session.status_terminated\"}");
	BAD(400, events, "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}", "Session ");
	BAD(400, uri, "{\"title\":\"x\"}", "Session ");
	gone = gwr_ok(GWR_A, "DELETE", uri, NULL);
	contains(gone, "{\"type\":\"session_deleted\"}");
	gwr_bad(GWR_A, "GET", uri, NULL, 404, "not_found_error", "Session not found.");
	gwr_bad(GWR_A, "GET", events, NULL, 404, "not_found_error", "Session not found.");
	gwr_bad(GWR_A, "DELETE", uri, NULL, 404, "not_found_error", "Session not found.");
	dropped = gwr_sql("SELECT count(*) FROM sandbox_drop WHERE session_id = '%s'", id);
	assert_string_equal(dropped, "1");
	left = gwr_sql("SELECT (SELECT count(*) FROM event WHERE session_id = '%1$s') + (SELECT count(*) FROM inbox WHERE session_id = '%1$s')", id);
	assert_string_equal(left, "0");
}

/* The published events reach the bus in order, with sequence numbers that continue the log. */
static void
session_published(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *id = new_session(agent, environment);
	char line[4096], all[16384] = "";
	FILE *f;

	json_decref(post(gwr_fmt("/v1/sessions/%s/archive", id), NULL));
	json_decref(gwr_ok(GWR_A, "DELETE", gwr_fmt("/v1/sessions/%s", id), NULL));
	f = popen(gwr_fmt("redis-cli -s %s/redis.sock --raw XREVRANGE sse:0 + - COUNT 3", gwr_dir), "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		strncat(all, line, sizeof all - strlen(all) - 1);
	pclose(f);
	assert_non_null(strstr(all, "t\nsession.deleted\nq\n3\n"));
	assert_non_null(strstr(all, "t\nsession.status_terminated\nq\n2\n"));
	assert_non_null(strstr(all, "t\nsession.thread_status_terminated\nq\n1\n"));
	assert_non_null(strstr(all, id));
}

/* --- lists ------------------------------------------------------------------------------------------------------------------ */

/* Ids of one page, joined; the cursors go to out_next and out_prev when those are not NULL ("": none). */
static char *
page_of(const char *uri, char out_next[512], char out_prev[512])
{
	AUTO(json) json_t *page = get(uri);
	json_t *item;
	char *ids = xstrdup("");
	size_t i;

	json_array_foreach(json_object_get(page, "data"), i, item) {
		char *more = xasprintf("%s%s ", ids, jx_str(item, "id"));

		free(ids);
		ids = more;
	}
	if (out_next)
		snprintf(out_next, 512, "%s", jx_str(page, "next_page") ? jx_str(page, "next_page") : "");
	if (out_prev)
		snprintf(out_prev, 512, "%s", jx_str(page, "prev_page") ? jx_str(page, "prev_page") : "");
	return ids;
}

static void
session_pages(void **state)
{
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *base = xasprintf("/v1/sessions?agent_id=%s&limit=2", agent);
	char *s[5], next[512], prev[512], first_next[512];

	for (int i = 0; i < 5; i++)
		s[i] = new_session(agent, environment);
	for (int asc = 0; asc < 2; asc++) {
		const char *order = asc ? "&order=asc" : "";
		int at[5] = { asc ? 0 : 4, asc ? 1 : 3, 2, asc ? 3 : 1, asc ? 4 : 0 };
		AUTO(str) char *one = page_of(gwr_fmt("%s%s", base, order), first_next, prev), *two = NULL, *three = NULL, *back = NULL, *top = NULL;

		assert_string_equal(one, gwr_fmt("%s %s ", s[at[0]], s[at[1]]));
		assert_string_equal(prev, "");
		two = page_of(gwr_fmt("%s%s&page=%s", base, order, first_next), next, prev);
		assert_string_equal(two, gwr_fmt("%s %s ", s[at[2]], s[at[3]]));
		assert_string_not_equal(prev, "");
		three = page_of(gwr_fmt("%s%s&page=%s", base, order, next), next, NULL);
		assert_string_equal(three, gwr_fmt("%s ", s[at[4]]));
		assert_string_equal(next, "");
		back = page_of(gwr_fmt("%s%s&page=%s", base, order, prev), next, prev);
		assert_string_equal(back, gwr_fmt("%s %s ", s[at[0]], s[at[1]]));
		assert_string_equal(prev, "");
		top = page_of(gwr_fmt("%s%s&page=%s", base, order, next), NULL, NULL);
		assert_string_equal(top, two);
	}
	BAD(400, gwr_fmt("/v1/sessions/%s", s[0]), "{\"order\":1}", "Failed to parse request body: unknown field");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s&order=desc&page=%s", base, first_next), NULL, 400, "invalid_request_error",
	    "page token order does not match request");
	gwr_bad(GWR_B, "GET", gwr_fmt("%s&order=asc&page=%s", base, first_next), NULL, 400, "invalid_request_error", "invalid page cursor");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/agents?page=%s", first_next), NULL, 400, "invalid_request_error", "invalid page cursor");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s&order=asc&page=%s&created_at[lt]=2020-01-01T00:00:00Z", base, first_next), NULL, 400,
	    "invalid_request_error", "invalid page cursor");
	first_next[10] = first_next[10] == 'A' ? 'B' : 'A';
	gwr_bad(GWR_A, "GET", gwr_fmt("%s&order=asc&page=%s", base, first_next), NULL, 400, "invalid_request_error", "invalid page cursor");
	for (int i = 0; i < 5; i++)
		free(s[i]);
}

/* Rows that come between two pages do not move the border. */
static void
stable_under_inserts(void **state)
{
	char *a[4], next[512];
	AUTO(str) char *one = NULL, *two = NULL;

	for (int i = 0; i < 4; i++)
		a[i] = new_agent();
	one = page_of("/v1/agents?limit=2", next, NULL);
	assert_string_equal(one, gwr_fmt("%s %s ", a[3], a[2]));
	free(new_agent());
	two = page_of(gwr_fmt("/v1/agents?limit=2&page=%s", next), NULL, NULL);
	assert_string_equal(two, gwr_fmt("%s %s ", a[1], a[0]));
	for (int i = 0; i < 4; i++)
		free(a[i]);
}

static void
version_pages(void **state)
{
	AUTO(str) char *id = new_agent(), *uri = xasprintf("/v1/agents/%s", id);
	int want = 5;
	char next[512] = "";

	for (int i = 2; i <= 5; i++)
		json_decref(post(uri, gwr_fmt("{\"description\":\"%d\"}", i)));
	do {
		AUTO(json) json_t *page = get(next[0] ? gwr_fmt("%s/versions?limit=2&page=%s", uri, next) : gwr_fmt("%s/versions?limit=2", uri));
		json_t *v;
		size_t i;

		json_array_foreach(json_object_get(page, "data"), i, v)
			assert_int_equal(jx_int(v, "version", 0), want--);
		snprintf(next, sizeof next, "%s", jx_str(page, "next_page") ? jx_str(page, "next_page") : "");
	} while (next[0]);
	assert_int_equal(want, 0);
}

/* What the list with this filter holds: letters of the sessions i(dle), r(unning), d(ead), a(rchived), in order. */
static void
filtered(const char *base, const char *filter, const char *const ids[4], const char *want)
{
	AUTO(json) json_t *page = get(gwr_fmt("%s%s", base, filter));
	char got[16] = "";
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(page, "data"), i, item)
		for (int k = 0; k < 4; k++)
			if (strcmp(jx_str(item, "id"), ids[k]) == 0)
				strncat(got, &"irda"[k], 1);
	if (strcmp(got, want) != 0)
		fail_msg("%s: %s; want %s", filter, got, want);
}

static void
session_filters(void **state)
{
	static const struct { const char *filter, *want; } cases[] = {
		{ "", "ri" }, { "&statuses[]=idle", "i" }, { "&statuses=running&statuses=idle", "ri" }, { "&statuses%5B%5D=terminated", "d" },
		{ "&include_archived=true", "ari" }, { "&include_archived=true&statuses[]=terminated", "ad" }, { "&statuses[]=rescheduling", "" },
		{ "&agent_version=1&statuses[]=idle", "i" }, { "&agent_version=2", "" }, { "&order=asc", "ir" },
		{ "&created_at[gt]=2999-01-01T00:00:00Z", "" }, { "&created_at[lte]=1999-01-01T00:00:00%2B02:00", "" },
		{ "&created_at%5Bgte%5D=1999-01-01T00:00:00Z", "ri" }, { "&created_at[lt]=9999-12-31T23:59:59Z", "ri" },
		{ "&created_at[gt]=2999-01-01T00:00:00Z&created_at[lt]=1999-01-01T00:00:00Z", "" },
		{ "&deployment_id=depl_x", "" }, { "&memory_store_id=memstore_x", "" },
	};
	AUTO(str) char *agent = new_agent(), *environment = new_environment(), *base = xasprintf("/v1/sessions?agent_id=%s", agent);
	AUTO(str) char *idle = new_session(agent, environment), *running = new_session(agent, environment);
	AUTO(str) char *dead = new_session(agent, environment), *archived = new_session(agent, environment);

	run(running);
	free(gwr_sql("UPDATE session SET status = 'terminated', terminated_at = now() WHERE id = '%s'", dead));
	json_decref(post(gwr_fmt("/v1/sessions/%s/archive", archived), NULL));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		filtered(base, cases[i].filter, (const char *const[]){ idle, running, dead, archived }, cases[i].want);
	gwr_bad(GWR_A, "GET", "/v1/sessions?agent_version=1", NULL, 400, "invalid_request_error", "agent_version: requires agent_id");
}

static void
models(void **state)
{
	AUTO(json) json_t *one = NULL, *page = NULL, *rest = NULL, *none = NULL, *before = NULL;

	free(gwr_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens, created_at) VALUES "
	    "('m-1', 'One', 1000, 100, '2030-01-01'), ('m-2', 'Two', 2000, 200, '2031-01-01')"));
	page = get("/v1/models?limit=2");
	contains(page, "{\"has_more\":true,\"first_id\":\"m-2\",\"last_id\":\"m-1\"}");
	rest = get("/v1/models?after_id=m-1");
	contains(rest, "{\"has_more\":false,\"first_id\":\"roost-scripted\",\"last_id\":\"roost-scripted\"}");
	before = get("/v1/models?before_id=m-1");
	contains(before, "{\"has_more\":false,\"first_id\":\"m-2\",\"last_id\":\"m-2\"}");
	none = get("/v1/models?lifecycle[]=retired");
	contains(none, "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
	one = get("/v1/models/m-1");
	contains(one, "{\"type\":\"model\",\"id\":\"m-1\",\"display_name\":\"One\",\"created_at\":\"2030-01-01T00:00:00Z\",\"lifecycle\":\"active\","
	    "\"deprecated_at\":null,\"retires_at\":null,\"line\":null,\"max_input_tokens\":1000,\"max_tokens\":100,\"allowed_fallback_models\":null,"
	    "\"capabilities\":null}");
	free(gwr_sql("DELETE FROM model WHERE id LIKE 'm-%%'"));
}

static void
health(void **state)
{
	AUTO(json) json_t *doc = gwr_ok(GWR_NOBODY, "GET", "/openapi.json", NULL), *well = NULL;

	assert_string_equal(jx_str(doc, "openapi"), "3.1.0");
	assert_non_null(json_object_get(json_object_get(doc, "paths"), "/v1/sessions/{session_id}/events/stream"));
	assert_non_null(json_object_get(json_object_get(json_object_get(doc, "components"), "schemas"), "agent_create"));
	free(gwr_sql("INSERT INTO worker (id, lock_key, lease_until, hands) VALUES ('w', 1, now() + interval '1 min', true)"));
	well = gwr_ok(GWR_NOBODY, "GET", "/healthz", NULL);
	contains(well, "{\"status\":\"degraded\",\"workers\":1}");	/* no egress here */
	contains(json_object_get(well, "checks"), "{\"worker\":{\"status\":\"ok\"},\"hands\":{\"status\":\"ok\"},\"egress\":{\"status\":\"down\"}}");
	free(gwr_sql("DELETE FROM worker"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stable_under_inserts), cmocka_unit_test(agent_complete), cmocka_unit_test(agent_tools), cmocka_unit_test(agent_update),
		cmocka_unit_test(agent_update_race),
		cmocka_unit_test(agent_rules), cmocka_unit_test(agent_model_known), cmocka_unit_test(agent_archive),
		cmocka_unit_test(environment_life), cmocka_unit_test(environment_rules), cmocka_unit_test(environment_in_use),
		cmocka_unit_test(session_complete), cmocka_unit_test(session_agents), cmocka_unit_test(session_later),
		cmocka_unit_test(session_initial_events), cmocka_unit_test(session_update), cmocka_unit_test(session_archive),
		cmocka_unit_test(session_published), cmocka_unit_test(session_pages), cmocka_unit_test(version_pages),
		cmocka_unit_test(session_filters), cmocka_unit_test(models), cmocka_unit_test(health),
	};

	return cmocka_run_group_tests_name("objects", tests, start, gwr_over);
}
