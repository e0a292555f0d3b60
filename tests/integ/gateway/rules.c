/* link: tests/env/gateway_rig.c */
/*
 * Rules that span fields and objects, against a running gateway: tools with their MCP servers, environments' networks and packages, which
 * agent a session may run where, budgets, and changes of a session's agent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "xalloc.h"

#define TOOLSET "{\"type\":\"agent_toolset_20260401\"}"
#define WEB(name, list) "{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"" name "\",\"allowed_domains\":[" list "]}]}"
#define MCP(name) "{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"" name "\"}"
#define URL(name, url) "{\"type\":\"url\",\"name\":\"" name "\",\"url\":\"" url "\"}"
#define LIMITED(more) "{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\"" more "}}"
#define BUDGET(amount) "{\"type\":\"limit\",\"max_list_cost\":{\"amount\":\"" amount "\",\"currency\":\"USD\"}}"

static char agent[64], environment[64];

static const char *
made(const char *uri, const char *body)
{
	AUTO(json) json_t *o = gwr_ok(GWR_A, "POST", uri, body);

	return gwr_fmt("%s", jx_str(o, "id"));
}

static int
start(void **state)
{
	gwr_start("");
	free(gwr_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens, price) VALUES ('priced', 'p', 1000, 100, "
	    "'{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"1\",\"output\":\"2\"}}')"));
	snprintf(agent, sizeof agent, "%s", made("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"tools\":[" TOOLSET "]}"));
	snprintf(environment, sizeof environment, "%s", made("/v1/environments", "{\"name\":\"E\"}"));
	return 0;
}

static void
bad(const char *uri, const char *body, const char *message)
{
	gwr_bad(GWR_A, "POST", uri, body, 400, "invalid_request_error", message);
}

/* The error_code of a refused request, in gwr_fmt's ring. */
static const char *
code_of(const char *uri, const char *body)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	gwr_send(GWR_A, "POST", uri, body, strlen(body), NULL, &r);
	assert_int_equal(r.status, 400);
	return gwr_fmt("%s", jx_str(json_object_get(json_object_get(r.json, "error"), "details"), "error_code"));
}

static void
is(const json_t *o, const char *key, const char *want)
{
	AUTO(json) json_t *w = json_loads(want, JSON_DECODE_ANY, NULL);
	AUTO(str) char *have = json_object_get(o, key) ? jx_dump(json_object_get(o, key)) : xstrdup("(absent)");

	assert_non_null(w);
	if (!json_equal(json_object_get(o, key), w))
		fail_msg("%s is %s; want %s", key, have, want);
}

/* --- agents ------------------------------------------------------------------------------------------------------------------ */

