/* link: gateway/stream/hub_watch.c gateway/stream/hub_preview.c gateway/stream/hub_marks.c gateway/stream/hub_frame.c */
/* What a subscriber gets: frames on the wire, order and gaps, previews, ends. Output is recorded as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "hub_marks.h"
#include "hub_preview.h"
#include "hub_watch.h"
#include "target.h"

#define M "sevt_m"
#define START(id, type) "{\"type\":\"event_start\",\"event\":{\"type\":\"" type "\",\"id\":\"" id "\"}}"
#define DELTA(id) "{\"type\":\"event_delta\",\"event_id\":\"" id "\",\"delta\":{}}"

static struct hub_table table;
static struct hub_watch *w;
static struct hub_sub a, b;
static char log_a[512], log_b[512];

static void
on_send(void *ctx, struct hub_sub *s, struct hub_frame *f)
{
	char *log = s == &a ? log_a : log_b;

	for (int i = 0; i < f->n; i++)		/* `+`: in one piece with the one before */
		snprintf(log + strlen(log), sizeof log_a - strlen(log), "%s%s ", i ? "+" : "", f->ev[i].type);
}

static void
on_end(void *ctx, struct hub_sub *s)
{
	strcat(s == &a ? log_a : log_b, "END");
	s->ended = true;
}

static const struct hub_out out = { on_send, on_end, NULL };

static int
body_of(char *body, size_t size, const char *type)
{
	return snprintf(body, size, "{\"id\":\"%s\",\"type\":\"%s\"}", strcmp(type, "agent.message") == 0 ? M : "sevt_x", type);
}

/* from Redis */
static void
event(int64_t seq, const char *type)
{
	char body[128];

	hub_watch_live(w, &(struct hub_event){ seq, type, body, (size_t)body_of(body, sizeof body, type) }, 1, &out);
}

/* from Redis, in one entry: seq, seq + 1, ... */
static void
row_of(int64_t seq, int n, const char *const *types)
{
	struct hub_event ev[8];
	char body[8][128];

	for (int i = 0; i < n; i++)
		ev[i] = (struct hub_event){ seq + i, types[i], body[i], (size_t)body_of(body[i], sizeof body[i], types[i]) };
	hub_watch_live(w, ev, n, &out);
}

/* from Redis, too large to be there */
static void
unread(int64_t seq, const char *type)
{
	hub_watch_live(w, &(struct hub_event){ seq, type, "", 0 }, 1, &out);
}

/* from the log */
static void
row(int64_t seq, const char *type)
{
	char body[128];

	hub_watch_event(w, &(struct hub_event){ seq, type, body, (size_t)body_of(body, sizeof body, type) }, &out);
}

static void
preview(const char *type, const char *body)
{
	hub_preview(w, type, body, strlen(body), &out);
}

static int
setup(void **state)
{
	w = hub_table_get(&table, "sesn_1");
	a = (struct hub_sub){ .fd = 5, .wants = TARGET_MESSAGE | TARGET_THINKING };
	b = (struct hub_sub){ .fd = 6 };
	hub_watch_add(w, &a);
	hub_watch_add(w, &b);
	log_a[0] = log_b[0] = '\0';
	return 0;
}

static int
teardown(void **state)
{
	hub_watch_remove(&a);
	hub_watch_remove(&b);
	hub_table_drop(&table, w);
	hub_table_free(&table);
	return 0;
}

static void
in_order_once(void **state)
{
	b.seen = 1;
	event(1, "one");
	event(2, "two");
	event(2, "two");
	event(1, "one");
	event(3, "three");
	assert_string_equal(log_a, "one two three ");
	assert_string_equal(log_b, "two three ");
	assert_int_equal(hub_watch_behind(w), -1);
}

static void
together_in_one_piece(void **state)
{
	static const char *const types[] = { "one", "two", "three" }, *const last[] = { "four", "session.status_terminated" };

	b.seen = 1;
	row_of(1, 3, types);
	assert_string_equal(log_a, "one +two +three ");
	assert_string_equal(log_b, "two three ");	/* who has some of them gets the others */
	row_of(1, 3, types);
	row_of(4, 2, last);				/* what ends the stream goes alone */
	assert_string_equal(log_a, "one +two +three four session.status_terminated END");
	assert_int_equal(hub_watch_behind(w), -1);
}

