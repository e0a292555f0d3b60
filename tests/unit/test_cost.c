/* List prices and the exact sum: decimals, classes, fast and geography, rounding and the cap's borders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "cost.h"

static const struct { const char *text; int64_t nano; } decimals[] = {
	{ "3", 3000 }, { "15", 15000 }, { "0.30", 300 }, { "3.75", 3750 }, { "0.003", 3 }, { "0", 0 }, { "18.750000", 18750 },
	{ "999999999.999", 999999999999 }, { "00.5", 500 },
	{ "", -1 }, { ".5", -1 }, { "1.", -1 }, { "0.0001", -1 }, { "1e3", -1 }, { "-1", -1 }, { "1.2.3", -1 }, { "1,5", -1 }, { " 1", -1 },
	{ "1000000000", -1 },
};

static void
test_decimals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++) {
		int64_t nano = -1;
		bool ok = cost_per_million(decimals[i].text, strlen(decimals[i].text), &nano);

		if (ok != (decimals[i].nano >= 0) || nano != decimals[i].nano)
			fail_msg("%s: %d %lld", decimals[i].text, ok, (long long)nano);
	}
}

#define PRICE "{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"3\",\"output\":\"15\",\"cache_read\":\"0.30\",\"cache_write_5m\":\"3.75\"," \
	"\"cache_write_1h\":\"6\"},\"fast_per_million_tokens\":{\"input\":\"18\",\"output\":\"90\"},\"per_thousand_web_searches\":\"10\"}"

static void
test_rates(void **state)
{
	static const int64_t tokens[] = { 1, 10, 100, 1000, 10000 };
	struct cost_rates r;

	(void)state;
	cost_rates_read(PRICE, NULL, NULL, &r);
	assert_true(r.known);
	assert_int_equal(cost_of_tokens(&r, tokens), 3000 + 150000 + 30000 + 3750000 + 60000000);
	assert_int_equal(r.web_search, 10000000);
	cost_rates_read(PRICE, "standard", "us", &r);
	assert_int_equal(cost_of_tokens(&r, tokens), (3000 + 150000 + 30000 + 3750000 + 60000000) / 10 * 11);
	cost_rates_read(PRICE, "fast", "global", &r);
	assert_int_equal(cost_of_tokens(&r, tokens), 18000 + 900000 + 1800000 + 18000000 + 180000000);
	cost_rates_read("{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"0.005\",\"output\":\"0.05\"}}", NULL, "us", &r);
	assert_int_equal(r.token[COST_INPUT], 6);	/* 5.5 */
	assert_int_equal(r.token[COST_OUTPUT], 55);
	assert_int_equal(r.token[COST_CACHE_READ], 6);
	cost_rates_read("{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"1\",\"output\":\"1\"}}", "fast", NULL, &r);
	assert_false(r.known);
	cost_rates_read("{\"currency\":\"EUR\",\"per_million_tokens\":{\"input\":\"1\",\"output\":\"1\"}}", NULL, NULL, &r);
	assert_false(r.known);
	cost_rates_read(NULL, NULL, NULL, &r);
	assert_false(r.known);
}

#define HOUR 3600000000LL	/* microseconds: 8 cents */

static const struct { int64_t nano, us; int64_t cents, cap; bool reached; } sums[] = {
	{ 0, 0, 0, 1, false },
	{ 4999999, 0, 0, 1, false }, { 5000000, 0, 1, 1, false }, { 9999999, 0, 1, 1, false }, { 10000000, 0, 1, 1, true },
	{ 0, HOUR, 8, 8, true }, { 0, HOUR - 1, 8, 8, false }, { 0, HOUR / 16, 1, 1, false }, { 0, HOUR / 16 - 1000, 0, 1, false },
	/* a third of a millisecond's cost decides nothing; its whole does: 45 ms are 1000 nano-dollars */
	{ 9999000, 45000, 1, 1, true }, { 9999000, 44999, 1, 1, false }, { 9998999, 45000, 1, 1, false },
	{ 120000000, 3 * HOUR, 36, 36, true },
};

static void
test_sums(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		struct cost_spent s = { .token_nano = sums[i].nano, .active_us = sums[i].us };

		if (cost_cents(&s) != sums[i].cents || cost_reached(&s, sums[i].cap) != sums[i].reached || cost_below(&s, sums[i].cap) == sums[i].reached)
			fail_msg("row %zu: %lld cents", i, (long long)cost_cents(&s));
	}
	assert_int_equal(cost_cents(&(struct cost_spent){ .token_nano = INT64_MAX, .active_us = 31536000000000000LL }), INT64_MAX / 10000000 + 70080000);
	assert_true(cost_reached(&(struct cost_spent){ .unpriced = true }, 1000));
	assert_true(cost_below(&(struct cost_spent){ .unpriced = true }, 1000));
}

static void
test_text(void **state)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;

	(void)state;
	jw_begin(&w, &b);
	jw_arr(&w);
	cost_write(&w, &(struct cost_spent){ .token_nano = 123456789 });
	cost_write(&w, &(struct cost_spent){ .unpriced = true });
	cost_write_budget(&w, 2500);
	cost_write_budget(&w, 0);
	jw_arr_end(&w);
	jw_end(&w);
	assert_string_equal(b.data, "[{\"amount\":\"12\",\"currency\":\"USD\"},null,"
	    "{\"type\":\"limit\",\"max_list_cost\":{\"amount\":\"2500\",\"currency\":\"USD\"}},null]");
	assert_true(cost_accepts("user.interrupt"));
	assert_false(cost_accepts("user.message"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decimals), cmocka_unit_test(test_rates), cmocka_unit_test(test_sums), cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