static void
mcp(void **state)
{
	static const struct { const char *tools, *servers, *message; } cases[] = {
		{ MCP("x"), "", "tools.0.mcp_toolset: references server \"x\" which is not defined in mcp_servers" },
		{ TOOLSET, URL("x", "https://x.com"), "mcp_servers [x] declared but no mcp_toolset in tools references them" },
		{ MCP("x") "," MCP("x"), URL("x", "https://x.com"),
		  "tools.1.mcp_toolset: duplicate entry for server \"x\"; each MCP server may have at most one mcp_toolset" },
		{ MCP("x"), URL("x", "https://x.com") "," URL("x", "https://y.com"), "mcp_servers.1.name: duplicate name \"x\"" },
		{ MCP("x"), URL("x", "stdio:x"), "mcp_servers.0.url: must be an http or https URL" },
		{ MCP("x"), "{\"type\":\"stdio\",\"name\":\"x\"}", "Failed to parse request: mcp_servers[0].type: \"stdio\" is not a valid value" },
	};
	AUTO(json) json_t *a = gwr_ok(GWR_A, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"tools\":[" MCP("x") ",{\"type\":"
	    "\"mcp_toolset\",\"mcp_server_name\":\"y\",\"default_config\":{\"permission_policy\":{\"type\":\"auto\"}},\"configs\":[{\"name\":\"t\","
	    "\"enabled\":false}]}],\"mcp_servers\":[" URL("y", "https://y.com/mcp") "," URL("x", "https://x.com") "]}");
	AUTO(str) char *uri = xasprintf("/v1/agents/%s", jx_str(a, "id"));
	AUTO(json) json_t *same = NULL, *none = NULL;

#define ASK "\"permission_policy\":{\"type\":\"always_ask\"}"
#define JUDGE "\"permission_policy\":{\"type\":\"auto\"}"
	is(a, "tools", "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"x\",\"default_config\":{\"enabled\":true," ASK "},\"configs\":[]},"
	    "{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"y\",\"default_config\":{\"enabled\":true," JUDGE "},\"configs\":[{\"name\":\"t\","
	    "\"enabled\":false," JUDGE "}]}]");
	is(a, "mcp_servers", "[" URL("y", "https://y.com/mcp") "," URL("x", "https://x.com") "]");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		bad("/v1/agents", gwr_fmt("{\"name\":\"A\",\"model\":\"roost-scripted\",\"tools\":[%s],\"mcp_servers\":[%s]}", cases[i].tools, cases[i].servers),
		    cases[i].message);
	/* an update is judged by what results */
	bad(uri, "{\"mcp_servers\":null}", "tools.0.mcp_toolset: references server \"x\" which is not defined in mcp_servers");
	bad(uri, "{\"tools\":[]}", "mcp_servers [y x] declared but no mcp_toolset in tools references them");
	bad(uri, "{\"tools\":[" MCP("x") "]}", "mcp_servers [y] declared but no mcp_toolset in tools references them");
	same = gwr_ok(GWR_A, "POST", uri, "{\"mcp_servers\":[" URL("y", "https://y.com/mcp") "," URL("x", "https://x.com") "]}");
	is(same, "version", "1");
	none = gwr_ok(GWR_A, "POST", uri, "{\"tools\":null,\"mcp_servers\":[]}");
	is(none, "version", "2");
	is(none, "mcp_servers", "[]");
}

static void
skills(void **state)
{
	bad("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"skills\":[{\"type\":\"anthropic\",\"skill_id\":\"xlsx\"}]}",
	    "Agent has invalid configuration: `skill_id` `xlsx` version `latest` not found");
	bad("/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"skills\":[{\"type\":\"custom\",\"skill_id\":\"skill_x\",\"version\":\"3\"}]}",
	    "Agent has invalid configuration: `skill_id` `skill_x` version `3` not found");
	bad(gwr_fmt("/v1/agents/%s", agent), "{\"skills\":[{\"type\":\"custom\",\"skill_id\":\"a\"},{\"type\":\"anthropic\",\"skill_id\":\"a\",\"version\":null}]}",
	    "Agent has invalid configuration: duplicate skill_id \"a\"");
	bad("/v1/sessions", gwr_fmt("{\"agent\":{\"type\":\"agent_with_overrides\",\"id\":\"%s\",\"skills\":[{\"type\":\"anthropic\",\"skill_id\":\"pdf\"}]},"
	    "\"environment_id\":\"%s\"}", agent, environment), "Could not resolve one or more skills: skill \"pdf\" version \"latest\" not found");
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/agents/%s", agent), "{\"skills\":null}"));
}