static void
together_but_for_a_gap(void **state)
{
	static const char *const types[] = { "two", "three" };

	row_of(2, 2, types);
	assert_string_equal(log_a, "");
	assert_int_equal(hub_watch_behind(w), 0);
	event(1, "one");
	row_of(2, 2, types);
	assert_string_equal(log_a, "one two +three ");
}

/* A preview that waits for its place stands between them: they go one by one. */
static void
together_around_a_held_preview(void **state)
{
	static const char *const types[] = { "agent.message", "span.model_request_end" };

	unread(1, "user.message");
	preview("event_start", START(M, "agent.message"));
	row(1, "user.message");
	row_of(2, 2, types);
	assert_string_equal(log_a, "user.message event_start agent.message span.model_request_end ");
	assert_null(w->previews);
}

/* The buffered event closes its preview in a piece, too. */
static void
together_closes_previews(void **state)
{
	static const char *const types[] = { "agent.message", "span.model_request_end" };

	preview("event_start", START(M, "agent.message"));
	row_of(1, 2, types);
	preview("event_delta", DELTA(M));
	assert_string_equal(log_a, "event_start agent.message +span.model_request_end ");
	assert_null(w->previews);
}

static void
a_gap_is_filled_from_the_log(void **state)
{
	b.seen = 2;
	event(1, "one");
	event(3, "three");
	assert_string_equal(log_a, "one ");
	assert_string_equal(log_b, "three ");
	assert_int_equal(hub_watch_behind(w), 1);
	event(4, "four");			/* goes on for those who can follow */
	event(2, "two");
	event(3, "three");
	assert_int_equal(hub_watch_behind(w), 3);
	event(4, "four");
	assert_string_equal(log_a, "one two three four ");
	assert_string_equal(log_b, "three four ");
	assert_int_equal(hub_watch_behind(w), -1);
}

static void
an_event_without_body_is_read_from_the_log(void **state)
{
	unread(1, "big");
	assert_string_equal(log_a, "");
	assert_int_equal(hub_watch_behind(w), 0);
	event(1, "big");
	assert_string_equal(log_a, "big ");
}

static void
who_has_not_started_gets_nothing(void **state)
{
	b.fd = -1;
	event(1, "one");
	assert_string_equal(log_b, "");
	assert_int_equal(hub_watch_behind(w), -1);
	b.fd = 6;
	assert_int_equal(hub_watch_behind(w), 0);
}

static void
previews_only_to_who_asked(void **state)
{
	event(1, "span.model_request_start");
	preview("event_start", START(M, "agent.message"));
	preview("event_delta", DELTA(M));
	event(2, "agent.message");
	preview("event_delta", DELTA(M));	/* late: the buffered event was the last thing for its id */
	assert_string_equal(log_a, "span.model_request_start event_start event_delta agent.message ");
	assert_string_equal(log_b, "span.model_request_start agent.message ");
}

static void
one_start_per_id(void **state)
{
	preview("event_start", START(M, "agent.message"));
	preview("event_start", START(M, "agent.message"));
	assert_string_equal(log_a, "event_start ");
}

static void
no_orphan_deltas(void **state)
{
	b.fd = -1;
	preview("event_start", START(M, "agent.message"));
	b.fd = 6;
	b.wants = TARGET_MESSAGE;
	preview("event_delta", DELTA(M));
	preview("event_delta", DELTA("sevt_unknown"));
	assert_string_equal(log_a, "event_start event_delta ");
	assert_string_equal(log_b, "");
}

static void
thinking_is_a_start_only(void **state)
{
	b.wants = TARGET_MESSAGE;
	preview("event_start", START("sevt_t", "agent.thinking"));
	preview("event_delta", DELTA("sevt_t"));
	assert_string_equal(log_a, "event_start ");
	assert_string_equal(log_b, "");
}

