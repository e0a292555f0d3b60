/* link: tests/env/stream_rig.c */
/*
 * Resuming a stream: Last-Event-ID and ?after= against roost-stream itself. No event twice, none left out, at any place where a client
 * may have stopped; long logs cost the process a bounded piece of memory and nobody else any time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "../../env/stream_rig.h"

#define AT_ONCE_MS 5000		/* not behind those who do not read */

#ifdef __SANITIZE_ADDRESS__
#define MEMORY_TIMES 100		/* what was freed stays resident there */
#else
#define MEMORY_TIMES 1
#endif

#define LONG 100000
#define SLOW 100
#define LARGE 40
#define LARGE_BYTES (4 << 20)

static struct sr_client
resume(const char *query, const char *header)
{
	struct sr_client c = sr_ask_at(SR_GET(sr_path(query)), 0, header);

	sr_expect(&c, "Status: 200 OK");
	return c;
}

static void
refused(const char *query, const char *header, const char *text)
{
	struct sr_client c = sr_ask_at(SR_GET(sr_path(query)), 0, header);

	sr_expect_end(&c);
	if (!sr_heard(&c, "Status: 400") || !sr_heard(&c, "invalid_request_error") || !sr_heard(&c, text))
		fail_msg("%s, %s: wanted %s, got %s", query, header, text, c.text.data);
	sr_hang_up(&c);
}

/* The id of an event as sr_commit makes it. */
static const char *
id_of(int n)
{
	static char id[32];
	char digits[16];

	snprintf(digits, sizeof digits, "%d", n);
	for (char *p = digits; *p; p++)
		*p = *p == '0' ? 'Z' : *p;
	snprintf(id, sizeof id, "sevt_01%.*s%s", 22 - (int)strlen(digits), "AAAAAAAAAAAAAAAAAAAAAA", digits);
	return id;
}

static void
values(void **state)
{
	char other[64], query[80];

	sr_new_session();
	sr_commit_many("x", 3, 0);
	snprintf(other, sizeof other, "%s", id_of(3));
	refused("?after=", NULL, "after: must be");
	refused("?after=-1", NULL, "after: must be");
	refused("?after=1&after=2", NULL, "after: given more than once");
	refused("?after=99999999999999999999", NULL, "after: must be");
	refused("", "2.0", "Last-Event-ID: must be");
	refused("?after=x", "2", "after: must be");
	refused("", id_of(4), "Last-Event-ID: no event sevt_01");
	sr_new_session();
	sr_commit_many("x", 2, 0);
	snprintf(query, sizeof query, "?after=%s", other);
	refused(query, NULL, "after: no event sevt_01");	/* another session's */
}

static void
from_any_place(void **state)
{
	static const struct { const char *query, *header; int first; } cases[] = {
		{ "?after=0", NULL, 1 }, { "?after=4", NULL, 5 }, { "", "4", 5 }, { "", "0", 1 }, { "?after=0", "7", 8 },
		{ "?after=10", NULL, 11 }, { "", "10", 11 }, { "", NULL, 11 },
		{ "?after=11", NULL, 11 }, { "", "500", 11 },		/* beyond the end: live */
	};
	char query[80];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sr_client c;

		sr_new_session();
		sr_commit_many("x", 10, 0);
		c = resume(cases[i].query, cases[i].header);
		sr_expect(&c, "event: ping\n");
		assert_int_equal(c.last - c.events, cases[i].first - 1);	/* where it begins; events may have come with the ping */
		sr_emit("x");
		sr_expect_seq(&c, 11, SR_SOON_MS);
		assert_int_equal(c.events, 11 - cases[i].first + 1);
		sr_hang_up(&c);
	}
	for (int i = 1; i <= 11; i += 5) {				/* of the last session: the ids of events */
		struct sr_client c;

		snprintf(query, sizeof query, "?after=%s", id_of(i));
		c = i == 6 ? resume("", id_of(i)) : resume(query, NULL);
		sr_expect_seq(&c, 11, SR_SOON_MS);
		assert_int_equal(c.events, 11 - i);
		sr_hang_up(&c);
	}
}

static atomic_bool writing;

/* Events come while a client reads what it missed. */
static void *
writer(void *arg)
{
	for (int i = 0; i < 300; i++) {
		sr_commit(i % 10 == 3 ? "lost" : "x", i % 50 == 7 ? 40000 : 0);
		if (i % 10 != 3)
			sr_publish("x", sr_last_seq, i % 50 == 7 ? "" : NULL);
	}
	writing = false;
	return NULL;
}

static void
no_seam_between_log_and_live(void **state)
{
	struct sr_client c[8];
	pthread_t t;

	sr_new_session();
	sr_commit_many("old", 3000, 200);
	writing = true;
	assert_int_equal(pthread_create(&t, NULL, writer, NULL), 0);
	for (int i = 0; i < 8; i++)
		c[i] = sr_open_at(i % 2, i * 420);
	while (writing)
		for (int i = 0; i < 8; i++)
			sr_hear(&c[i], 1);
	pthread_join(t, NULL);
	for (int i = 0; i < 8; i++) {
		sr_expect_seq(&c[i], 3300, SR_SOON_MS);
		assert_int_equal(c[i].events, 3300 - i * 420);
		sr_hang_up(&c[i]);
	}
}

