/* Sealed credentials: round trip, tampering at each byte, swaps between rows, cuts, keys that were rotated, broken key folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "credopen.h"
#include "xalloc.h"

#define SECRET "s3cret-token-\xc3\xa9"

static char dir[] = "/tmp/roost-test-credseal-XXXXXX";
static char keys_dir[64], pub_path[64];

static const struct cred_bind row = { .organization = "org_1", .vault = "vlt_1", .credential = "vcrd_1", .type = "mcp_oauth",
    .slot = "access_token", .version = 7, .mcp_server_url = "https://mcp.example/a", .token_endpoint = "https://auth.example/t",
    .client_id = "me" };

static int
setup(void **state)
{
	char id[CREDSEAL_KEY_ID];
	struct err e = ERR_INIT;
	int made = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(keys_dir, sizeof keys_dir, "%s/keys", dir);
	snprintf(pub_path, sizeof pub_path, "%s/pub", dir);
	assert_int_equal(mkdir(keys_dir, 0700), 0);
	assert_null(credkeys_open(keys_dir, &e));
	assert_int_equal(e.kind, EK_NOT_FOUND);
	assert_int_equal(credkeys_make(keys_dir, pub_path, 1, id, &made, &e), 0);
	assert_int_equal(made, 1);
	return 0;
}

static int
teardown(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static char *
sealed(const struct cred_bind *b, const char *secret, char id[CREDSEAL_KEY_ID])
{
	struct err e = ERR_INIT;
	struct credseal_pub p;
	char *box = NULL;

	assert_int_equal(credseal_pub_load(pub_path, &p, &e), 0);
	assert_int_equal(credseal_secret(&p, b, secret, strlen(secret), &box, id, &e), 0);
	return box;
}

/* The kind of failure, EK_NONE when it opened as SECRET. */
static enum err_kind
opens(const struct credkeys *k, const struct cred_bind *b, const char *box)
{
	struct err e = ERR_INIT;
	char *out = NULL;
	size_t len = 0;

	if (cred_open_text(k, b, box, &out, &len, &e) < 0) {
		assert_null(out);
		assert_null(strstr(e.detail, SECRET));
		return e.kind;
	}
	assert_int_equal(len, strlen(SECRET));
	assert_string_equal(out, SECRET);
	sodium_free(out);
	return EK_NONE;
}

static void
test_round_trip(void **state)
{
	char id[CREDSEAL_KEY_ID], again_id[CREDSEAL_KEY_ID];
	AUTO(str) char *box = sealed(&row, SECRET, id);
	AUTO(str) char *again = sealed(&row, SECRET, again_id);
	struct err e = ERR_INIT;
	struct credkeys *k = credkeys_open(keys_dir, &e);

	(void)state;
	assert_non_null(k);
	assert_string_equal(id, again_id);
	assert_string_not_equal(box, again);	/* equal secrets cannot be told */
	assert_memory_equal(box + 4, id, strlen(id));
	assert_int_equal(opens(k, &row, box), EK_NONE);
	assert_int_equal(opens(k, &row, again), EK_NONE);
	credkeys_close(&k);
	assert_null(k);
	credkeys_close(&k);
}

/* A ciphertext in any other row, or in its own after the row was changed, opens nowhere. */
static void
test_swaps(void **state)
{
	struct cred_bind swaps[] = { row, row, row, row, row, row, row, row, row, row, row, row };
	char id[CREDSEAL_KEY_ID];
	AUTO(str) char *box = sealed(&row, SECRET, id);
	struct err e = ERR_INIT;
	struct credkeys *k = credkeys_open(keys_dir, &e);

	(void)state;
	swaps[0].organization = "org_2";
	swaps[1].vault = "vlt_2";
	swaps[2].credential = "vcrd_2";
	swaps[3].type = "static_bearer";
	swaps[4].slot = "refresh_token";
	swaps[5].version = 6;
	swaps[6].secret_name = "";
	swaps[7].mcp_server_url = "https://evil.example/a";
	swaps[8].token_endpoint = "https://evil.example/t";
	swaps[9].client_id = NULL;
	swaps[10].token_endpoint = "https://auth.example/tm", swaps[10].client_id = "e";	/* the same letters, divided otherwise */
	swaps[11].version = row.version + ((int64_t)1 << 32);
	for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++)
		assert_int_equal(opens(k, &swaps[i], box), EK_INTERNAL);
	assert_int_equal(opens(k, &row, box), EK_NONE);
	credkeys_close(&k);
}

