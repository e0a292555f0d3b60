/*
 * test_apikey: the key format: what is made parses, every single damaged character is noticed, the hash is the known HMAC.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "apikey.h"

static const struct apikey_pepper pepper = { "pepper" };

static void
test_round_trip(void **state)
{
	char key[APIKEY_LEN + 1], public_id[APIKEY_PUBLIC_LEN + 1], parsed[APIKEY_PUBLIC_LEN + 1], hint[APIKEY_HINT];

	(void)state;
	for (int i = 0; i < 200; i++) {
		apikey_new(&pepper, key, public_id);
		assert_int_equal(strlen(key), APIKEY_LEN);
		assert_int_equal(apikey_parse(&pepper, key, parsed), APIKEY_GOOD);
		assert_string_equal(parsed, public_id);
	}
	apikey_hint(key, hint);
	assert_int_equal(strlen(hint), 15);
	assert_memory_equal(hint, key, 8);
	assert_string_equal(hint + 11, key + APIKEY_LEN - 4);
}

static void
test_damage_is_noticed(void **state)
{
	char key[APIKEY_LEN + 1], public_id[APIKEY_PUBLIC_LEN + 1], bad[APIKEY_LEN + 8], parsed[APIKEY_PUBLIC_LEN + 1];

	(void)state;
	apikey_new(&pepper, key, public_id);
	for (size_t i = 0; i < APIKEY_LEN; i++) {
		static const char others[] = { 'a', 'Z', '0', '_', ' ', '\n', '\x80', '\0' };

		for (size_t k = 0; k < sizeof(others); k++) {
			if (others[k] == key[i])
				continue;
			memcpy(bad, key, sizeof(key));
			bad[i] = others[k];
			assert_int_equal(apikey_parse(&pepper, bad, parsed), APIKEY_BAD);
		}
	}
	snprintf(bad, sizeof(bad), "%s ", key);
	assert_int_equal(apikey_parse(&pepper, bad, parsed), APIKEY_BAD);
	assert_int_equal(apikey_parse(&pepper, "", parsed), APIKEY_BAD);
	assert_int_equal(apikey_parse(&pepper, "rst_", parsed), APIKEY_BAD);
	assert_int_equal(apikey_parse(&pepper, "sk-ant-api03-anything", parsed), APIKEY_BAD);
}

/* Another instance's key is none, a key with a CRC32 is an old one, and what anybody can compute makes no new one. */
static void
test_check(void **state)
{
	static const char old[] = "rst_000000000000_00000000000000000000000000000000000000000004Y1KkE";
	const struct apikey_pepper other = { "salt" };
	char key[APIKEY_LEN + 1], public_id[APIKEY_PUBLIC_LEN + 1], parsed[APIKEY_PUBLIC_LEN + 1];

	(void)state;
	for (int i = 0; i < 200; i++) {
		apikey_new(&pepper, key, public_id);
		assert_int_equal(apikey_parse(&other, key, parsed), APIKEY_BAD);
	}
	assert_int_equal(apikey_parse(&pepper, old, parsed), APIKEY_OLD);
	assert_string_equal(parsed, "000000000000");
}

static void
test_hash(void **state)
{
	struct apikey_pepper p;
	char hex[APIKEY_HEX], other[APIKEY_HEX];

	(void)state;
	memset(p.bytes, 0x0b, sizeof(p.bytes));
	apikey_hash(&p, "what do ya want for nothing?", hex);
	assert_string_equal(hex, "c3f2649c34ea24e4d62a2c7e868bbea0233c9d4c2cc300794db76aa18d6822d8");
	assert_true(apikey_hash_equal(hex, hex));
	memcpy(other, hex, sizeof(hex));
	other[63] ^= 1;
	assert_false(apikey_hash_equal(hex, other));
	assert_false(apikey_hash_equal(hex, ""));
	assert_false(apikey_hash_equal(hex, "b9"));
}

static void
test_pepper_file(void **state)
{
	static const struct { const char *text; int want; } cases[] = {
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0 },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0 },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e", -1 },
		{ "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", -1 },
		{ "", -1 },
	};
	char path[] = "/tmp/roost-pepper-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct apikey_pepper p = { { 0xff } };
		struct err e = ERR_INIT;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), (int)strlen(cases[i].text));
		assert_int_equal(apikey_pepper_load(path, &p, &e), cases[i].want);
		if (cases[i].want == 0)
			assert_int_equal(p.bytes[31], 0x1f);
		else
			assert_int_equal(p.bytes[0], 0xff);
	}
	close(fd);
	unlink(path);
	struct apikey_pepper p;
	struct err e = ERR_INIT;
	assert_int_equal(apikey_pepper_load(path, &p, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damage_is_noticed),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_pepper_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