static void
identities(void **state)
{
	static const char *const wrong[] = { "x", "arn:aws:iam::12345:role/x", "arn:aws:iam::123456789012:user/x", "arn:aws:iam::123456789012:role/" };
	const char *role = "{\"type\":\"aws_role\",\"role_arn\":\"arn:aws:iam::123456789012:role/my-runner\"}";
	AUTO(json) json_t *a = gwr_ok(GWR_A, "POST", "/v1/agents",
	    gwr_fmt("{\"name\":\"A\",\"model\":\"roost-scripted\",\"execution_identity\":%s}", role));
	AUTO(str) char *uri = xasprintf("/v1/agents/%s", jx_str(a, "id"));
	AUTO(json) json_t *kept = gwr_ok(GWR_A, "POST", uri, "{\"name\":\"B\"}"), *reset = NULL;

	is(a, "execution_identity", role);
	is(kept, "execution_identity", role);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		bad(uri, gwr_fmt("{\"execution_identity\":{\"type\":\"aws_role\",\"role_arn\":\"%s\"}}", wrong[i]), "execution_identity.role_arn: must be");
	bad("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", jx_str(a, "id"), environment),
	    "agent.execution_identity: sessions that run as \"aws_role\" are not supported yet");
	reset = gwr_ok(GWR_A, "POST", uri, "{\"execution_identity\":null}");
	is(reset, "execution_identity", "{\"type\":\"service_account\"}");
}

/* What a model parameter that leaves something out keeps, resets and clears. */
static void
models(void **state)
{
	static const struct { const char *model, *want; } steps[] = {
		{ "{\"id\":\"m\",\"effort\":{\"type\":\"max\"},\"inference_geo\":\"global\"}",
		  "{\"id\":\"m\",\"effort\":{\"type\":\"max\"},\"speed\":\"standard\",\"inference_geo\":\"global\"}" },
		{ "{\"id\":\"m\",\"speed\":\"standard\"}", "{\"id\":\"m\",\"effort\":{\"type\":\"max\"},\"speed\":\"standard\"}" },
		{ "\"m\"", "{\"id\":\"m\",\"effort\":{\"type\":\"max\"},\"speed\":\"standard\"}" },
		{ "{\"id\":\"m\",\"effort\":null,\"speed\":null,\"inference_geo\":null}", "{\"id\":\"m\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}" },
		{ "{\"id\":\"m\",\"effort\":\"low\"}", "{\"id\":\"m\",\"effort\":{\"type\":\"low\"},\"speed\":\"standard\"}" },
		{ "\"n\"", "{\"id\":\"n\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}" },
	};
	AUTO(str) char *uri = xasprintf("/v1/agents/%s", made("/v1/agents", "{\"name\":\"A\",\"model\":\"m\"}"));

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		AUTO(json) json_t *a = gwr_ok(GWR_A, "POST", uri, gwr_fmt("{\"model\":%s}", steps[i].model));

		is(a, "model", steps[i].want);
	}
	bad(uri, "{\"model\":null}", "Failed to parse request: model: expected a string or an object, got null");
	bad(uri, "{\"name\":null}", "Failed to parse request: name: expected a string, got null");
	bad(uri, "{\"model\":{\"id\":\"m\",\"effort\":\"extreme\"}}", "Failed to parse request: model.effort: \"extreme\" is not a valid value");
}

/* --- environments ------------------------------------------------------------------------------------------------------------ */

static void
packages(void **state)
{
	AUTO(json) json_t *v = gwr_ok(GWR_A, "POST", "/v1/environments", "{\"name\":\"p\",\"config\":{\"type\":\"cloud\",\"packages\":{\"pip\":[\"a==1\",\"b\"],"
	    "\"apt\":null,\"npm\":[]}}}");
	AUTO(str) char *uri = xasprintf("/v1/environments/%s", jx_str(v, "id"));
	AUTO(json) json_t *more = NULL, *allowed = NULL;

	is(json_object_get(v, "config"), "packages",
	    "{\"type\":\"packages\",\"apt\":[],\"cargo\":[],\"gem\":[],\"go\":[],\"npm\":[],\"pip\":[\"a==1\",\"b\"]}");
	more = gwr_ok(GWR_A, "POST", uri, "{\"config\":{\"type\":\"cloud\",\"packages\":{\"type\":\"packages\",\"apt\":[\"jq\"],\"pip\":null}}}");
	is(json_object_get(more, "config"), "packages",
	    "{\"type\":\"packages\",\"apt\":[\"jq\"],\"cargo\":[],\"gem\":[],\"go\":[],\"npm\":[],\"pip\":[\"a==1\",\"b\"]}");
	bad(uri, "{\"config\":" LIMITED("") "}", "config.packages.apt: packages require networking.allow_package_managers");
	bad(uri, "{\"config\":" LIMITED(",\"allowed_hosts\":[\"pypi.example\"]") "}", "config.packages.apt: packages require");
	allowed = gwr_ok(GWR_A, "POST", uri, "{\"config\":" LIMITED(",\"allow_package_managers\":true") "}");
	is(json_object_get(allowed, "config"), "networking",
	    "{\"type\":\"limited\",\"allowed_hosts\":[],\"allow_mcp_servers\":false,\"allow_package_managers\":true}");
	bad(uri, "{\"config\":" LIMITED(",\"allow_package_managers\":false") "}", "config.packages.apt: packages require");
	bad("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, jx_str(v, "id")),
	    "environment_id: sessions in environments with packages are not supported yet");
}