static void
test_tampering(void **state)
{
	char id[CREDSEAL_KEY_ID];
	AUTO(str) char *box = sealed(&row, SECRET, id);
	struct err e = ERR_INIT;
	struct credkeys *k = credkeys_open(keys_dir, &e);
	size_t len = strlen(box);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		char was = box[i];

		box[i] = was == '0' ? '1' : '0';
		assert_int_not_equal(opens(k, &row, box), EK_NONE);
		box[i] = was;
	}
	for (size_t cut = 0; cut < len; cut++) {
		AUTO(str) char *part = xstrndup(box, cut);

		assert_int_not_equal(opens(k, &row, part), EK_NONE);
	}
	AUTO(str) char *longer = xasprintf("%s00", box);
	assert_int_equal(opens(k, &row, longer), EK_INTERNAL);
	assert_int_equal(opens(k, &row, ""), EK_INTERNAL);
	assert_int_equal(opens(k, &row, "\\x"), EK_INTERNAL);
	assert_int_equal(opens(k, &row, box), EK_NONE);
	credkeys_close(&k);
}

static void
test_sizes(void **state)
{
	AUTO(str) char *most = xmalloc(CREDSEAL_MAX + 2);
	AUTO(str) char *box = NULL;
	char id[CREDSEAL_KEY_ID], *out = NULL;
	struct err e = ERR_INIT;
	struct credkeys *k = credkeys_open(keys_dir, &e);
	struct credseal_pub p;
	size_t len = 0;

	(void)state;
	memset(most, 'x', CREDSEAL_MAX + 1);
	most[CREDSEAL_MAX + 1] = '\0';
	assert_int_equal(credseal_pub_load(pub_path, &p, &e), 0);
	assert_int_equal(credseal_secret(&p, &row, "", 0, &box, id, &e), -1);
	assert_int_equal(credseal_secret(&p, &row, most, CREDSEAL_MAX + 1, &box, id, &e), -1);
	assert_int_equal(credseal_secret(&p, &row, most, CREDSEAL_MAX, &box, id, &e), 0);
	assert_int_equal(cred_open_text(k, &row, box, &out, &len, &e), 0);
	assert_int_equal(len, CREDSEAL_MAX);
	assert_memory_equal(out, most, CREDSEAL_MAX);
	sodium_free(out);
	credkeys_close(&k);
}

/* A new key seals; the old one opens what it sealed, until its file is gone. */
static void
test_rotation(void **state)
{
	char old_id[CREDSEAL_KEY_ID], new_id[CREDSEAL_KEY_ID], made_id[CREDSEAL_KEY_ID], kept_id[CREDSEAL_KEY_ID];
	AUTO(str) char *old = sealed(&row, SECRET, old_id);
	AUTO(str) char *new = NULL;
	AUTO(str) char *path = xasprintf("%s/%s.key", keys_dir, old_id);
	struct err e = ERR_INIT;
	struct credkeys *k;
	struct stat st;
	int made = 1;

	(void)state;
	assert_int_equal(credkeys_make(keys_dir, pub_path, 1, kept_id, &made, &e), 0);
	assert_int_equal(made, 0);
	assert_string_equal(kept_id, old_id);
	assert_int_equal(credkeys_make(keys_dir, pub_path, 0, made_id, &made, &e), 0);
	assert_int_equal(made, 1);
	new = sealed(&row, SECRET, new_id);
	assert_string_equal(new_id, made_id);
	assert_string_not_equal(new_id, old_id);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0440);
	k = credkeys_open(keys_dir, &e);
	assert_int_equal(opens(k, &row, old), EK_NONE);
	assert_int_equal(opens(k, &row, new), EK_NONE);
	credkeys_close(&k);
	assert_int_equal(unlink(path), 0);
	k = credkeys_open(keys_dir, &e);
	assert_int_equal(opens(k, &row, old), EK_UNAVAILABLE);
	assert_int_equal(opens(k, &row, new), EK_NONE);
	credkeys_close(&k);
}

/* What must not pass for a folder of keys: a key under another's name, a cut one, a current key that is not there. */
static void
test_broken(void **state)
{
	AUTO(str) char *wrong = xasprintf("%s/0123456789abcdef.key", keys_dir);
	char id[CREDSEAL_KEY_ID];
	struct err e = ERR_INIT;
	FILE *f = fopen(wrong, "we");

	(void)state;
	assert_non_null(f);
	for (int i = 0; i < 32; i++)
		assert_true(fputs("42", f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_null(credkeys_open(keys_dir, &e));
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	assert_int_equal(truncate(wrong, 10), 0);
	assert_null(credkeys_open(keys_dir, &e));
	assert_int_equal(credkeys_make(keys_dir, pub_path, 1, id, NULL, &e), -1);
	assert_int_equal(unlink(wrong), 0);
	assert_int_equal(unlink(pub_path), 0);
	assert_int_equal(credkeys_make(keys_dir, pub_path, 1, id, NULL, &e), -1);	/* which is current is not guessed */
	assert_int_equal(credkeys_make(keys_dir, pub_path, 0, id, NULL, &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_swaps),
		cmocka_unit_test(test_tampering),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
