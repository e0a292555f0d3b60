/* link: workers/egress/probe/guard.c */
/* Which addresses may be reached: every range that is not the public internet, at both ends, in both families, and lists of exceptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "guard.h"

static bool
allows(const char *list, const char *text)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct err e = ERR_INIT;
	struct guard g;

	assert_int_equal(guard_parse(list, &g, &e), 0);
	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return guard_allows(&g, (struct sockaddr *)&four);
	assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return guard_allows(&g, (struct sockaddr *)&six);
}

static void
test_public(void **state)
{
	static const char *const open[] = { "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
	    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
	    "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00::1", "2001:200::1", "2001:4860:4860::8888", "::ffff:8.8.8.8",
	    "3ffe::1" };
	static const char *const shut[] = { "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
	    "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.170",
	    "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.255", "224.0.0.1",
	    "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254",
	    "::ffff:0.0.0.0", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1",
	    "2001::1", "2001:0:4136:e378::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "::ffff:0:8.8.8.8" };

	(void)state;
	for (size_t i = 0; i < sizeof open / sizeof *open; i++)
		if (!allows("", open[i]))
			fail_msg("%s is refused", open[i]);
	for (size_t i = 0; i < sizeof shut / sizeof *shut; i++)
		if (allows("", shut[i]))
			fail_msg("%s may be reached", shut[i]);
}

static void
test_exceptions(void **state)
{
	const char *list = " 10.1.0.0/16  192.168.3.4 fd00:1::/32 127.0.0.0/9";

	(void)state;
	assert_true(allows(list, "10.1.0.0"));
	assert_true(allows(list, "10.1.255.255"));
	assert_true(allows(list, "::ffff:10.1.2.3"));
	assert_false(allows(list, "10.2.0.0"));
	assert_false(allows(list, "10.0.255.255"));
	assert_true(allows(list, "192.168.3.4"));
	assert_false(allows(list, "192.168.3.5"));
	assert_true(allows(list, "fd00:1:ffff::1"));
	assert_false(allows(list, "fd00:2::1"));
	assert_true(allows(list, "127.127.255.255"));
	assert_false(allows(list, "127.128.0.0"));
	assert_true(allows("::/0", "127.0.0.1"));
	assert_true(allows("0.0.0.0/0", "127.0.0.1"));
	assert_false(allows("0.0.0.0/0", "::1"));
}

static void
test_nonsense(void **state)
{
	static const char *const lists[] = { "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "fd00::/129", "10.0.0", "10.0.0.0/8,10.1.0.0/16",
	    "example.com" };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct err e = ERR_INIT;
	struct guard g;
	char many[GUARD_NETS * 10 + 20] = "";

	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (guard_parse(lists[i], &g, &e) == 0)
			fail_msg("%s is taken", lists[i]);
	for (int i = 0; i <= GUARD_NETS; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many), "10.0.0.%d ", i % 10);
	assert_int_equal(guard_parse(many, &g, &e), -1);
	assert_int_equal(guard_parse("0.0.0.0/0 ::/0", &g, &e), 0);
	assert_false(guard_allows(&g, (struct sockaddr *)&un));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public),
		cmocka_unit_test(test_exceptions),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
