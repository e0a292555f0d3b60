/* link: gateway/kits.c */
/* What is remembered of sessions' parts: by the whole key, the newest, nothing that is too large, nothing that was forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kits.h"
#include "xalloc.h"

static const struct kit_key key = { "w", "a", "e", 0 };

static void
by_the_whole_key(void **state)
{
	const struct kit_key others[] = { { "v", "a", "e", 0 }, { "w", "b", "e", 0 }, { "w", "a", "f", 0 }, { "w", "a", "e", 1 } };
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	struct kits *all = kits_new();
	struct kit kit;

	assert_false(kits_find(all, &key, a, &kit));
	kits_put(all, &key, &(const struct kit){ 3, 77, "{}" });
	assert_true(kits_find(all, &key, a, &kit));
	assert_int_equal(kit.version, 3);
	assert_int_equal(kit.environment_us, 77);
	assert_string_equal(kit.snapshot, "{}");
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(kits_find(all, &others[i], a, &kit));
	kits_put(all, &key, &(const struct kit){ 4, 78, "{4}" });
	assert_true(kits_find(all, &key, a, &kit));
	assert_int_equal(kit.version, 4);
	kits_forget(all, &others[3]);
	assert_true(kits_find(all, &key, a, &kit));
	kits_forget(all, &key);
	assert_false(kits_find(all, &key, a, &kit));
	assert_string_equal(kit.snapshot, "{4}");	/* the caller's own */
	kits_free(&all);
	assert_null(all);
}

static void
bounded(void **state)
{
	AUTO(arena) struct arena *a = arena_new(64 << 20);
	AUTO(str) char *large = xasprintf("%016384d", 0), *larger = xasprintf("%016385d", 0);
	struct kits *all = kits_new();
	int found = 0;
	struct kit kit;

	for (int i = 1; i <= 1000; i++)
		kits_put(all, &(const struct kit_key){ "w", "a", "e", i }, &(const struct kit){ i, i, large });
	for (int i = 1; i <= 1000; i++)
		if (kits_find(all, &(const struct kit_key){ "w", "a", "e", i }, a, &kit)) {
			assert_int_equal(kit.version, i);
			found++;
		}
	assert_in_range(found, 32, 64);
	kits_put(all, &key, &(const struct kit){ 1, 1, larger });
	assert_false(kits_find(all, &key, a, &kit));
	kits_free(&all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_the_whole_key), cmocka_unit_test(bounded) };

	return cmocka_run_group_tests_name("gateway/kits", tests, NULL, NULL);
}