static void
self_hosted(void **state)
{
	AUTO(json) json_t *v = gwr_ok(GWR_A, "POST", "/v1/environments", "{\"name\":\"s\",\"config\":{\"type\":\"self_hosted\"},\"metadata\":{\"a\":\"\",\"b\":\"c\"}}");
	AUTO(str) char *uri = xasprintf("/v1/environments/%s", jx_str(v, "id"));
	AUTO(json) json_t *same = gwr_ok(GWR_A, "POST", uri, "{\"config\":{\"type\":\"self_hosted\"}}");

	is(v, "config", "{\"type\":\"self_hosted\"}");
	is(v, "metadata", "{\"b\":\"c\"}");	/* "" deletes, also here */
	assert_true(json_equal(v, same));
	assert_string_equal(code_of(uri, "{\"config\":{\"type\":\"cloud\"}}"), "invalid_config_type_change");
	bad("/v1/environments", "{\"name\":\"s2\",\"config\":{\"type\":\"self_hosted\",\"networking\":null}}",
	    "Failed to parse request body: unknown field \"networking\" in config");
	bad("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, jx_str(v, "id")),
	    "environment_id: sessions in self-hosted environments are not supported yet");
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("%s/archive", uri), NULL));
	assert_string_equal(code_of(uri, "{\"name\":\"x\"}"), "environment_archived");
}

static void
hosts(void **state)
{
	static const struct { const char *host, *message; } cases[] = {
		{ "https://a.b", "`allowed_hosts` entry \"https://a.b\" contains a URL scheme. Entries must be bare hostnames like \"google.com\"." },
		{ "a.b:443", "`allowed_hosts` entry \"a.b:443\" contains a port. Entries must be bare hostnames without ports." },
		{ "a.b/c", "`allowed_hosts` entry \"a.b/c\" is not a hostname" }, { "a b", "`allowed_hosts` entry \"a b\"" },
		{ "*", "`allowed_hosts` entry \"*\"" }, { "*.", "`allowed_hosts` entry \"*.\"" }, { "a.*.b", "`allowed_hosts` entry \"a.*.b\"" },
		{ "", "config.networking.allowed_hosts.0: value is required" },
	};
	AUTO(json) json_t *v = gwr_ok(GWR_A, "POST", "/v1/environments",
	    "{\"name\":\"h\",\"config\":" LIMITED(",\"allowed_hosts\":[\"EXAMPLE.com\",\"*.Example.org\",\"10.0.0.1\"]") "}");

	is(json_object_get(json_object_get(v, "config"), "networking"), "allowed_hosts", "[\"EXAMPLE.com\",\"*.Example.org\",\"10.0.0.1\"]");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		bad("/v1/environments", gwr_fmt("{\"name\":\"h2\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"%s\"]}}}",
		    cases[i].host), cases[i].message);
}

/* --- which agent a session may run where ------------------------------------------------------------------------------------- */

