/* Questions over a unix socket: answers, refusals, and what stands in their place. The peer's answer lies in the socket before we ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ask.h"
#include "clock.h"

#define MAX 256
#define SILENT_MS 50		/* how long a peer that says nothing is waited for, */
#define LATE_MS 20000		/* and one that has said something, or has gone: it is there */

static json_t *unasked;		/* what *out holds before */

/* Ask a peer that has answered `text` (NULL: nothing) and has gone, or stays silent. */
static int
ask(const char *text, size_t len, int stays, json_t **out, struct err *e)
{
	struct err sending = ERR_INIT;
	int fd[2], rc;

	*out = unasked;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	if (text)
		assert_int_equal(ask_send(fd[1], text, len, clock_mono_ms() + LATE_MS, &sending), 0);
	if (!stays)
		close(fd[1]);
	rc = ask_json(fd[0], "{\"op\":\"x\"}", MAX, clock_mono_ms() + (text || !stays ? LATE_MS : SILENT_MS), out, e);
	close(fd[0]);
	if (stays)
		close(fd[1]);
	return rc;
}

static void
fails(const char *text, int stays, enum err_kind kind)
{
	struct err e = ERR_INIT;
	json_t *out;

	assert_int_equal(ask(text, text ? strlen(text) : 0, stays, &out, &e), -1);
	assert_int_equal(e.kind, kind);
	assert_null(strstr(e.detail, "hidden"));
	assert_ptr_equal(out, unasked);
}

static void
answers(void **state)
{
	struct err e = ERR_INIT;
	json_t *out;

	(void)state;
	for (int stays = 0; stays < 2; stays++) {
		assert_int_equal(ask("{\"n\":3}", 7, stays, &out, &e), 0);
		assert_int_equal(e.kind, EK_NONE);	/* also when the question could not be sent any more */
		assert_int_equal(jx_int(out, "n", 0), 3);
		json_decref(out);
	}
}

static void
refusals(void **state)
{
	struct buf b = BUF_INIT(0);

	(void)state;
	for (int kind = EK_NONE + 1; kind < EK_COUNT; kind++) {
		ask_refuse(&b, (enum err_kind)kind);
		fails(b.data, 0, (enum err_kind)kind);
	}
	buf_free(&b);
	fails("{\"error\":\"unheard of\"}", 1, EK_INTERNAL);
}

static void
faults(void **state)
{
	char large[MAX + 2];

	(void)state;
	fails("[1]", 1, EK_INTERNAL);
	fails("hidden", 1, EK_INTERNAL);
	fails("{\"hidden\":", 0, EK_INTERNAL);
	fails(NULL, 1, EK_TIMEOUT);
	fails(NULL, 0, EK_UNAVAILABLE);
	memset(large, ' ', sizeof large);
	large[sizeof large - 1] = '\0';
	fails(large, 1, EK_TOO_LARGE);
}

/* Nobody is there: it is given up when the time is up. */
static void
not_reached(void **state)
{
	int64_t began = clock_mono_ms();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(ask_reach("/nowhere/at/all", began + 200, &e), -1);
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	assert_in_range(clock_mono_ms() - began, 100, LATE_MS);
	assert_int_equal(ask_reach("/nowhere/at/all", began, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers), cmocka_unit_test(refusals), cmocka_unit_test(faults), cmocka_unit_test(not_reached) };

	unasked = json_object();
	return cmocka_run_group_tests(tests, NULL, NULL) + (json_decref(unasked), 0);
}
