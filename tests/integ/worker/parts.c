/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * A roost-worker among its neighbours: two workers on one queue, previews and publication in Redis, Redis and hands away, dropped
 * sandboxes, a session that kills its workers.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "../../env/worker_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "entry.h"
#include "jx.h"
#include "xalloc.h"

#define SETTINGS "lease_s = 60\nbeat_ms = 300\npoll_ms = 100\ndelta_ms = 20\n"

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_provider();
	(void)rig_worker(SETTINGS);
	(void)rig_worker(SETTINGS);
	return 0;
}

static void
two_workers(void **state)
{
	char id[32];

	(void)state;
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "sesn_many%d", i);
		rig_session(id, "roost-scripted");
		rig_message("bash {\"command\":\"a\"}\nbash {\"command\":\"b\"}\n\nread {\"file_path\":\"/c\"}");
		rig_send(id);
	}
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "sesn_many%d", i);
		rig_settled(id);
		rig_check(id);
	}
	rig_wait("40", "SELECT count(*) FROM event WHERE session_id LIKE 'sesn_many%%' AND type = 'session.status_idle'");
	rig_wait("120", "SELECT count(*) FROM event WHERE session_id LIKE 'sesn_many%%' AND type = 'agent.tool_result'");
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "sesn_many%d", i);
		assert_int_equal(fake_hands_count(rig_hands, "call", id), 3);
	}
}

/* Messages, notes and interrupts at any moment: each is in the log once, the inbox is empty, the log obeys. */
static void
storm(void **state)
{
	int sent = 0;

	(void)state;
	rig_session("sesn_storm", "roost-scripted");
	for (int i = 0; i < 400; i++) {
		if (i % 11 == 3)
			rig_interrupt();
		else if (i % 7 == 2)
			rig_note();
		else
			rig_message(i % 5 == 0 ? "bash {\"command\":\"a\"}\n\nbash {\"command\":\"b\"}" : "hello");
		rig_send("sesn_storm");
		sent++;
		if (i % 3 == 0)
			(void)usleep((useconds_t)(i * 37 % 4000));	/* meets every state of a turn */
	}
	rig_settled("sesn_storm");
	rig_wait("0", "SELECT count(*) FROM inbox WHERE session_id = 'sesn_storm'");
	rig_wait("0", "SELECT inbox_wakes + inbox_events FROM session WHERE id = 'sesn_storm'");
	rig_wait("t", "SELECT count(*) = %d FROM event WHERE session_id = 'sesn_storm' AND (type LIKE 'user.%%' OR type = 'session.updated')", sent);
	rig_wait("idle", "SELECT status FROM session WHERE id = 'sesn_storm'");
	rig_check("sesn_storm");
}

static void
read_entry(const redisReply *entry, struct entry_events *out)
{
	const redisReply *kv = entry->element[1];
	struct busq_field f[8];
	int n = 0;

	for (size_t i = 0; i + 1 < kv->elements && n < 8; i += 2)
		f[n++] = (struct busq_field){ kv->element[i]->str, kv->element[i + 1]->str, kv->element[i + 1]->len };
	assert_int_equal(entry_events_read(f, n, out), 0);
}

/* The whole stream, once the event `last` of this session is in it: publication follows the commit. */
static redisReply *
stream(redisContext *c, const char *session, int64_t last)
{
	struct entry_events all;

	for (int64_t end = clock_mono_ms() + RIG_MS;;) {
		redisReply *r = redisCommand(c, "XRANGE sse:0 - +");

		assert_non_null(r);
		for (size_t i = 0; i < r->elements; i++) {
			read_entry(r->element[i], &all);
			if (strcmp(all.session, session) == 0 && all.one.seq == last)
				return r;
		}
		freeReplyObject(r);
		assert_true(clock_mono_ms() < end);
	}
}

struct heard {
	int64_t seq, deltas, starts;
	bool buffered;		/* the message has come: no delta may follow */
	struct buf said;
};

static void
hear(struct heard *h, const struct entry_event *ev)
{
	AUTO(json) json_t *doc = NULL;
	struct err err = ERR_INIT;

	if (ev->seq > 0) {
		assert_int_equal(ev->seq, ++h->seq);
		h->buffered |= strcmp(ev->type, "agent.message") == 0;
	}
	if (ev->len == 0)
		return;		/* a large one, which the hub reads from the log, or a cut: previews were lost with a connection */
	if (jx_parse(ev->body, ev->len, &doc, &err) < 0)
		fail_msg("%s: %s: %.80s", ev->type, err.pub, ev->body);
	assert_string_equal(jx_str(doc, "type"), ev->type);
	h->starts += strcmp(ev->type, "event_start") == 0;
	if (strcmp(ev->type, "event_delta") == 0) {
		assert_false(h->buffered);
		h->deltas++;
		buf_str(&h->said, jx_str(json_object_get(json_object_get(doc, "delta"), "content"), "text"));
	}
}

/* What a hub reads: every event once, in order, after its deltas; the deltas of a message are a prefix of its text. */
static void
published(const char *session, const char *model, const char *message)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir), *text = NULL, *last = NULL;
	struct heard h = { .seq = 0 };
	struct entry_events all;
	struct entry_event ev;
	redisContext *c = redisConnectUnix(sock);
	redisReply *r;

	rig_session(session, model);
	rig_message(message);
	rig_send(session);
	rig_settled(session);
	last = rig_sql("SELECT last_seq FROM session WHERE id = '%s'", session);
	r = stream(c, session, atoll(last));
	for (size_t i = 0; i < r->elements; i++) {
		read_entry(r->element[i], &all);
		while (strcmp(all.session, session) == 0 && entry_events_next(&all, &ev))
			hear(&h, &ev);
	}
	freeReplyObject(r);
	redisFree(c);
	assert_int_equal(h.seq, atoll(last));
	assert_int_equal(h.starts, 1);
	assert_true(h.deltas >= 2);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = '%s' AND type = 'agent.message'", session);
	assert_true(h.said.data != NULL && h.said.len <= strlen(text) && memcmp(text, h.said.data, h.said.len) == 0);
	buf_free(&h.said);
}

