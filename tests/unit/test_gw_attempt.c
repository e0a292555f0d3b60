/* link: gateway/attempt.c */
/* Which requests are attempts of one call: the headers as they may come, and what makes two idents equal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "attempt.h"

#define SPAN "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const struct attempt_call call = { "apikey_1", "wrkspc_1", "POST", "/v1/agents", "{}", 2, NULL };

/* The decision table: best evidence first, malformed evidence is none (but for a key, which is an error). */
static const struct { const char *key, *trace, *count; enum dedupe_kind kind; int told; } table[] = {
	{ NULL, NULL, NULL, DEDUPE_NONE, -1 },
	{ NULL, NULL, "0", DEDUPE_PLAIN, 0 },
	{ NULL, NULL, "2", DEDUPE_PLAIN, 2 },
	{ NULL, NULL, "1000", DEDUPE_PLAIN, 1000 },
	{ NULL, NULL, "1001", DEDUPE_NONE, -1 },
	{ NULL, NULL, "", DEDUPE_NONE, -1 },
	{ NULL, NULL, "-1", DEDUPE_NONE, -1 },
	{ NULL, NULL, "+1", DEDUPE_NONE, -1 },
	{ NULL, NULL, " 1", DEDUPE_NONE, -1 },
	{ NULL, NULL, "1x", DEDUPE_NONE, -1 },
	{ NULL, NULL, "99999999999999999999", DEDUPE_NONE, -1 },
	{ NULL, SPAN, NULL, DEDUPE_TRACE, -1 },
	{ NULL, SPAN, "0", DEDUPE_TRACE, 0 },
	{ NULL, SPAN, "1", DEDUPE_TRACE, 1 },
	{ NULL, SPAN, "one", DEDUPE_TRACE, -1 },
	{ "k", NULL, NULL, DEDUPE_KEY, -1 },
	{ "k", SPAN, "1", DEDUPE_KEY, 1 },
	{ " ~", NULL, "0", DEDUPE_KEY, 0 },
	/* traceparents that are none */
	{ NULL, "", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "1", DEDUPE_PLAIN, 1 },
	{ NULL, SPAN "-x", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-00000000000000000000000000000000-b7ad6b7169203331-01", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001", "1", DEDUPE_PLAIN, 1 },
	{ NULL, "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", "1", DEDUPE_PLAIN, 1 },
	/* a version to come may say more */
	{ NULL, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "1", DEDUPE_TRACE, 1 },
	{ NULL, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", "1", DEDUPE_PLAIN, 1 },
};

static void
decision(void **state)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct attempt_headers h = { table[i].key, table[i].trace, table[i].count };
		struct err e = ERR_INIT;
		struct dedupe_id id;

		assert_int_equal(attempt_read(&h, &call, &id, &e), 0);
		if (id.kind != table[i].kind || id.count != table[i].told)
			fail_msg("row %zu: kind %d count %d", i, id.kind, id.count);
		assert_int_equal(strlen(id.ident), id.kind == DEDUPE_NONE ? 0 : DEDUPE_UUID - 1);
	}
}

static void
keys_that_are_none(void **state)
{
	char longest[ATTEMPT_KEY_MAX + 2];
	const char *const bad[] = { "", "a\tb", "a\x7f", "\xc3\xa9", longest };
	struct dedupe_id id;

	memset(longest, 'k', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = ERR_INIT;

		assert_int_equal(attempt_read(&(struct attempt_headers){ .key = bad[i] }, &call, &id, &e), -1);
		assert_int_equal(e.kind, EK_INVALID);
		assert_non_null(strstr(e.pub, "idempotency-key"));
	}
}

/* Two requests: of one call (ident), asking for the same (digest)? */
static void
compare(struct attempt_headers h1, struct attempt_call c1, struct attempt_headers h2, struct attempt_call c2, bool ident, bool digest)
{
	struct dedupe_id a, b;
	struct err e = ERR_INIT;

	assert_int_equal(attempt_read(&h1, &c1, &a, &e) | attempt_read(&h2, &c2, &b, &e), 0);
	assert_int_equal(strcmp(a.ident, b.ident) == 0, ident);
	assert_int_equal(strcmp(a.digest, b.digest) == 0, digest);
	assert_int_equal(a.lock == b.lock, ident);
}

static void
idents(void **state)
{
	const struct attempt_headers key = { .key = "k" }, trace = { .traceparent = SPAN, .retry_count = "0" }, plain = { .retry_count = "0" };
	struct attempt_headers retry = trace, flags = trace, span = trace, other = trace, plain_retry = plain, key2 = key;
	struct attempt_call body = call, path = call, method = call, credential = call, workspace = call, shifted = call;

	retry.retry_count = plain_retry.retry_count = "1";
	flags.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
	span.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01";
	other.traceparent = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	key2.key = "K";
	body.body = "[]";
	path.uri = "/v1/agents?x=1";
	method.method = "DELETE";
	credential.credential = "apikey_2";
	workspace.workspace = "wrkspc_2";
	shifted.credential = "apikey_1w";
	shifted.workspace = "rkspc_1";
	compare(key, call, key, call, true, true);
	compare(key, call, key2, call, false, true);
	compare(key, call, key, body, true, false);
	compare(key, call, key, path, true, false);
	compare(key, call, key, method, true, false);
	compare(key, call, key, credential, false, true);
	compare(key, call, key, workspace, false, true);
	compare(key, call, key, shifted, false, true);
	compare(trace, call, retry, call, true, true);
	compare(trace, call, flags, call, true, true);
	compare(trace, call, span, call, false, true);
	compare(trace, call, other, call, false, true);
	compare(trace, call, retry, body, false, false);
	compare(plain, call, plain_retry, call, true, true);
	compare(plain, call, plain_retry, path, false, false);
	compare(plain, call, plain_retry, credential, false, true);
	compare(plain, call, trace, call, false, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(decision), cmocka_unit_test(keys_that_are_none), cmocka_unit_test(idents) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