static void
fit(void **state)
{
	static const struct { const char *network, *tools, *servers, *message; } cases[] = {
		{ "", MCP("x"), URL("x", "https://u.x.com:8443/mcp"), "MCP server host(s) blocked by environment network policy: \"x\" (u.x.com). Add these "
		  "hosts to the environment's allowed_hosts, or set allow_mcp_servers=true." },
		{ ",\"allowed_hosts\":[\"x.com\"]", MCP("x") "," MCP("y"), URL("x", "https://x.com") "," URL("y", "http://y.com"), "MCP server host(s) blocked "
		  "by environment network policy: \"y\" (y.com)." },
		{ ",\"allowed_hosts\":[\"*.x.com\"]", MCP("x"), URL("x", "https://x.com"), "MCP server host(s) blocked" },	/* not the apex */
		{ ",\"allowed_hosts\":[\"*.x.com\"]", MCP("x"), URL("x", "https://a.evilx.com"), "MCP server host(s) blocked" },
		{ ",\"allowed_hosts\":[\"*.X.com\"]", MCP("x"), URL("x", "https://a.b.x.COM"), "agent.mcp_servers: sessions with MCP servers are not supported yet" },
		{ ",\"allow_mcp_servers\":true", MCP("x"), URL("x", "https://x.com"), "agent.mcp_servers: sessions with MCP servers are not supported yet" },
		{ ",\"allowed_hosts\":[\"a.com\"]", WEB("web_fetch", "\"a.com\",\"b.com\""), "", "web_fetch: allowed_domains entry \"b.com\" is not within" },
		{ ",\"allowed_hosts\":[\"a.com\"]", WEB("web_search", "\"a.com/docs\",\"A.com\""), "", NULL },
		{ ",\"allowed_hosts\":[\"a.com\"]", WEB("web_search", "\"a.com/docs\""), "", NULL },
		{ "", WEB("web_search", "\"a.com\""), "", "web_search: allowed_domains entry \"a.com\"" },
		{ "", "{\"type\":\"agent_toolset_20260401\",\"configs\":[{\"name\":\"web_fetch\",\"enabled\":false,\"allowed_domains\":[\"a.com\"]}]}", "", NULL },
		{ "", TOOLSET, "", NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(str) char *where = xstrdup(made("/v1/environments", gwr_fmt("{\"name\":\"fit %zu\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":"
		    "\"limited\"%s}}}", i, cases[i].network)));
		const char *body = gwr_fmt("{\"agent\":{\"type\":\"agent_with_overrides\",\"id\":\"%s\",\"tools\":[%s],\"mcp_servers\":[%s]},\"environment_id\":\"%s\"}",
		    agent, cases[i].tools, cases[i].servers, where);

		if (cases[i].message)
			bad("/v1/sessions", body, cases[i].message);
		else
			json_decref(gwr_ok(GWR_A, "POST", "/v1/sessions", body));
	}
}

/* Overrides are whole fields, judged together with what they leave alone. */
static void
overrides(void **state)
{
	AUTO(str) char *with = xstrdup(made("/v1/agents", "{\"name\":\"M\",\"model\":\"roost-scripted\",\"tools\":[" TOOLSET "," MCP("x") "],\"mcp_servers\":["
	    URL("x", "https://x.com") "]}"));
	AUTO(json) json_t *s = NULL;

#define OVER(more) gwr_fmt("{\"agent\":{\"type\":\"agent_with_overrides\",\"id\":\"%s\"," more "},\"environment_id\":\"%s\"}", with, environment)
	bad("/v1/sessions", OVER("\"mcp_servers\":[]"), "tools.1.mcp_toolset: references server \"x\" which is not defined in mcp_servers");
	bad("/v1/sessions", OVER("\"tools\":[]"), "mcp_servers [x] declared but no mcp_toolset in tools references them");
	assert_string_equal(code_of("/v1/sessions", OVER("\"model\":null")), "agent_model_required");
	s = gwr_ok(GWR_A, "POST", "/v1/sessions", OVER("\"tools\":null,\"mcp_servers\":null,\"system\":\"\",\"skills\":[]"));
	is(json_object_get(s, "agent"), "tools", "[]");
	is(json_object_get(s, "agent"), "mcp_servers", "[]");
	is(json_object_get(s, "agent"), "system", "null");
}

/* --- budgets and agents of sessions ------------------------------------------------------------------------------------------ */

static void
budgets(void **state)
{
	static const char *const wrong[] = { "0", "-5", "25.00", "+1", "1e3", " 1", "01" };
	AUTO(str) char *priced = xstrdup(made("/v1/agents", "{\"name\":\"P\",\"model\":\"priced\"}")), *uri = NULL, *plain = NULL;
	AUTO(json) json_t *s = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"budget\":" BUDGET("250") "}",
	    priced, environment)), *list = NULL, *up = NULL, *gone = NULL;

	is(s, "budget", BUDGET("250"));
	uri = xasprintf("/v1/sessions/%s", jx_str(s, "id"));
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		bad("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"budget\":{\"type\":\"limit\",\"max_list_cost\":{\"amount\":\"%s\","
		    "\"currency\":\"USD\"}}}", priced, environment, wrong[i]), "budget.max_list_cost.amount: must be a positive integer");
		bad(uri, gwr_fmt("{\"budget\":{\"type\":\"limit\",\"max_list_cost\":{\"amount\":\"%s\",\"currency\":\"USD\"}}}", wrong[i]),
		    "budget.max_list_cost.amount: must be a positive integer");
	}
	bad(uri, "{\"budget\":{\"type\":\"limit\",\"max_list_cost\":{\"amount\":\"1\",\"currency\":\"EUR\"}}}",
	    "Failed to parse request: budget.max_list_cost.currency: \"EUR\"");
	assert_string_equal(code_of("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"budget\":" BUDGET("1") "}", agent, environment)),
	    "model_not_budgetable");
	up = gwr_ok(GWR_A, "POST", uri, "{\"budget\":" BUDGET("100") "}");
	is(up, "budget", BUDGET("100"));
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"budget\":" BUDGET("100") "}"));	/* tells nothing */
	gone = gwr_ok(GWR_A, "POST", uri, "{\"budget\":null}");
	is(gone, "budget", "null");
	assert_string_equal(code_of(uri, "{\"budget\":" BUDGET("100") "}"), "budget_create_only");
	list = gwr_ok(GWR_A, "GET", gwr_fmt("%s/events", uri), NULL);
	assert_int_equal(json_array_size(json_object_get(list, "data")), 2);
	is(json_array_get(json_object_get(list, "data"), 0), "budget", BUDGET("100"));
	is(json_array_get(json_object_get(list, "data"), 1), "budget", "null");
	assert_null(json_object_get(json_array_get(json_object_get(list, "data"), 1), "title"));
	plain = xasprintf("/v1/sessions/%s", made("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"budget\":null}", priced, environment)));
	assert_string_equal(code_of(plain, "{\"budget\":" BUDGET("1") "}"), "budget_create_only");
	json_decref(gwr_ok(GWR_A, "POST", plain, "{\"budget\":null}"));
}

