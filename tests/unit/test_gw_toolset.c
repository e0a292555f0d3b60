/* link: gateway/toolset.c gateway/webtool.c */
/* Tools with their defaults resolved, and the domain lists of the web tools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "jx.h"
#include "toolset.h"

#define TOOLSET(x) "[{\"type\":\"agent_toolset_20260401\"" x "}]"
#define ALLOW "\"permission_policy\":{\"type\":\"always_allow\"}"
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
	  "\"allowed_domains\":null,\"blocked_domains\":null,\"max_content_tokens\":5,\"url_sources\":{\"client_tool_results\":{\"type\":\"all\"},"
	  "\"server_tool_results\":{\"type\":\"all\"},\"user_input\":{\"type\":\"none\"}}}]") },
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

static const struct { const char *tool, *list, *refusal; } domains[] = {
	{ "web_search", "[\"example.com\",\"a.example.co.uk\"]", NULL }, { "web_search", "[\"example.com/path\"]", NULL },
	{ "web_fetch", "[\"example.com/\"]", NULL }, { "web_fetch", "[\"xn--bcher-kva.example\"]", NULL },
	{ "web_fetch", "[\"example.com/path\"]", "paths" }, { "web_search", "[\"example.com/a b\"]", "illegal" },
	{ "web_search", "[\"https://example.com\"]", "schemes" }, { "web_search", "[\"example.com:80\"]", "hostname" },
	{ "web_search", "[\"*.example.com\"]", "hostname" }, { "web_search", "[\"a@example.com\"]", "hostname" },
	{ "web_search", "[\"127.0.0.1\"]", "IP addresses" }, { "web_search", "[\"127.1\"]", "IP addresses" },
	{ "web_search", "[\"::1\"]", "IP addresses" }, { "web_search", "[\"[::1]\"]", "IP addresses" },
	{ "web_search", "[\"localhost\"]", "registrable" }, { "web_search", "[\"com\"]", "registrable" },
	{ "web_search", "[\"x.internal\"]", "public" }, { "web_search", "[\"b\xc3\xbc" "cher.example\"]", "ASCII" },
	{ "web_search", "[\"example.com\",\"EXAMPLE.com\"]", "duplicate" }, { "web_search", "[\".example.com\"]", "hostname" },
};

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolution), cmocka_unit_test(fixed_point), cmocka_unit_test(domain_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
