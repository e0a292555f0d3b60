/* link: gateway/toolset.c gateway/webtool.c gateway/weburl.c gateway/suffix.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c tests/env/shape_cases.c */
/* Tools with their defaults resolved, and the domain lists of the web tools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../env/shape_cases.h"
#include "jx.h"
#include "shape.h"
#include "suffix.h"
#include "toolset.h"

#define TOOLSET(x) "[{\"type\":\"agent_toolset_20260401\"" x "}]"
#define ALLOW "\"permission_policy\":{\"type\":\"always_allow\"}"
#define JUDGE "\"permission_policy\":{\"type\":\"auto\"}"
#define ASK "\"permission_policy\":{\"type\":\"always_ask\"}"

static const struct { const char *given, *want; } resolved[] = {
	{ "[]", "[]" },
	{ TOOLSET(""), TOOLSET(",\"default_config\":{\"enabled\":true," ALLOW "},\"configs\":[]") },
	{ TOOLSET(",\"default_config\":null"), TOOLSET(",\"default_config\":{\"enabled\":true," ALLOW "},\"configs\":[]") },
	{ TOOLSET(",\"default_config\":{\"enabled\":null," ASK "},\"configs\":[{\"name\":\"read\"}]"),
	  TOOLSET(",\"default_config\":{\"enabled\":true," ASK "},\"configs\":[{\"type\":\"read\",\"name\":\"read\",\"enabled\":true," ASK "}]") },
	{ TOOLSET(",\"default_config\":{\"enabled\":false," ASK "},\"configs\":[{\"name\":\"read\",\"enabled\":true," ALLOW "}]"),
	  TOOLSET(",\"default_config\":{\"enabled\":false," ASK "},\"configs\":[{\"type\":\"read\",\"name\":\"read\",\"enabled\":true," ALLOW "}]") },
	{ TOOLSET(",\"configs\":[{\"name\":\"web_fetch\",\"max_content_tokens\":5,\"url_sources\":{\"user_input\":\"none\"}}]"),
	  TOOLSET(",\"default_config\":{\"enabled\":true," ALLOW "},\"configs\":[{\"type\":\"web_fetch\",\"name\":\"web_fetch\",\"enabled\":true," ALLOW ","
	  "\"max_content_tokens\":5,\"url_sources\":{\"client_tool_results\":null,\"server_tool_results\":null,\"user_input\":{\"type\":\"none\"}}}]") },
	{ "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\"}]",
	  "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\",\"default_config\":{\"enabled\":true," ASK "},\"configs\":[]}]" },
	{ "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\",\"default_config\":{\"enabled\":false," JUDGE "},\"configs\":[{\"name\":\"a\"},"
	  "{\"name\":\"b\",\"enabled\":true," ALLOW "}]}]",
	  "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\",\"default_config\":{\"enabled\":false," JUDGE "},\"configs\":["
	  "{\"name\":\"a\",\"enabled\":false," JUDGE "},{\"name\":\"b\",\"enabled\":true," ALLOW "}]}]" },
};

static json_t *
parsed(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static void
resolution(void **state)
{
	for (size_t i = 0; i < sizeof resolved / sizeof *resolved; i++) {
		AUTO(json) json_t *given = parsed(resolved[i].given), *want = parsed(resolved[i].want), *got = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(toolset_resolve(given, &got, &e), 0);
		if (!json_equal(got, want))
			fail_msg("case %zu: %s", i, jx_dump(got));
	}
}

/* What was resolved once resolves to itself, so an update that sends back what it was shown changes nothing. */
static void
fixed_point(void **state)
{
	for (size_t i = 0; i < sizeof resolved / sizeof *resolved; i++) {
		AUTO(json) json_t *want = parsed(resolved[i].want), *got = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(toolset_resolve(want, &got, &e), 0);
		assert_true(json_equal(got, want));
	}
}

/* Of every body that the shape of agents takes: tools that resolve are of that shape again, and resolve to themselves. */
static void
shown_again(void *arg, const char *name, const json_t *body, const char *expect)
{
	const json_t *tools = json_object_get(body, "tools");
	AUTO(json) json_t *shown = NULL, *again = NULL, *back = NULL;
	struct err e = ERR_INIT;
	int *seen = arg;

	if (expect || !json_is_array(tools) || toolset_resolve(tools, &shown, &e) < 0)
		return;
	++*seen;
	back = json_pack("{sO}", "tools", shown);
	if (shape_check(&shape_agent_update, back, &e) < 0 || toolset_resolve(shown, &again, &e) < 0)
		fail_msg("%s: %s", name, e.pub);
	if (!json_equal(shown, again))
		fail_msg("%s: %s", name, jx_dump(again));
}

static void
shown_may_be_sent_back(void **state)
{
	int seen = 0;

	shape_cases(&shape_agent_create, shown_again, &seen);
	assert_true(seen > 40);
}