static void
session_agent(void **state)
{
	AUTO(str) char *id = xstrdup(made("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment)));
	AUTO(str) char *uri = xasprintf("/v1/sessions/%s", id);
	AUTO(json) json_t *after = NULL, *list = NULL, *again = NULL;
	const json_t *event;

	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"agent\":{}}"));
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"agent\":{\"tools\":[" TOOLSET "],\"mcp_servers\":[]}}"));	/* resolves to what is there */
	after = gwr_ok(GWR_A, "POST", uri, "{\"title\":\"T\",\"agent\":{\"tools\":[{\"type\":\"custom\",\"name\":\"c\",\"description\":\"d\",\"input_schema\":"
	    "{\"type\":\"object\"}}]}}");
	is(json_object_get(after, "agent"), "tools",
	    "[{\"type\":\"custom\",\"name\":\"c\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]");
	is(json_object_get(after, "agent"), "version", "1");	/* the agent itself is untouched */
	again = gwr_ok(GWR_A, "GET", uri, NULL);
	assert_true(json_equal(json_object_get(again, "agent"), json_object_get(after, "agent")));
	list = gwr_ok(GWR_A, "GET", gwr_fmt("%s/events", uri), NULL);
	assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
	event = json_array_get(json_object_get(list, "data"), 0);
	assert_int_equal(json_object_size(event), 5);	/* id, type, title, agent, processed_at */
	assert_true(json_equal(json_object_get(event, "agent"), json_object_get(after, "agent")));
	bad(uri, "{\"title\":\"U\",\"agent\":{\"tools\":[" MCP("x") "]}}", "tools.0.mcp_toolset: references server \"x\" which is not defined");
	bad(uri, "{\"agent\":{\"tools\":[" TOOLSET "," TOOLSET "]}}", "tools.1.agent_toolset_20260401: duplicate entry");
	bad(uri, "{\"agent\":{\"tools\":[" MCP("x") "],\"mcp_servers\":[" URL("x", "https://x.com") "]}}",
	    "agent.mcp_servers: sessions with MCP servers are not supported yet");
	free(gwr_sql("UPDATE session SET resources = '[{}]' WHERE id = '%s'", id));
	bad(uri, "{\"agent\":{\"tools\":[]}}", "Missing required tool: file resources require the read tool to be usable");
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"agent\":{\"tools\":[" TOOLSET "]}}"));
	free(gwr_sql("UPDATE session SET resources = '[]' WHERE id = '%s'", id));
	bad(uri, "{\"agent\":{\"system\":\"s\"}}", "Failed to parse request body: unknown field \"system\" in agent");
	bad(uri, "{\"vault_ids\":[]}", "vault_ids: not supported yet");
	free(gwr_sql("UPDATE session SET status = 'running' WHERE id = '%s'", id));
	bad(uri, "{\"title\":\"U\",\"agent\":{\"tools\":[]}}", "agent: cannot be updated while the session's status is \"running\"");
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"title\":\"U\"}"));
	free(gwr_sql("UPDATE session SET status = 'terminated', terminated_at = now() WHERE id = '%s'", id));
	bad(uri, "{\"title\":\"V\"}", gwr_fmt("Session %s is terminated and cannot be updated.", id));
}

