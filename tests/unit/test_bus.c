/*
 * The formats of the Redis streams: what entry_*_cmd writes, entry_*_read understands; malformed entries are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus.h"
#include "entry.h"

/* The field part of an XADD command as a reader would get it: after XADD stream MAXLEN ~ n *. */
static int
as_fields(const struct entry_cmd *c, struct busq_field *f)
{
	int n = 0;

	assert_string_equal(c->argv[0], "XADD");
	assert_string_equal(c->argv[5], "*");
	assert_int_equal((c->argc - 6) % 2, 0);
	for (int i = 6; i < c->argc; i += 2)
		f[n++] = (struct busq_field){ c->argv[i], c->argv[i + 1], c->len[i + 1] };
	return n;
}

static void
job_round_trip(void **state)
{
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_job j;

	entry_job_cmd(&c, "sesn_1", NULL);
	assert_string_equal(c.argv[1], "jobs");
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), 0);
	assert_string_equal(j.session, "sesn_1");
	assert_null(j.owner);
	entry_job_cmd(&c, "sesn_1", "wrk-7");
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), 0);
	assert_string_equal(j.owner, "wrk-7");
}

static void
event_round_trip(void **state)
{
	static const char body[] = "{\"id\":\"sevt_1\",\"text\":\"a b\"}";
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_event ev;

	entry_event_cmd(&c, "sesn_1", "agent.message", 42, body, strlen(body));
	assert_string_equal(c.argv[1], "sse:0");
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_string_equal(ev.session, "sesn_1");
	assert_string_equal(ev.type, "agent.message");
	assert_int_equal(ev.seq, 42);
	assert_int_equal(ev.len, strlen(body));
	assert_memory_equal(ev.body, body, ev.len);
}

static void
large_body_is_left_out(void **state)
{
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_event ev;
	char *big = malloc(BUS_BODY_MAX + 1);

	memset(big, 'x', BUS_BODY_MAX + 1);
	entry_event_cmd(&c, "sesn_1", "agent.message", 7, big, BUS_BODY_MAX + 1);
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_int_equal(ev.len, 0);
	assert_int_equal(ev.seq, 7);
	entry_event_cmd(&c, "sesn_1", "agent.message", 7, big, BUS_BODY_MAX);
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_int_equal(ev.len, BUS_BODY_MAX);
	free(big);
}

static void
preview_has_no_seq(void **state)
{
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_event ev;

	entry_event_cmd(&c, "sesn_1", "event_start", 0, "{}", 2);
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_int_equal(ev.seq, 0);
	assert_int_equal(ev.len, 2);
	assert_true(ev.writer == 0);
	entry_mark(&c, UINT64_MAX, INT64_MAX);
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_true(ev.writer == UINT64_MAX);
	assert_true(ev.number == INT64_MAX);
}

static void
cuts(void **state)
{
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_event ev;
	char *big = calloc(1, BUS_PREVIEW_MAX + 1);

	entry_event_cmd(&c, "sesn_1", "event_delta", 0, big, BUS_PREVIEW_MAX + 1);
	assert_int_equal(entry_event_read(f, as_fields(&c, f), &ev), 0);
	assert_int_equal(ev.len, 0);
	free(big);
}

#define F(k, v) { k, v, sizeof(v) - 1 }

static const struct { const char *name; struct busq_field f[4]; int n; } bad_events[] = {
	{ "no session",             { F("t", "x"), F("q", "1"), F("p", "{}") }, 3 },
	{ "empty session",          { F("s", ""), F("t", "x"), F("q", "1") }, 3 },
	{ "no type",                { F("s", "a"), F("q", "1"), F("p", "{}") }, 3 },
	{ "seq is not a number",    { F("s", "a"), F("t", "x"), F("q", "1x") }, 3 },
	{ "seq is negative",        { F("s", "a"), F("t", "x"), F("q", "-1") }, 3 },
	{ "seq overflows",          { F("s", "a"), F("t", "x"), F("q", "99999999999999999999") }, 3 },
	{ "number is none",         { F("s", "a"), F("t", "x"), F("n", "zz-1"), F("p", "{}") }, 4 },
	{ "nothing",                { F("z", "") }, 0 },
};

static void
malformed_events(void **state)
{
	struct entry_event ev;

	for (size_t i = 0; i < sizeof bad_events / sizeof *bad_events; i++)
		if (entry_event_read(bad_events[i].f, bad_events[i].n, &ev) == 0)
			fail_msg("accepted: %s", bad_events[i].name);
}

static void
unknown_fields_are_skipped(void **state)
{
	struct busq_field f[] = { F("new", "1"), F("s", "a"), F("t", "x"), F("q", "3"), F("p", "{}") };
	struct entry_event ev;

	assert_int_equal(entry_event_read(f, 5, &ev), 0);
	assert_int_equal(ev.seq, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(job_round_trip),
		cmocka_unit_test(event_round_trip),
		cmocka_unit_test(large_body_is_left_out),
		cmocka_unit_test(preview_has_no_seq),
		cmocka_unit_test(cuts),
		cmocka_unit_test(malformed_events),
		cmocka_unit_test(unknown_fields_are_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