static const struct { const char *tool, *list, *refusal; } domains[] = {
	{ "web_search", "[\"example.com\",\"a.example.co.uk\"]", NULL }, { "web_search", "[\"example.com/path\"]", NULL },
	{ "web_fetch", "[\"example.com/\"]", NULL }, { "web_fetch", "[\"xn--bcher-kva.example\"]", NULL },
	{ "web_fetch", "[\"example.com/path\"]", "paths" }, { "web_search", "[\"example.com/a b\"]", "illegal" },
	{ "web_search", "[\"https://example.com\"]", "schemes" }, { "web_search", "[\"example.com:80\"]", "hostname" },
	{ "web_search", "[\"*.example.com\"]", "hostname" }, { "web_search", "[\"a@example.com\"]", "hostname" },
	{ "web_search", "[\"127.0.0.1\"]", "IP addresses" }, { "web_search", "[\"127.1\"]", "IP addresses" },
	{ "web_search", "[\"::1\"]", "IP addresses" }, { "web_search", "[\"[::1]\"]", "IP addresses" },
	{ "web_search", "[\"co.uk\"]", "public suffix" }, { "web_fetch", "[\"www.ck\",\"a.co.uk\"]", NULL },
	{ "web_search", "[\"localhost\"]", "registrable" }, { "web_search", "[\"com\"]", "registrable" },
	{ "web_search", "[\"x.internal\"]", "public" }, { "web_search", "[\"b\xc3\xbc" "cher.example\"]", "ASCII" },
	{ "web_search", "[\"example.com\",\"EXAMPLE.com\"]", "duplicate" }, { "web_fetch", "[\"example.com\",\"example.com/\"]", "duplicate" }, { "web_search", "[\".example.com\"]", "hostname" },
};

/* Suffixes by rule, wildcard and exception; the private part of the list and rules that are not ASCII do not count. */
static void
suffixes(void **state)
{
	static const struct { const char *host; bool public; } cases[] = {
		{ "co.uk", true }, { "CO.UK", true }, { "example.co.uk", false }, { "uk", true }, { "a.ck", true }, { "www.ck", false }, { "ck", false },
		{ "a.b.ck", false }, { "host.example", false }, { "example.com", false }, { "unknown", false },
	};
	char path[] = "/tmp/roost-suffix-XXXXXX";
	int fd = mkstemp(path);
	const char *list = "// ===BEGIN ICANN DOMAINS===\n\nuk\nco.uk\n*.ck\n!www.ck\ncom // a comment\n\xc3\xa9.fr\n// ===END ICANN DOMAINS===\nhost.example\n";
	struct err e = ERR_INIT;

	assert_int_equal(suffix_load("", &e), 0);
	assert_int_equal(suffix_load("/nowhere/at/all", &e), 0);
	assert_false(suffix_public("co.uk"));
	assert_int_equal(write(fd, list, strlen(list)), strlen(list));
	assert_int_equal(suffix_load(path, &e), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (suffix_public(cases[i].host) != cases[i].public)
			fail_msg("%s", cases[i].host);
}

static void
domain_lists(void **state)
{
	for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
		AUTO(json) json_t *list = parsed(domains[i].list), *tools = NULL, *got = NULL;
		struct err e = ERR_INIT;
		int rc;

		tools = json_pack("[{ss s[{ss sO}]}]", "type", "agent_toolset_20260401", "configs", "name", domains[i].tool, "allowed_domains", list);
		rc = toolset_resolve(tools, &got, &e);
		if (domains[i].refusal ? rc == 0 || !strstr(e.pub, domains[i].refusal) || !strstr(e.pub, ".allowed_domains.") : rc != 0)
			fail_msg("%s: %s", domains[i].list, rc ? e.pub : "accepted");
	}
}