static void
the_end_of_the_request_closes_previews(void **state)
{
	preview("event_start", START(M, "agent.message"));
	event(1, "span.model_request_end");
	preview("event_delta", DELTA(M));
	assert_string_equal(log_a, "event_start span.model_request_end ");
	assert_null(w->previews);
}

/* The large message that caused the reply is still being read from the log when its preview comes: it waits for its place. */
static void
previews_wait_for_who_is_behind(void **state)
{
	unread(1, "user.message");
	event(2, "span.model_request_start");
	preview("event_start", START(M, "agent.message"));
	preview("event_delta", DELTA(M));
	assert_string_equal(log_a, "");
	row(1, "user.message");
	row(2, "span.model_request_start");
	preview("event_delta", DELTA(M));
	hub_preview_release(w, &out);
	event(3, "agent.message");
	assert_string_equal(log_a, "user.message span.model_request_start event_start event_delta event_delta agent.message ");
	assert_string_equal(log_b, "user.message span.model_request_start agent.message ");
}

/* The read of the log brought the buffered event too: the previews come before it, and never after. */
static void
held_previews_keep_their_place(void **state)
{
	unread(1, "user.message");
	preview("event_start", START(M, "agent.message"));
	preview("event_delta", DELTA(M));
	event(2, "agent.message");
	row(1, "user.message");
	row(2, "agent.message");
	hub_preview_release(w, &out);
	preview("event_delta", DELTA(M));
	assert_string_equal(log_a, "user.message event_start event_delta agent.message ");
}

/* Redis lags behind the log (a subscriber joined later, or a round was quicker): old previews are nobody's. */
static void
stale_previews_are_dropped(void **state)
{
	event(1, "one");
	row(2, "two");
	row(3, "agent.message");
	preview("event_start", START(M, "agent.message"));
	event(2, "two");
	preview("event_delta", DELTA(M));
	assert_string_equal(log_a, "one two agent.message ");
}

static void
what_is_held_is_bounded(void **state)
{
	char big[4096] = "{\"event\":{\"type\":\"agent.message\",\"id\":\"" M "\"},\"x\":\"";
	size_t n = strlen(big);

	memset(big + n, 'x', sizeof big - n - 3);
	strcpy(big + sizeof big - 3, "\"}");
	unread(1, "user.message");
	for (int i = 0; i < 100; i++)
		preview("event_start", big);
	row(1, "user.message");
	hub_preview_release(w, &out);
	assert_string_equal(log_a, "user.message event_start ");	/* one that came after the cut */
}

/* A hole in the text: nothing more for that id, the event itself still comes. */
static void
a_lost_preview_cuts(void **state)
{
	preview("event_start", START(M, "agent.message"));
	preview("event_delta", DELTA(M));
	preview("event_delta", "");
	preview("event_delta", DELTA(M));
	event(1, "agent.message");
	assert_string_equal(log_a, "event_start event_delta agent.message ");
}

static void
choked_gets_nothing(void **state)
{
	a.choked = true;
	event(1, "one");
	preview("event_start", START(M, "agent.message"));
	assert_string_equal(log_a, "");
	assert_int_equal(hub_watch_behind(w), -1);
	a.choked = false;
	assert_int_equal(hub_watch_behind(w), 0);
}

static void
more_previews_than_slots(void **state)
{
	char body[128];

	for (int i = 0; i < 24; i++) {
		snprintf(body, sizeof body, "{\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_%d\"}}", i);
		preview("event_start", body);
	}
	log_a[0] = '\0';
	preview("event_delta", DELTA("sevt_0"));
	assert_string_equal(log_a, "");
	preview("event_delta", DELTA("sevt_23"));
	assert_string_equal(log_a, "event_delta ");
}

static void
garbage_previews_are_dropped(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "null", "{\"event\":1}", "{\"event\":{\"id\":1,\"type\":\"agent.message\"}}",
		"{\"event\":{\"id\":\"\",\"type\":\"agent.message\"}}", "{\"event\":{\"type\":\"agent.message\"}}" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		preview("event_start", bad[i]);
		preview("event_delta", bad[i]);
		preview("something", bad[i]);
	}
	assert_null(strstr(log_a, "event_delta"));
}