/* What an environment becomes after a session was made in it does not lock the session's tools; its network still binds them. */
static void
session_agent_later(void **state)
{
	AUTO(str) char *where = xasprintf("/v1/environments/%s", made("/v1/environments", "{\"name\":\"later\"}"));
	AUTO(str) char *uri = xasprintf("/v1/sessions/%s", made("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent,
	    strrchr(where, '/') + 1)));

	json_decref(gwr_ok(GWR_A, "POST", where, "{\"config\":{\"type\":\"cloud\",\"packages\":{\"pip\":[\"x\"]}}}"));
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"agent\":{\"tools\":[]}}"));
	json_decref(gwr_ok(GWR_A, "POST", where, "{\"config\":" LIMITED(",\"allow_package_managers\":true") "}"));
	bad(uri, "{\"agent\":{\"tools\":[" WEB("web_fetch", "\"a.com\"") "]}}", "web_fetch: allowed_domains entry \"a.com\"");
	json_decref(gwr_ok(GWR_A, "DELETE", where, NULL));
	json_decref(gwr_ok(GWR_A, "POST", uri, "{\"agent\":{\"tools\":[" WEB("web_fetch", "\"a.com\"") "]}}"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mcp), cmocka_unit_test(skills), cmocka_unit_test(identities), cmocka_unit_test(models),
		cmocka_unit_test(packages), cmocka_unit_test(self_hosted), cmocka_unit_test(hosts), cmocka_unit_test(fit),
		cmocka_unit_test(overrides), cmocka_unit_test(budgets), cmocka_unit_test(session_agent),
		cmocka_unit_test(session_agent_later),
	};

	return cmocka_run_group_tests_name("rules", tests, start, gwr_over);
}