#define WEB(name, more) TOOLSET(",\"configs\":[{\"name\":\"" name "\"," more "}]")
#define MCP(name, more) "{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"" name "\"" more "}"
static const struct { const char *tools, *refusal; } refusals[] = {
	{ WEB("web_search", "\"allowed_domains\":[]"), "allowed_domains: Empty list of domains is ambiguous. Provide at least one domain or null." },
	{ WEB("web_fetch", "\"blocked_domains\":[]"), "blocked_domains: Empty list of domains" },
	{ WEB("web_search", "\"user_location\":{\"type\":\"approximate\",\"country\":\"de\"}"), "user_location.country: not a country the search" },
	{ WEB("web_search", "\"user_location\":{\"type\":\"approximate\",\"country\":\"ZZ\"}"), "user_location.country: not a country the search" },
	{ WEB("web_search", "\"user_location\":{\"type\":\"approximate\",\"country\":\"A \"}"), "user_location.country: not a country the search" },
	{ WEB("web_search", "\"user_location\":{\"type\":\"approximate\",\"country\":\"DE\",\"timezone\":\"Europe/Berlin\"}"), NULL },
	{ WEB("web_search", "\"user_location\":{\"type\":\"approximate\",\"timezone\":\"../../etc\"}"), "user_location.timezone: must be" },
	{ WEB("web_fetch", "\"url_sources\":{\"client_tool_results\":\"none\",\"server_tool_results\":\"none\",\"user_input\":\"none\"}"),
	  "url_sources: at least one source" },
	{ WEB("web_fetch", "\"url_sources\":{\"server_tool_results\":{\"type\":\"only\",\"tools\":[{\"type\":\"tool_reference\",\"name\":\"bash\"}]}}"),
	  "tools.0.name: \"bash\" is not web_search or web_fetch" },
	{ WEB("web_fetch", "\"url_sources\":{\"server_tool_results\":{\"type\":\"except\",\"tools\":[{\"type\":\"tool_reference\",\"name\":\"web_fetch\"},"
	  "{\"type\":\"tool_reference\",\"name\":\"web_fetch\"}]}}"), "tools.1.name: duplicate name" },
	{ WEB("web_fetch", "\"url_sources\":{\"client_tool_results\":{\"type\":\"only\",\"tools\":[{\"type\":\"tool_reference\",\"name\":\"x\"}]}}"),
	  "tools.0.name: \"x\" is not a custom tool" },
	{ "[" MCP("a", "") "," MCP("a", "") "]",
	  "tools.1.mcp_toolset: duplicate entry for server \"a\"; each MCP server may have at most one mcp_toolset" },
	{ "[" MCP("a", "") "," MCP("b", "") "]", NULL },
	{ "[" MCP("a", ",\"configs\":[{\"name\":\"x\"},{\"name\":\"x\"}]") "]", "tools.0.mcp_toolset.configs.1: duplicate entry for tool \"x\"" },
};

static void
refused(void **state)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		AUTO(json) json_t *tools = parsed(refusals[i].tools), *got = NULL;
		struct err e = ERR_INIT;
		int rc = toolset_resolve(tools, &got, &e);

		if (refusals[i].refusal ? rc == 0 || !strstr(e.pub, refusals[i].refusal) : rc != 0)
			fail_msg("%s: %s", refusals[i].tools, rc ? e.pub : "accepted");
	}
}

#define URL(name, url) "{\"type\":\"url\",\"name\":\"" name "\",\"url\":\"" url "\"}"
static const struct { const char *tools, *servers, *refusal; } matches[] = {
	{ "[]", "[]", NULL },
	{ "[" MCP("a", "") "]", "[" URL("a", "https://mcp.example.com/x?y=1") "]", NULL },
	{ "[" MCP("b", "") "," MCP("a", "") "]", "[" URL("a", "http://localhost:8080") "," URL("b", "https://[::1]:1/") "]", NULL },
	{ "[" MCP("x", "") "]", "[]", "tools.0.mcp_toolset: references server \"x\" which is not defined in mcp_servers" },
	{ "[]", "[" URL("x", "https://x.com") "," URL("y", "https://y.com") "]",
	  "mcp_servers [x y] declared but no mcp_toolset in tools references them" },
	{ "[" MCP("a", "") "]", "[" URL("a", "https://x.com") "," URL("a", "https://y.com") "]", "mcp_servers.1.name: duplicate name \"a\"" },
	{ "[" MCP("a", "") "]", "[" URL("a", "ftp://x.com") "]", "mcp_servers.0.url: must be an http or https URL" },
	{ "[" MCP("a", "") "]", "[" URL("a", "https://") "]", "mcp_servers.0.url: must be" },
	{ "[" MCP("a", "") "]", "[" URL("a", "https:///x") "]", "mcp_servers.0.url: must be" },
	{ "[" MCP("a", "") "]", "[" URL("a", "https://u:p@x.com/") "]", "mcp_servers.0.url: must be" },
	{ "[" MCP("a", "") "]", "[" URL("a", "https://x.com/a b") "]", "mcp_servers.0.url: must be" },
};

static void
servers(void **state)
{
	for (size_t i = 0; i < sizeof matches / sizeof *matches; i++) {
		AUTO(json) json_t *tools = parsed(matches[i].tools), *list = parsed(matches[i].servers);
		struct err e = ERR_INIT;
		int rc = toolset_servers(tools, list, &e);

		if (matches[i].refusal ? rc == 0 || !strstr(e.pub, matches[i].refusal) : rc != 0)
			fail_msg("%s: %s", matches[i].servers, rc ? e.pub : "accepted");
	}
}

static void
usable(void **state)
{
	AUTO(json) json_t *tools = parsed(TOOLSET(",\"default_config\":{\"enabled\":false," ALLOW "},\"configs\":[{\"name\":\"read\",\"enabled\":true}]"));
	AUTO(json) json_t *none = parsed("[]");

	assert_true(toolset_usable(tools, "read"));
	assert_false(toolset_usable(tools, "bash"));
	assert_false(toolset_usable(none, "read"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolution), cmocka_unit_test(fixed_point), cmocka_unit_test(shown_may_be_sent_back), cmocka_unit_test(suffixes),
		cmocka_unit_test(domain_lists), cmocka_unit_test(refused), cmocka_unit_test(servers), cmocka_unit_test(usable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
