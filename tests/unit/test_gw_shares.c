/* link: gateway/shares.c */
/* Whose requests may have a thread: all but a quarter for one organization, one for each other, and turns for those that wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shares.h"

static int ticket[16];

static void
a_quarter_is_kept(void **state)
{
	struct shares *s = shares_new(8, 4);

	for (int i = 0; i < 6; i++)
		assert_true(shares_begin(s, "a"));
	assert_false(shares_begin(s, "a"));
	assert_true(shares_begin(s, "b"));	/* who holds none always may */
	assert_false(shares_begin(s, "b"));
	assert_true(shares_begin(s, "c"));
	assert_true(shares_begin(s, ""));	/* nobody's: a look at the health */
	shares_end(s, "");
	shares_end(s, "b");
	shares_end(s, "c");
	assert_false(shares_begin(s, "a"));
	shares_end(s, "a");
	assert_true(shares_begin(s, "a"));
	shares_free(&s);
	assert_null(s);
}

static void
few_threads_are_everybodys(void **state)
{
	struct shares *s = shares_new(3, 4);

	for (int i = 0; i < 3; i++)
		assert_true(shares_begin(s, "a"));
	assert_true(shares_begin(s, "a"));	/* what is brought to its end here may be counted beside */
	shares_free(&s);
}

static void
who_waits_has_its_turn(void **state)
{
	struct shares *s = shares_new(4, 3);

	for (int i = 0; i < 3; i++)
		assert_true(shares_begin(s, "a"));
	for (int i = 0; i < 3; i++)
		assert_true(shares_wait(s, "a", &ticket[i]));
	assert_false(shares_wait(s, "a", &ticket[3]));
	assert_int_equal(shares_waiting(s), 3);
	assert_null(shares_next(s));
	shares_end(s, "a");
	assert_false(shares_begin(s, "a"));	/* not past those that wait */
	assert_ptr_equal(shares_next(s), &ticket[0]);
	assert_null(shares_next(s));
	shares_end(s, "a");
	assert_ptr_equal(shares_next(s), &ticket[1]);
	shares_end(s, "a");
	shares_end(s, "a");
	shares_end(s, "a");
	assert_ptr_equal(shares_next(s), &ticket[2]);
	assert_null(shares_next(s));
	assert_int_equal(shares_waiting(s), 0);
	shares_free(&s);
}

/* One with a long queue does not keep others waiting, not even those that hold something. */
static void
turns_go_round(void **state)
{
	struct shares *s = shares_new(4, 8);

	for (int i = 0; i < 3; i++)
		assert_true(shares_begin(s, "a"));
	assert_true(shares_begin(s, "b"));
	for (int i = 0; i < 4; i++)
		assert_true(shares_wait(s, "a", &ticket[i]));
	assert_true(shares_wait(s, "b", &ticket[8]));
	assert_true(shares_wait(s, "b", &ticket[9]));
	shares_end(s, "b");
	assert_ptr_equal(shares_next(s), &ticket[8]);	/* it held nothing */
	shares_end(s, "a");
	assert_null(shares_next(s));
	shares_end(s, "a");
	assert_ptr_equal(shares_next(s), &ticket[0]);	/* a is at the list's head since b was served */
	shares_end(s, "a");
	assert_ptr_equal(shares_next(s), &ticket[9]);
	shares_end(s, "b");
	assert_ptr_equal(shares_next(s), &ticket[1]);
	shares_free(&s);		/* what waits is forgotten, and not leaked */
}

static void
brought_to_an_end(void **state)
{
	struct shares *s = shares_new(4, 8);

	for (int i = 0; i < 5; i++)
		shares_join(s, "a");	/* never refused */
	assert_false(shares_begin(s, "a"));
	assert_true(shares_begin(s, "b"));
	for (int i = 0; i < 5; i++)
		shares_end(s, "a");
	shares_end(s, "b");
	for (int i = 0; i < 3; i++)
		assert_true(shares_begin(s, "a"));
	shares_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quarter_is_kept),
		cmocka_unit_test(few_threads_are_everybodys),
		cmocka_unit_test(who_waits_has_its_turn),
		cmocka_unit_test(turns_go_round),
		cmocka_unit_test(brought_to_an_end),
	};

	return cmocka_run_group_tests_name("gateway/shares", tests, NULL, NULL);
}
