/*
 * The formats of the Redis streams: what entry_*_cmd writes, entry_*_read understands; malformed entries are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus.h"
#include "entry.h"
#include "replymem.h"

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

	entry_job_cmd(&c, "wrkspc_1", "sesn_1", NULL);
	assert_string_equal(c.argv[1], "jobs");
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), 0);
	assert_string_equal(j.workspace, "wrkspc_1");
	assert_string_equal(j.session, "sesn_1");
	assert_null(j.owner);
	entry_job_cmd(&c, "wrkspc_1", "sesn_1", "wrk-7");
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), 0);
	assert_string_equal(j.owner, "wrk-7");
	entry_job_cmd(&c, "", "sesn_1", NULL);
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), -1);
	entry_job_cmd(&c, "wrkspc_1", "", NULL);
	assert_int_equal(entry_job_read(f, as_fields(&c, f), &j), -1);
}

/* What the one item of an entry tells. */
static struct entry_event
only(const struct entry_cmd *c)
{
	struct busq_field f[8];
	struct entry_events all;
	struct entry_event ev, none;

	assert_int_equal(entry_events_read(f, as_fields(c, f), &all), 0);
	assert_string_equal(all.session, "sesn_1");
	assert_true(entry_events_next(&all, &ev));
	assert_false(entry_events_next(&all, &none));
	return ev;
}

static void
event_round_trip(void **state)
{
	static const char body[] = "{\"id\":\"sevt_1\",\"text\":\"a b\"}";
	struct entry_cmd c;
	struct entry_event ev;

	entry_event_cmd(&c, "sesn_1", "agent.message", 42, body, strlen(body));
	assert_string_equal(c.argv[1], "sse:0");
	ev = only(&c);
	assert_string_equal(ev.type, "agent.message");
	assert_int_equal(ev.seq, 42);
	assert_int_equal(ev.len, strlen(body));
	assert_memory_equal(ev.body, body, ev.len);
}

static void
large_body_is_left_out(void **state)
{
	struct entry_cmd c;
	char *big = malloc(BUS_BODY_MAX + 1);

	memset(big, 'x', BUS_BODY_MAX + 1);
	entry_event_cmd(&c, "sesn_1", "agent.message", 7, big, BUS_BODY_MAX + 1);
	assert_int_equal(only(&c).len, 0);
	assert_int_equal(only(&c).seq, 7);
	entry_event_cmd(&c, "sesn_1", "agent.message", 7, big, BUS_BODY_MAX);
	assert_int_equal(only(&c).len, BUS_BODY_MAX);
	free(big);
}

static void
cuts(void **state)
{
	struct entry_cmd c;
	char *big = calloc(1, BUS_PREVIEW_MAX + 1);

	entry_event_cmd(&c, "sesn_1", "event_delta", 0, big, BUS_PREVIEW_MAX + 1);
	assert_int_equal(only(&c).len, 0);
	assert_int_equal(only(&c).seq, 0);
	free(big);
}

static void
a_pack_of_one_is_a_plain_entry(void **state)
{
	struct entry_pack p = { 0 };
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_events all;

	assert_true(entry_pack_add(&p, "sesn_1", "event_start", 0, "{}", 2));
	entry_pack_cmd(&c, &p, UINT64_MAX, INT64_MAX);
	assert_int_equal(only(&c).seq, 0);
	assert_int_equal(only(&c).len, 2);
	assert_string_equal(only(&c).body, "{}");
	assert_int_equal(entry_events_read(f, as_fields(&c, f), &all), 0);
	assert_true(all.writer == UINT64_MAX);
	assert_true(all.number == INT64_MAX);
	assert_int_equal(all.previews, 1);
	entry_pack_reset(&p);
	assert_true(entry_pack_add(&p, "sesn_1", "agent.message", 3, "{}", 2));
	entry_pack_cmd(&c, &p, UINT64_MAX, INT64_MAX);
	assert_int_equal(c.argc, 14);
	assert_int_equal(only(&c).seq, 3);
	buf_free(&p.text);
}

/* Bytes of every kind come back, in order; a reader that knows only the plain form learns the last event's number. */
static void
pack_round_trip(void **state)
{
	static const struct { const char *type; int64_t seq; const char *body; size_t len; } items[] = {
		{ "user.message", 7, "{\"a\":\"\n 1 2 x\"}", 15 }, { "event_start", 0, "{}", 2 }, { "agent.message", 8, "", 0 },
		{ "event_delta", 0, "a\0b", 3 }, { "session.status_idle", 9, "{}", 2 }, { "event_delta", 0, "", 0 },
	};
	struct entry_pack p = { 0 };
	struct entry_cmd c;
	struct busq_field f[8];
	struct entry_events all;
	struct entry_event ev;
	int n = sizeof items / sizeof *items;

	for (int i = 0; i < n; i++)
		assert_true(entry_pack_add(&p, "sesn_1", items[i].type, items[i].seq, items[i].body, items[i].len));
	assert_false(entry_pack_add(&p, "sesn_2", "x", 1, "{}", 2));
	entry_pack_cmd(&c, &p, 5, 21);
	assert_int_equal(entry_events_read(f, as_fields(&c, f), &all), 0);
	assert_string_equal(all.session, "sesn_1");
	assert_true(all.writer == 5);
	assert_int_equal(all.number, 21);
	assert_int_equal(all.previews, 3);
	assert_int_equal(all.one.seq, 9);
	assert_string_equal(all.one.type, "session.status_idle");
	assert_int_equal(all.one.len, 0);
	for (int i = 0; i < n; i++) {
		assert_true(entry_events_next(&all, &ev));
		assert_string_equal(ev.type, items[i].type);
		assert_int_equal(ev.seq, items[i].seq);
		assert_int_equal(ev.len, items[i].len);
		assert_memory_equal(ev.body, items[i].body, ev.len);
	}
	assert_false(entry_events_next(&all, &ev));
	buf_free(&p.text);
}

