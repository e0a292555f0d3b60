/* link: workers/harness/linger.c */
/* The table of leases that are kept after a turn: one place each, in one state; what comes and goes in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "linger.h"

static struct kept *
put(struct linger *l, int i, int64_t until_ms)
{
	char id[32];

	snprintf(id, sizeof(id), "sesn_%d", i);
	return linger_put(l, "w1", id, 100 + i, i, until_ms);
}

static void
found_and_dropped(void **state)
{
	struct linger *l = linger_new(NULL);
	struct kept *k;

	(void)state;
	for (int i = 0; i < 3000; i++)	/* more than there are buckets */
		put(l, i, i);
	assert_int_equal(linger_count(l), 3000);
	k = linger_find(l, "sesn_1234");
	assert_non_null(k);
	assert_int_equal(k->epoch, 1334);
	assert_int_equal(k->wake_gen, 1234);
	assert_string_equal(k->workspace, "w1");
	linger_drop(l, k);
	assert_null(linger_find(l, "sesn_1234"));
	assert_non_null(linger_find(l, "sesn_1235"));
	assert_int_equal(linger_count(l), 2999);
	linger_clear(l);
	assert_int_equal(linger_count(l), 0);
	assert_null(linger_first(l, KEPT_QUIET));
	linger_free(&l);
	assert_null(l);
}

static void
kept_again(void **state)
{
	struct linger *l = linger_new(NULL);
	struct kept *k;

	(void)state;
	linger_ring(l, put(l, 1, 5));
	k = linger_put(l, "w1", "sesn_1", 200, 9, 7);
	assert_int_equal(linger_count(l), 1);
	assert_int_equal(k->epoch, 200);
	assert_int_equal(k->state, KEPT_QUIET);
	assert_null(linger_first(l, KEPT_RUNG));
	linger_free(&l);
}

static void
due_in_order(void **state)
{
	struct linger *l = linger_new(NULL);

	(void)state;
	for (int i = 0; i < 10; i++)
		put(l, i, 100 + i);
	linger_ring(l, linger_find(l, "sesn_2"));	/* it is wanted: not given back */
	assert_int_equal(linger_due(l, 99, false, 100), 0);
	assert_int_equal(linger_due(l, 104, false, 100), 4);
	assert_string_equal(linger_first(l, KEPT_SETTLING)->session, "sesn_0");
	assert_int_equal(linger_due(l, 200, false, 3), 3);
	assert_int_equal(linger_due(l, 0, true, 100), 2);
	assert_null(linger_first(l, KEPT_QUIET));
	assert_string_equal(linger_first(l, KEPT_RUNG)->session, "sesn_2");
	linger_free(&l);
}

static void
rings(void **state)
{
	struct linger *l = linger_new(NULL);
	struct kept *a = put(l, 1, 0), *b = put(l, 2, 0);

	(void)state;
	linger_ring(l, b);
	linger_ring(l, b);
	linger_ring(l, a);
	assert_false(b->again);		/* it has not been read: one reading is enough */
	assert_ptr_equal(linger_first(l, KEPT_RUNG), b);
	linger_move(l, b, KEPT_READING);
	linger_ring(l, b);
	assert_int_equal(b->state, KEPT_READING);
	assert_true(b->again);
	linger_move(l, a, KEPT_SETTLING);
	linger_ring(l, a);
	assert_true(a->again);
	linger_free(&l);
}

/* Room that is kept for a turn is there until its lease is dropped. */
static void
reserved(void **state)
{
	struct linger *l = linger_new(NULL);
	struct kept *a = put(l, 1, 0), *b = put(l, 2, 0);
	int64_t bytes;

	(void)state;
	assert_int_equal(linger_reserved(l, &bytes), 0);
	assert_int_equal(bytes, 0);
	linger_reserve(l, a, 10);
	linger_reserve(l, b, 5);
	linger_reserve(l, a, 7);
	assert_int_equal(linger_reserved(l, &bytes), 2);
	assert_int_equal(bytes, 12);
	linger_move(l, a, KEPT_READING);
	put(l, 2, 9);				/* the one that was there is dropped */
	assert_int_equal(linger_reserved(l, &bytes), 1);
	assert_int_equal(bytes, 7);
	linger_clear(l);
	assert_int_equal(linger_reserved(l, &bytes), 0);
	assert_int_equal(bytes, 0);
	linger_free(&l);
}

static void
soon(void **state)
{
	(void)state;
	assert_false(linger_soon(0, 100, 2000));	/* not known */
	assert_true(linger_soon(1000, 3000, 2000));
	assert_false(linger_soon(1000, 3001, 2000));
	assert_false(linger_soon(1000, 1001, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_and_dropped),
		cmocka_unit_test(kept_again),
		cmocka_unit_test(due_in_order),
		cmocka_unit_test(rings),
		cmocka_unit_test(reserved),
		cmocka_unit_test(soon),
	};

	return cmocka_run_group_tests_name("linger", tests, NULL, NULL);
}
