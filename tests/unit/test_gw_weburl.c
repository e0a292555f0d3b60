/* link: gateway/weburl.c */
/* Which URLs and hosts are taken, and which URLs mean the same server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "jx.h"
#include "weburl.h"

static void
urls(void **state)
{
	static const char *const good[] = { "https://a", "http://a.b:8080/x?y#z", "https://[::1]/x", "https://a/@b", "https://A/%20" };
	static const char *const bad[] = { "", "a", "https://", "https:///x", "https://:443", "ftp://a", "HTTPS://a", "https://u@a", "https://u:p@a/x", "https://a b",
	    "https://a\nb", "https://a/\"", "https://a\\b", "https://b\xc3\xbc.de", "https://?x", "https://@a" };

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!weburl_ok(good[i]))
			fail_msg("%s is refused", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (weburl_ok(bad[i]))
			fail_msg("%s is taken", bad[i]);
}

static void
keys(void **state)
{
	static const struct { const char *url, *key; } cases[] = {
		{ "https://h", "https://h" }, { "https://H/", "https://h" }, { "https://h:443//", "https://h" }, { "https://h:", "https://h" },
		{ "https://h.", "https://h" }, { "https://h.:443/", "https://h" }, { "http://h:80/x/", "http://h/x" }, { "http://h:443", "http://h:443" },
		{ "https://h:80/X", "https://h:80/X" }, { "https://h:4430", "https://h:4430" }, { "https://h/a//b///", "https://h/a//b" },
		{ "https://h/?x=/", "https://h?x=/" }, { "https://H?X", "https://h?X" }, { "https://h/a/#b/", "https://h/a" }, { "https://h/a?b#c", "https://h/a?b" },
		{ "https://[FE80::A]:443/x", "https://[fe80::a]/x" }, { "https://[fe80::443]/", "https://[fe80::443]" },
	};
	AUTO(arena) struct arena *a = arena_new(1 << 20);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(weburl_key(cases[i].url, a), cases[i].key);
}

static void
hosts(void **state)
{
	static const struct { const char *host, *why; } cases[] = {
		{ "a", NULL }, { "A.b-c.d_e", NULL }, { "*.b.c", NULL }, { "*.b", NULL }, { "0.0.0.0", NULL }, { "255.255.255.255", NULL }, { "1a.2b", NULL },
		{ "http://a", "scheme" }, { "a:1", "port" }, { "a/b", "path" }, { "a?b", "path" }, { "::", "IPv6" }, { "[::1]:80", "IPv6" }, { "*", "wildcard" },
		{ "*a.b", "wildcard" }, { "*.*.b", "wildcard" }, { "*.", "not a hostname" }, { ".a", "not a hostname" }, { "a.", "not a hostname" },
		{ "a-.b", "not a hostname" }, { "1.2.3.4.5", "not a hostname" }, { "01.2.3.4", "not a hostname" }, { "1.2.3.256", "not a hostname" },
		{ "*.1.2.3.4", "not a hostname" }, { "7", "not a hostname" }, { "a b", "not a hostname" }, { "a\xc3\xa9", "not a hostname" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(json) json_t *list = json_pack("[s]", cases[i].host);
		struct err e = ERR_INIT;
		int rc = weburl_hosts(list, &e);

		if ((rc == 0) != !cases[i].why || (rc < 0 && !strstr(e.pub, cases[i].why)))
			fail_msg("%s: %s", cases[i].host, rc == 0 ? "taken" : e.pub);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(urls), cmocka_unit_test(keys), cmocka_unit_test(hosts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