/* F44: in bounded memory, while others of the same session get what is new at once. */
static void
a_long_log(void **state)
{
	struct sr_client stuck[6], fast, live;
	int64_t before, took;

	sr_new_session();
	sr_commit_many("old", LONG, 150);
	live = sr_open_at(0, -1);
	fast = sr_open_at(0, LONG - 2);			/* warm */
	sr_expect_seq(&fast, LONG, SR_SOON_MS);
	sr_hang_up(&fast);
	before = sr_hub_memory(0);
	for (int i = 0; i < 6; i++)			/* do not read what they asked for */
		stuck[i] = sr_open_at(0, 0);
	fast = sr_open_at(0, 0);
	fast.forget = true;
	sr_emit("new");
	took = sr_expect_seq(&live, LONG + 1, SR_SOON_MS);
	assert_in_range(took, 0, AT_ONCE_MS);
	sr_commit("lost", 0);				/* found by the round, though others are far behind */
	took = sr_expect_seq(&live, LONG + 2, SR_SOON_MS);
	assert_in_range(took, 0, SR_SOON_MS);
	took = sr_expect_seq(&fast, LONG + 2, 4 * SR_SOON_MS);
	assert_int_equal(fast.events, LONG + 2);
	print_message("# 100,000 events replayed in %d ms; the hub grew by %d kB\n", (int)took, (int)((sr_hub_memory(0) - before) / 1024));
	assert_in_range(sr_hub_memory(0) - before, 0, MEMORY_TIMES * (6 << 20));
	for (int i = 0; i < 6; i++)
		sr_hang_up(&stuck[i]);
	sr_hang_up(&fast);
	sr_hang_up(&live);
}

/* F34: many who hardly read are cut, in bounded memory; what they come back for is still there. */
static void
slow_readers(void **state)
{
	struct sr_client slow[SLOW], live;
	int64_t before, took;
	int cut = 0;

	sr_new_session();
	sr_commit_many("old", 20000, 500);
	live = sr_open_at(0, -1);
	before = sr_hub_memory(0);
	for (int i = 0; i < SLOW; i++)
		slow[i] = sr_open_at(0, 0);
	sr_emit("new");
	took = sr_expect_seq(&live, 20001, SR_SOON_MS);
	assert_in_range(took, 0, SR_SOON_MS);
	print_message("# %d slow readers: the hub grew by %d kB\n", SLOW, (int)((sr_hub_memory(0) - before) / 1024));
	assert_in_range(sr_hub_memory(0) - before, 0, (int64_t)MEMORY_TIMES * SLOW * (65536 + 131072 + 65536));
	for (int i = 0; i < SLOW; i++) {
		struct pollfd p = { .fd = slow[i].fd };

		cut += poll(&p, 1, SR_SOON_MS) == 1 && (p.revents & POLLHUP);
	}
	assert_int_equal(cut, SLOW);
	while (!slow[0].closed)
		sr_hear(&slow[0], SR_SOON_MS);
	assert_in_range(slow[0].events, 1, 19999);
	sr_come_again(&slow[0], 0);
	slow[0].forget = true;
	sr_expect_seq(&slow[0], 20001, 2 * SR_SOON_MS);
	assert_int_equal(slow[0].events, 20001);
	for (int i = 0; i < SLOW; i++)
		sr_hang_up(&slow[i]);
	sr_hang_up(&live);
}

/* An event that is larger than the socket takes is kept once per slow reader: all of them together have one limit. */
static void
slow_readers_of_large_events(void **state)
{
	int64_t before, held, most = 0, until = clock_mono_ms() + 2 * SR_SOON_MS;
	struct sr_client slow[LARGE], live;
	int cut = 0;

	sr_new_session();
	sr_commit("large", LARGE_BYTES);
	live = sr_open_at(0, -1);
	before = sr_hub_memory(0);
	for (int i = 0; i < LARGE; i++)
		slow[i] = sr_open_at(0, 0);
	sr_emit("new");
	assert_in_range(sr_expect_seq(&live, 2, SR_SOON_MS), 0, SR_SOON_MS);
	while (cut < LARGE && clock_mono_ms() < until) {
		struct pollfd p = { .fd = slow[cut].fd };

		cut += poll(&p, 1, 10) == 1 && (p.revents & POLLHUP);
		held = sr_hub_memory(0) - before;
		most = held > most ? held : most;
	}
	print_message("# %d slow readers of %d MB: the hub grew by %d MB\n", LARGE, LARGE_BYTES >> 20, (int)(most >> 20));
	assert_int_equal(cut, LARGE);
	assert_in_range(most, LARGE_BYTES, (int64_t)MEMORY_TIMES * LARGE * LARGE_BYTES * 2 / 3);
	sr_come_again(&slow[0], 0);
	sr_expect_seq(&slow[0], 2, 20000);
	for (int i = 0; i < LARGE; i++)
		sr_hang_up(&slow[i]);
	sr_hang_up(&live);
}