static void
publication(void **state)
{
	struct buf words = BUF_INIT(0);

	(void)state;
	published("sesn_pub", "fake", "!provider {\"word_ms\":150}\none two three four five six seven eight nine ten \xc3\xa9\xf0\x9f\x98\x80 end");
	for (int i = 0; i < 3000; i++)
		buf_printf(&words, "word%d ", i);
	published("sesn_long", "roost-scripted", words.data);
	buf_free(&words);
}

/* A reply that comes in one piece: its first words are out by themselves, they do not wait for the commit of the message. */
static void
first_words(void **state)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir), *last = NULL;
	struct entry_events all;
	struct entry_event ev;
	redisContext *c = redisConnectUnix(sock);
	redisReply *r;
	int first = 0;

	(void)state;
	rig_session("sesn_first", "fake");
	rig_message("hello there");
	rig_send("sesn_first");
	rig_settled("sesn_first");
	last = rig_sql("SELECT last_seq FROM session WHERE id = 'sesn_first'");
	r = stream(c, "sesn_first", atoll(last));
	for (size_t i = 0; i < r->elements && first == 0; i++) {
		bool events = false;

		read_entry(r->element[i], &all);
		while (strcmp(all.session, "sesn_first") == 0 && entry_events_next(&all, &ev)) {
			first += strcmp(ev.type, "event_delta") == 0;
			events |= ev.seq > 0 && strcmp(ev.type, "agent.message") == 0;
		}
		assert_false(events);
	}
	assert_int_equal(first, 1);
	freeReplyObject(r);
	redisFree(c);
}

static void
drops(void **state)
{
	(void)state;
	free(rig_sql("INSERT INTO sandbox_drop (session_id) VALUES ('sesn_dropped')"));
	rig_wait("0", "SELECT count(*) FROM sandbox_drop");
	assert_true(fake_hands_count(rig_hands, "destroy", "sesn_dropped") >= 1);
}

static void
poison(void **state)
{
	(void)state;
	rig_session("sesn_poison", "roost-scripted");
	free(rig_sql("UPDATE session SET at_work = true WHERE id = 'sesn_poison'"));
	free(rig_sql("INSERT INTO work (workspace_id, session_id, due_at, attempts) SELECT workspace_id, id, 'infinity', 5 FROM session"
	    " WHERE id = 'sesn_poison'"));
	free(rig_sql("INSERT INTO suspect (session_id, epoch, worker) VALUES ('sesn_poison', 0, 'wrk_dead')"));
	rig_message("hello");
	rig_send("sesn_poison");	/* due at once */
	rig_settled("sesn_poison");
	rig_wait("terminated", "SELECT status FROM session WHERE id = 'sesn_poison'");
	rig_wait("session.error", "SELECT type FROM event WHERE session_id = 'sesn_poison' AND seq = 1");
	rig_wait("terminal", "SELECT body::jsonb->'error'->'retry_status'->>'type' FROM event WHERE session_id = 'sesn_poison' AND seq = 1");
}

/* A row that is no session ends with an error instead of ending the worker, again and again. */
static void
broken_agent(void **state)
{
	(void)state;
	rig_session("sesn_broken", "roost-scripted");
	free(rig_sql("UPDATE session SET agent = '{\"name\":' WHERE id = 'sesn_broken'"));
	rig_message("hello");
	rig_send("sesn_broken");
	rig_settled("sesn_broken");
	rig_wait("terminated", "SELECT status FROM session WHERE id = 'sesn_broken'");
}

static void
redis_away(void **state)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir), *away = xasprintf("%s/away.sock", rig_dir);
	redisContext *c = redisConnectUnix(sock);

	(void)state;
	freeReplyObject(redisCommand(c, "CLIENT KILL TYPE normal"));
	redisFree(c);
	assert_int_equal(rename(sock, away), 0);	/* nobody can connect any more */
	rig_session("sesn_nored", "roost-scripted");
	rig_message("bash {\"command\":\"a\"}");
	rig_send("sesn_nored");
	rig_settled("sesn_nored");
	rig_check("sesn_nored");
	assert_int_equal(rename(away, sock), 0);
}

static void
hands_away(void **state)
{
	AUTO(str) char *path = xasprintf("%s/hands.sock", rig_dir), *text = NULL;

	(void)state;
	fake_hands_stop(&rig_hands);
	rig_session("sesn_nohands", "roost-scripted");
	rig_message("bash {\"command\":\"a\"}");
	rig_send("sesn_nohands");
	rig_settled("sesn_nohands");
	rig_check("sesn_nohands");
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_nohands' AND type = 'agent.tool_result'");
	assert_string_equal(text, "The sandbox is not available at the moment. The call was not run.");
	rig_hands = fake_hands_start(path);
	rig_message("bash {\"command\":\"a\"}");
	rig_send("sesn_nohands");
	rig_settled("sesn_nohands");
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = 'sesn_nohands' AND body LIKE '%%ran bash%%'");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_workers), cmocka_unit_test(storm), cmocka_unit_test(publication), cmocka_unit_test(first_words), cmocka_unit_test(drops),
		cmocka_unit_test(poison), cmocka_unit_test(broken_agent), cmocka_unit_test(redis_away), cmocka_unit_test(hands_away),
	};

	return cmocka_run_group_tests_name("worker parts", tests, start, rig_over);
}