/* One who replays is left to hub_replay: it gets nothing here, nobody waits for it and its previews are nobody's. */
static void
who_replays_holds_nobody_back(void **state)
{
	a.replay = 1;
	b.wants = TARGET_MESSAGE;
	event(1, "one");
	assert_string_equal(log_a, "");
	assert_string_equal(log_b, "one ");
	assert_int_equal(hub_watch_behind(w), -1);
	preview("event_start", START(M, "agent.message"));
	preview("event_delta", DELTA(M));
	a.replay = 0;				/* it has caught up by itself */
	a.seen = 1;
	preview("event_delta", DELTA(M));	/* whose start it did not see */
	event(2, "agent.message");
	assert_string_equal(log_a, "agent.message ");
	assert_string_equal(log_b, "one event_start event_delta event_delta agent.message ");
}

static void
termination_ends_the_stream(void **state)
{
	b.seen = 1;
	event(2, "session.status_terminated");
	assert_string_equal(log_a, "");
	assert_string_equal(log_b, "session.status_terminated END");
	event(1, "one");
	event(2, "session.status_terminated");
	assert_string_equal(log_a, "one session.status_terminated END");
	assert_int_equal(hub_watch_behind(w), -1);
}

static void
deletion_ends_everything(void **state)
{
	event(9, "later");
	hub_watch_deleted(w, "{}", 2, &out);
	assert_string_equal(log_a, "session.deleted END");
	assert_string_equal(log_b, "session.deleted END");
}

static void
table_holds_many(void **state)
{
	struct hub_table t = { 0 };
	struct hub_watch *it = NULL;
	char id[ID_MAX];
	size_t n = 0;

	for (int i = 0; i < 5000; i++) {
		snprintf(id, sizeof id, "sesn_%d", i);
		assert_ptr_equal(hub_table_get(&t, id), hub_table_get(&t, id));
	}
	assert_int_equal(t.count, 5000);
	while ((it = hub_table_next(&t, it)))
		n++;
	assert_int_equal(n, 5000);
	for (struct hub_part part = { 0, HUB_PARTS_MAX }; part.at < part.of; part.at++) {	/* each is in one part, and stays there */
		for (it = NULL; (it = hub_table_next_of(&t, part, it));)
			it->known++;
		for (int i = 0; i < 100; i++) {		/* the table grows meanwhile */
			snprintf(id, sizeof id, "more_%zu_%d", part.at, i);
			(void)hub_table_get(&t, id);
		}
	}
	for (it = NULL; (it = hub_table_next(&t, it));)
		if (strncmp(it->session, "sesn_", 5) == 0)
			assert_int_equal(it->known, 1);
	hub_table_drop(&t, hub_table_find(&t, "sesn_77"));
	assert_null(hub_table_find(&t, "sesn_77"));
	assert_non_null(hub_table_find(&t, "sesn_78"));
	hub_table_free(&t);
}

/* The text inside STDOUT records; checks their headers. */
static void
unwrap(const struct buf *in, unsigned id, struct buf *text, int *out_records)
{
	size_t at = 0;

	*out_records = 0;
	while (at < in->len) {
		const unsigned char *h = (const unsigned char *)in->data + at;
		size_t len = (size_t)h[4] << 8 | h[5];

		assert_int_equal(h[0], 1);
		assert_int_equal(h[2] << 8 | h[3], id);
		if (h[1] == 6)
			buf_put(text, h + 8, len);
		(*out_records)++;
		at += 8 + len;
	}
	assert_int_equal(at, in->len);
}

