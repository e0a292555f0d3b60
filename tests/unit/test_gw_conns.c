/* link: gateway/conns.c */
/* conns: what a later request on a connection proves, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "conns.h"

static void
later_requests(void **state)
{
	static const struct { const char *noted, *asked; bool on; } cases[] = {
		{ "71.5.1", "71.5.1", false },		{ "71.5.2", "71.5.1", true },
		{ "71.5.2", "71.5.2", false },		{ "71.6.9", "71.5.2", false },
		{ "72.5.9", "71.5.8", false },		{ "71.5.1", "71.5.1", true },	/* the highest counts */
		{ "", "71.5.1", true },			{ "71.5.x", "71.5.2", false },
		{ "71.5.99999999", "71.5.2", true },	{ NULL, "71.5.99999999", false },
		{ NULL, NULL, false },			{ NULL, "", false },
		{ NULL, ".1", false },			{ NULL, "1", false },
		{ NULL, "71.5.", false },		{ NULL, "71.5.-1", false },
		{ "9f3c0d5e7a214b68-71.5.7", "9f3c0d5e7a214b68-71.5.6", true },		/* as nginx writes them: with its start's own name */
		{ NULL, "1122334455667788-71.5.6", false },				/* the same process and connection of another start */
	};
	struct err e = ERR_INIT;
	struct conns *c = conns_open("", &e);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		conns_note(c, cases[i].noted);
		if (conns_went_on(c, cases[i].asked) != cases[i].on)
			fail_msg("case %zu", i);
	}
	conns_close(&c);
	conns_close(&c);
}

static void
shared(void **state)
{
	char path[64];
	struct err e = ERR_INIT;
	struct conns *a, *b;

	snprintf(path, sizeof path, "/tmp/roost-conns-%d", (int)getpid());
	a = conns_open(path, &e);
	b = conns_open(path, &e);
	conns_note(a, "1.2.4");
	assert_true(conns_went_on(b, "1.2.3"));
	conns_named(a, "key_1", "sesn_1");
	assert_true(conns_was_named(b, "key_1", "sesn_1"));
	assert_false(conns_was_named(b, "key_1", "sesn_2"));
	assert_false(conns_was_named(b, "key_2", "sesn_1"));
	assert_false(conns_was_named(b, "key_1sesn_", "1"));
	conns_close(&a);
	conns_close(&b);
	unlink(path);
	assert_null(conns_open("/nonexistent/x", &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(later_requests), cmocka_unit_test(shared) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