/* What ends a live stream ends one that reads the log; after the end there is nothing, and the stream stays. */
static void
ends(void **state)
{
	struct sr_client c;

	sr_new_session();
	sr_commit_many("x", 700, 0);
	sr_commit("session.status_terminated", 0);
	c = sr_open_at(0, 3);
	sr_expect_end(&c);
	assert_int_equal(c.events, 698);
	sr_come_again(&c, 0);
	sr_expect(&c, "event: ping\ndata: {}\n\nevent: ping\n");
	assert_int_equal(c.events, 698);
	sr_sql("DELETE FROM event WHERE session_id = '%s'", sr_session);
	sr_sql("DELETE FROM session WHERE id = '%s'", sr_session);
	sr_expect(&c, "event: session.deleted\n");
	sr_expect_end(&c);
	sr_hang_up(&c);
}

/* Larger events than the queue's bound: each waits until the one before was read. */
static void
large_events(void **state)
{
	struct sr_client c;

	sr_new_session();
	sr_commit_many("large", 12, 300000);
	c = sr_open_at(0, 0);
	sr_expect_seq(&c, 12, SR_SOON_MS);
	assert_int_equal(c.events, 12);
	sr_emit("x");
	sr_expect_seq(&c, 13, SR_SOON_MS);
	sr_hang_up(&c);
}

/* Previews are live only: one who reads the log gets none of what it did not see begin, and holds back nobody's. */
static void
previews(void **state)
{
	static const char start[] = "{\"type\":\"event_start\",\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_m\"}}";
	static const char delta[] = "{\"type\":\"event_delta\",\"event_id\":\"sevt_m\",\"delta\":{\"type\":\"content_delta\"}}";
	struct sr_client live, late;

	sr_new_session();
	sr_commit_many("x", 20, 0);
	live = sr_open_stream("?event_deltas[]=agent.message");
	sr_publish("event_start", 0, start);
	sr_publish("event_delta", 0, delta);
	sr_expect(&live, "event: event_delta\n");
	late = resume("?event_deltas[]=agent.message&after=5", NULL);
	sr_expect_seq(&late, 20, SR_SOON_MS);
	sr_publish("event_delta", 0, delta);
	sr_commit("agent.message", 0);
	sr_publish("agent.message", 21, "{\"id\":\"sevt_m\",\"type\":\"agent.message\"}");
	sr_expect_seq(&live, 21, SR_SOON_MS);
	sr_expect_seq(&late, 21, SR_SOON_MS);
	assert_int_equal(sr_count(&live, "event: event_delta\n"), 2);
	assert_int_equal(sr_count(&late, "event: event_"), 0);
	assert_int_equal(sr_count(&late, "\nid: "), 17);		/* the first ping's and 16 events' */
	sr_hang_up(&live);
	sr_hang_up(&late);
}

static int
setup(void **state)
{
	sr_start(1000);
	sr_hub_start(0);
	sr_hub_start(1);
	return 0;
}

static int
teardown(void **state)
{
	return sr_stop();
}

/* The database was restored: ten events are left, four others have come since. */
static void
after_a_restore(void **state)
{
	static const struct { const char *header; int first; const char *id; } cases[] = {
		{ "5", 6, "id: 5.1\n" }, { "10", 11, "id: 10.1\n" },
		{ "12", 11, "id: 10.1\n" }, { "500", 11, "id: 10.1\n" },	/* from where the two pasts part */
		{ "12.1", 13, "id: 12.1\n" }, { "500.1", 15, "id: 14.1\n" },
	};

	sr_new_session();
	sr_commit_many("x", 10, 0);
	sr_sql("INSERT INTO restore (timeline, at) VALUES (1, clock_timestamp() + interval '1 s')");
	sr_commit_many("x", 4, 0);
	sr_sql("UPDATE event SET processed_at = clock_timestamp() + interval '2 s' WHERE session_id = '%s' AND seq > 10", sr_session);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sr_client c = resume("", cases[i].header);

		sr_expect(&c, "event: ping\n");
		if (!sr_heard(&c, cases[i].id))
			fail_msg("%s: wanted %s", cases[i].header, cases[i].id);
		if (cases[i].first <= 14)
			sr_expect_seq(&c, 14, SR_SOON_MS);
		assert_int_equal(c.events, 14 - cases[i].first + 1);
		sr_hang_up(&c);
	}
	sr_sql("INSERT INTO restore_point VALUES ('%s', 1, 7)", sr_session);	/* it was at work then */
	{
		struct sr_client c = resume("", "12");

		sr_expect_seq(&c, 14, SR_SOON_MS);
		assert_int_equal(c.events, 7);
		sr_hang_up(&c);
	}
	sr_sql("DELETE FROM restore");
}

#define T(test) cmocka_unit_test_teardown(test, sr_clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(values), T(from_any_place), T(after_a_restore),
		T(no_seam_between_log_and_live),
		T(ends), T(large_events), T(previews), T(a_long_log),
		T(slow_readers),
		T(slow_readers_of_large_events),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