static void
marks(void **state)
{
	struct hub_marks m = { 0 };

	assert_int_equal(hub_marks_take(&m, 7, 100, 1), MARK_NEXT);
	assert_int_equal(hub_marks_take(&m, 8, 5, 1), MARK_NEXT);
	assert_int_equal(hub_marks_take(&m, 7, 101, 1), MARK_NEXT);
	assert_int_equal(hub_marks_take(&m, 7, 101, 1), MARK_AGAIN);
	assert_int_equal(hub_marks_take(&m, 7, 99, 1), MARK_AGAIN);
	assert_int_equal(hub_marks_take(&m, 8, 7, 1), MARK_HOLE);
	assert_int_equal(hub_marks_take(&m, 8, 8, 1), MARK_NEXT);
	assert_int_equal(hub_marks_take(&m, 7, 102, 1), MARK_NEXT);
	for (uint64_t other = 100; other < 100 + HUB_WRITERS; other++)
		assert_int_equal(hub_marks_take(&m, other, 1, 1), MARK_NEXT);
	assert_int_equal(hub_marks_take(&m, 7, 500, 1), MARK_NEXT);	/* forgotten */
}

static void
frames(void **state)
{
	static const char json[] = "{\"a\":\n\"b\\n\"\r\n}";
	static const struct hub_event two[] = { { 1, "x", "{}", 2 }, { 2, "y", "{}", 2 } };
	AUTO(buf) struct buf text = BUF_INIT(0), old = BUF_INIT(0), both = BUF_INIT(0);
	struct hub_frame f;
	int n;

	hub_frame_init(&f, &(struct hub_event){ 42, "agent.message", json, sizeof json - 1 }, 1);
	unwrap(hub_frame_bytes(&f, false), 1, &text, &n);
	assert_string_equal(text.data, "id: 42\nevent: agent.message\ndata: {\"a\": \"b\\n\"  }\n\n");
	hub_frame_address(hub_frame_bytes(&f, true)->data, hub_frame_bytes(&f, true)->len, 700);
	unwrap(hub_frame_bytes(&f, true), 700, &old, &n);
	assert_string_equal(old.data, "id: 42\nevent: message\ndata: {\"a\": \"b\\n\"  }\n\n");
	hub_frame_free(&f);
	hub_frame_init(&f, two, 2);
	unwrap(hub_frame_bytes(&f, false), 1, &both, &n);
	assert_int_equal(n, 1);
	assert_string_equal(both.data, "id: 1\nevent: x\ndata: {}\n\nid: 2\nevent: y\ndata: {}\n\n");
	hub_frame_free(&f);
}

static void
large_frames_take_several_records(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(0), end = BUF_INIT(0), none = BUF_INIT(0);
	size_t len = 200000;
	char *json = malloc(len);
	struct hub_frame f;
	int n;

	memset(json, 'x', len);
	hub_frame_init(&f, &(struct hub_event){ 0, "t", json, len }, 1);
	unwrap(hub_frame_bytes(&f, false), 1, &text, &n);
	assert_int_equal(n, 4);
	assert_int_equal(text.len, len + strlen("event: t\ndata: \n\n"));
	hub_frame_free(&f);
	hub_frame_end(&end);
	unwrap(&end, 1, &none, &n);
	assert_int_equal(n, 2);
	free(json);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(in_order_once), T(together_in_one_piece), T(together_but_for_a_gap), T(together_around_a_held_preview),
		T(together_closes_previews), T(a_gap_is_filled_from_the_log), T(an_event_without_body_is_read_from_the_log),
		T(who_has_not_started_gets_nothing), T(previews_only_to_who_asked), T(one_start_per_id), T(no_orphan_deltas),
		T(thinking_is_a_start_only), T(the_end_of_the_request_closes_previews), T(previews_wait_for_who_is_behind),
		T(held_previews_keep_their_place), T(stale_previews_are_dropped), T(what_is_held_is_bounded), T(choked_gets_nothing), T(who_replays_holds_nobody_back),
		T(a_lost_preview_cuts),
		T(more_previews_than_slots), T(garbage_previews_are_dropped), T(termination_ends_the_stream),
		T(deletion_ends_everything), cmocka_unit_test(table_holds_many), cmocka_unit_test(marks), cmocka_unit_test(frames),
		cmocka_unit_test(large_frames_take_several_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
