/* link: workers/harness/ctxcache.c workers/harness/turn.c workers/harness/outcome.c workers/model/context.c workers/model/filesrc.c workers/harness/arrivals.c workers/harness/batch.c workers/harness/batch_status.c workers/harness/batch_events.c workers/harness/batch_stamp.c workers/harness/policy.c */
/* The cache of contexts: what is given back comes out once, the oldest goes when bytes run out, nothing leaks (asan). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctxcache.h"
#include "xalloc.h"

static struct context
context_of(int items, size_t each)
{
	struct context c = { 0 };
	char *text = xcalloc(1, each + 1);

	memset(text, 'x', each);
	for (int i = 0; i < items; i++)
		context_add(&c, i % 2 ? 'a' : 'u', text);
	c.seq = items;
	free(text);
	return c;
}

static void
put_and_take(void **state)
{
	struct ctxcache *cache = ctxcache_new(1 << 20);
	struct context c = context_of(3, 100), out = { 0 };

	(void)state;
	ctxcache_put(cache, "sesn_a", &c);
	assert_int_equal(c.n, 0);
	assert_false(ctxcache_take(cache, "sesn_b", &out));
	assert_true(ctxcache_take(cache, "sesn_a", &out));
	assert_int_equal(out.n, 3);
	assert_int_equal(out.seq, 3);
	assert_int_equal(out.bytes, 300);
	assert_int_equal(ctxcache_bytes(cache), 0);
	assert_false(ctxcache_take(cache, "sesn_a", &c));
	context_clear(&out);
	ctxcache_free(&cache);
	assert_null(cache);
}

static void
oldest_goes(void **state)
{
	struct ctxcache *cache = ctxcache_new(64 << 10);
	struct context c, out = { 0 };
	char id[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "sesn_%d", i);
		c = context_of(4, 2000);
		ctxcache_put(cache, id, &c);
		assert_true(ctxcache_bytes(cache) <= 64 << 10);
	}
	assert_false(ctxcache_take(cache, "sesn_0", &out));
	assert_true(ctxcache_take(cache, "sesn_999", &out));
	assert_true(ctxcache_take(cache, "sesn_996", &c));
	context_clear(&out);
	context_clear(&c);
	c = context_of(1, 70000);		/* larger than the whole cache: not kept, nothing else goes */
	ctxcache_put(cache, "sesn_big", &c);
	assert_int_equal(c.n, 0);
	assert_false(ctxcache_take(cache, "sesn_big", &out));
	assert_true(ctxcache_take(cache, "sesn_998", &out));
	context_clear(&out);
	ctxcache_drop(cache, "sesn_998");
	ctxcache_drop(cache, "sesn_997");
	assert_false(ctxcache_take(cache, "sesn_997", &out));
	ctxcache_free(&cache);
}

static void
replaced(void **state)
{
	struct ctxcache *cache = ctxcache_new(1 << 20);
	struct context c = context_of(2, 10), out = { 0 };

	(void)state;
	ctxcache_put(cache, "sesn_a", &c);
	c = context_of(5, 10);
	ctxcache_put(cache, "sesn_a", &c);
	assert_true(ctxcache_take(cache, "sesn_a", &out));
	assert_int_equal(out.n, 5);
	context_clear(&out);
	c = (struct context){ 0 };		/* an empty one is no use */
	ctxcache_put(cache, "sesn_a", &c);
	assert_false(ctxcache_take(cache, "sesn_a", &out));
	ctxcache_free(&cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_take),
		cmocka_unit_test(oldest_goes),
		cmocka_unit_test(replaced),
	};

	return cmocka_run_group_tests_name("context cache", tests, NULL, NULL);
}