static void
packs_are_bounded(void **state)
{
	struct entry_pack p = { 0 };
	char *big = malloc(BUS_BODY_MAX + 1);
	int n = 0;

	memset(big, 'x', BUS_BODY_MAX + 1);
	while (entry_pack_add(&p, "sesn_1", "agent.message", n + 1, big, 1000))
		n++;
	assert_in_range(n, 15, 16);
	assert_in_range(p.text.len, 15000, BUS_BODY_MAX);
	entry_pack_reset(&p);
	assert_true(entry_pack_add(&p, "sesn_1", "agent.message", 1, big, BUS_BODY_MAX));	/* alone it may be as large */
	assert_false(entry_pack_add(&p, "sesn_1", "agent.message", 2, "{}", 2));
	entry_pack_reset(&p);
	assert_true(entry_pack_add(&p, "sesn_1", "agent.message", 1, big, BUS_BODY_MAX + 1));
	assert_true(p.text.len < 100);
	buf_free(&p.text);
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
	{ "item without a length",  { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "x 1 t\0{}\0") }, 4 },
	{ "item without a number",  { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "2 t\0{}\0") }, 4 },
	{ "item with a negative one", { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "2 -1 t\0{}\0") }, 4 },
	{ "item without a type",    { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "2 1 \0{}\0") }, 4 },
	{ "item cut in its type",   { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "2 1 t") }, 4 },
	{ "item cut in its body",   { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "9 1 t\0{}\0") }, 4 },
	{ "item longer than said",  { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "1 1 t\0{}\0") }, 4 },
	{ "item with a huge length", { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "18446744073709551615 1 t\0{}\0") }, 4 },
	{ "second item is none",    { F("s", "a"), F("t", "x"), F("q", "1"), F("e", "2 1 t\0{}\0oops") }, 4 },
};

static void
malformed_events(void **state)
{
	struct entry_events ev;

	for (size_t i = 0; i < sizeof bad_events / sizeof *bad_events; i++)
		if (entry_events_read(bad_events[i].f, bad_events[i].n, &ev) == 0)
			fail_msg("accepted: %s", bad_events[i].name);
}

static void
unknown_fields_are_skipped(void **state)
{
	struct busq_field f[] = { F("new", "1"), F("s", "a"), F("t", "x"), F("q", "3"), F("p", "{}") };
	struct entry_events all;

	assert_int_equal(entry_events_read(f, 5, &all), 0);
	assert_int_equal(all.one.seq, 3);
}

/* Replies of every kind, cut anywhere, larger than what is kept, one after the other in the same memory. */
static void
replies_in_one_piece(void **state)
{
	static const char text[] = "*5\r\n$3\r\na\0b\r\n:7\r\n$-1\r\n*-1\r\n*2\r\n+OK\r\n*0\r\n";
	struct replymem all = { 0 };
	redisContext rc = { .reader = redisReaderCreate() };
	size_t big = 100000;
	char *large = malloc(big + 32);
	void *got = NULL;
	redisReply *r;
	int n;

	replymem_use(&all, &rc);
	for (size_t cut = 0; cut < sizeof text; cut++) {
		assert_int_equal(redisReaderFeed(rc.reader, text, cut), REDIS_OK);
		assert_int_equal(redisReaderGetReply(rc.reader, &got), REDIS_OK);
		assert_true(cut == sizeof text - 1 || !got);
		assert_int_equal(redisReaderFeed(rc.reader, text + cut, sizeof text - 1 - cut), REDIS_OK);
		if (!got)
			assert_int_equal(redisReaderGetReply(rc.reader, &got), REDIS_OK);
		r = got;
		assert_non_null(r);
		assert_int_equal(r->elements, 5);
		assert_memory_equal(r->element[0]->str, "a\0b", 4);
		assert_int_equal(r->element[0]->len, 3);
		assert_int_equal(r->element[1]->integer, 7);
		assert_int_equal(r->element[2]->type, REDIS_REPLY_NIL);
		assert_int_equal(r->element[3]->type, REDIS_REPLY_NIL);
		assert_string_equal(r->element[4]->element[0]->str, "OK");
		assert_int_equal(r->element[4]->element[1]->elements, 0);
		replymem_reset(&all);
	}
	n = snprintf(large, big + 32, "$%zu\r\n", big);
	memset(large + n, 'x', big);
	memcpy(large + n + big, "\r\n", 2);
	assert_int_equal(redisReaderFeed(rc.reader, large, (size_t)n + big + 2), REDIS_OK);
	assert_int_equal(redisReaderGetReply(rc.reader, &got), REDIS_OK);
	assert_int_equal(((redisReply *)got)->len, big);
	replymem_reset(&all);
	assert_int_equal(redisReaderFeed(rc.reader, "*2\r\n$1\r\n", 8), REDIS_OK);	/* the connection ends in the middle of one */
	assert_int_equal(redisReaderGetReply(rc.reader, &got), REDIS_OK);
	assert_null(got);
	redisReaderFree(rc.reader);
	replymem_free(&all);
	replymem_free(&all);
	free(large);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(job_round_trip),
		cmocka_unit_test(event_round_trip),
		cmocka_unit_test(large_body_is_left_out),
		cmocka_unit_test(cuts),
		cmocka_unit_test(a_pack_of_one_is_a_plain_entry),
		cmocka_unit_test(pack_round_trip),
		cmocka_unit_test(packs_are_bounded),
		cmocka_unit_test(malformed_events),
		cmocka_unit_test(unknown_fields_are_skipped),
		cmocka_unit_test(replies_in_one_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
