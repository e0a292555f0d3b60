/* Sealing: round trip, what must not open, and the key files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seal.h"

static char dir[] = "/tmp/roost-test-seal-XXXXXX";
static char key_path[64], pub_path[64];

static int
setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(key_path, sizeof(key_path), "%s/k", dir);
	snprintf(pub_path, sizeof(pub_path), "%s/p", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(key_path);
	unlink(pub_path);
	rmdir(dir);
	return 0;
}

static void
test_files(void **state)
{
	struct err e = ERR_INIT;
	struct seal_key k, again;
	struct seal_pub p;
	struct stat st;
	int made;
	FILE *f;

	(void)state;
	assert_int_equal(seal_keygen(key_path, pub_path, &made, &e), 0);
	assert_int_equal(made, 1);
	assert_int_equal(stat(key_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(stat(pub_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(seal_load_key(key_path, &k, &e), 0);
	assert_int_equal(seal_load_pub(pub_path, &p, &e), 0);
	assert_memory_equal(k.pub, p.pub, sizeof(p.pub));
	/* kept, and a lost public half comes back */
	unlink(pub_path);
	assert_int_equal(seal_keygen(key_path, pub_path, &made, &e), 0);
	assert_int_equal(made, 0);
	assert_int_equal(seal_load_key(key_path, &again, &e), 0);
	assert_memory_equal(k.key, again.key, sizeof(k.key));
	assert_int_equal(seal_load_pub(pub_path, &p, &e), 0);
	assert_memory_equal(k.pub, p.pub, sizeof(p.pub));
	/* a truncated or foreign file is refused by name */
	unlink(pub_path);
	f = fopen(pub_path, "w");
	fputs("0123", f);
	fclose(f);
	assert_int_equal(seal_load_pub(pub_path, &p, &e), -1);
	assert_non_null(strstr(e.pub, pub_path));
	assert_int_equal(seal_keygen(key_path, pub_path, &made, &e), -1);
	unlink(pub_path);
	assert_int_equal(seal_load_pub(pub_path, &p, &e), -1);
	assert_int_equal(e.sys, ENOENT);
	assert_int_equal(seal_keygen(key_path, pub_path, NULL, &e), 0);
}

static void
test_boxes(void **state)
{
	struct err e = ERR_INIT;
	struct seal_key k, other = { { 1 }, { 2 } };
	struct seal_pub p;
	AUTO(str) char *box = NULL;
	AUTO(str) char *second = NULL;
	char out[64], mark[SEAL_MARK], same[SEAL_MARK];

	(void)state;
	assert_int_equal(seal_load_key(key_path, &k, &e), 0);
	assert_int_equal(seal_load_pub(pub_path, &p, &e), 0);
	assert_int_equal(seal_text(&p, "for lab", "sk-1", &box, &e), 0);
	assert_int_equal(seal_text(&p, "for lab", "sk-1", &second, &e), 0);
	assert_string_not_equal(box, second);
	assert_int_equal(seal_open(&k, "for lab", box, out, sizeof(out), &e), 0);
	assert_string_equal(out, "sk-1");
	assert_int_equal(seal_open(&k, "for lab", box, out, 5, &e), 0);
	assert_int_equal(seal_open(&k, "for lab", box, out, 4, &e), -1);
	assert_string_equal(out, "");
	assert_int_equal(seal_open(&k, "for lob", box, out, sizeof(out), &e), -1);
	assert_int_equal(seal_open(&other, "for lab", box, out, sizeof(out), &e), -1);
	assert_int_equal(seal_open(&k, "for lab", "", out, sizeof(out), &e), -1);
	assert_int_equal(seal_open(&k, "for lab", "zz", out, sizeof(out), &e), -1);
	box[10] = box[10] == '0' ? '1' : '0';
	assert_int_equal(seal_open(&k, "for lab", box, out, sizeof(out), &e), -1);
	seal_mark(&p, "for lab", "sk-1", mark);
	seal_mark(&p, "for lab", "sk-1", same);
	assert_string_equal(mark, same);
	seal_mark(&p, "for lab", "sk-2", same);
	assert_string_not_equal(mark, same);
	seal_mark(&p, "for lob", "sk-1", same);
	assert_string_not_equal(mark, same);
	seal_wipe(&k);
	assert_int_equal(k.key[0] | k.key[31], 0);
}

static void
test_too_long(void **state)
{
	struct err e = ERR_INIT;
	struct seal_pub p;
	char *text = calloc(1, SEAL_TEXT_MAX + 2), *box = NULL, *out = malloc(SEAL_TEXT_MAX + 1);
	struct seal_key k;

	(void)state;
	assert_int_equal(seal_load_key(key_path, &k, &e), 0);
	assert_int_equal(seal_load_pub(pub_path, &p, &e), 0);
	memset(text, 'x', SEAL_TEXT_MAX);
	assert_int_equal(seal_text(&p, "", text, &box, &e), 0);
	assert_int_equal(seal_open(&k, "", box, out, SEAL_TEXT_MAX + 1, &e), 0);
	assert_string_equal(out, text);
	free(box);
	text[SEAL_TEXT_MAX] = 'x';
	assert_int_equal(seal_text(&p, "", text, &box, &e), -1);
	free(text);
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_files), cmocka_unit_test(test_boxes), cmocka_unit_test(test_too_long) };

	return cmocka_run_group_tests_name("seal", tests, setup, teardown);
}
