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

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "../../env/worker_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "jx.h"
#include "xalloc.h"

#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 100\ndelta_ms = 20\n"

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

static int
stop(void **state)
{
	(void)state;
	rig_stop();
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

static const char *
field(const redisReply *entry, const char *key)
{
	const redisReply *f = entry->element[1];

	for (size_t i = 0; i + 1 < f->elements; i += 2)
		if (strcmp(f->element[i]->str, key) == 0)
			return f->element[i + 1]->str;
	return "";
}

/* What a hub reads: every event once, in order, after its deltas; the deltas of a message are a prefix of its text. */
static void
publication(void **state)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir), *text = NULL, *last = NULL;
	struct buf said = BUF_INIT(0);
	redisContext *c = redisConnectUnix(sock);
	redisReply *r;
	int64_t seq = 0, deltas = 0, starts = 0;
	bool buffered = false;

	(void)state;
	rig_session("sesn_pub", "fake");
	rig_message("!provider {\"word_ms\":10}\none two three four five six seven eight nine ten \\u00e9\\ud83d\\ude00 end");
	rig_send("sesn_pub");
	rig_settled("sesn_pub");
	r = redisCommand(c, "XRANGE sse:0 - +");
	assert_non_null(r);
	for (size_t i = 0; i < r->elements; i++) {
		const redisReply *e = r->element[i];
		AUTO(json) json_t *doc = NULL;
		struct err err = ERR_INIT;

		if (strcmp(field(e, "s"), "sesn_pub") != 0)
			continue;
		assert_int_equal(jx_parse(field(e, "p"), strlen(field(e, "p")), &doc, &err), 0);
		assert_string_equal(jx_str(doc, "type"), field(e, "t"));
		if (strcmp(field(e, "t"), "event_start") == 0) {
			starts++;
		} else if (strcmp(field(e, "t"), "event_delta") == 0) {
			assert_false(buffered);
			deltas++;
			buf_str(&said, jx_str(json_object_get(json_object_get(doc, "delta"), "content"), "text"));
		} else {
			assert_int_equal(atoll(field(e, "q")), ++seq);
			buffered |= strcmp(field(e, "t"), "agent.message") == 0;
		}
	}
	freeReplyObject(r);
	redisFree(c);
	last = rig_sql("SELECT last_seq FROM session WHERE id = 'sesn_pub'");
	assert_int_equal(seq, atoll(last));
	assert_int_equal(starts, 1);
	assert_true(deltas >= 2);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_pub' AND type = 'agent.message'");
	assert_true(said.len <= strlen(text) && memcmp(text, said.data, said.len) == 0);
	buf_free(&said);
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
	free(rig_sql("UPDATE session SET attempts = 5 WHERE id = 'sesn_poison'"));
	rig_message("hello");
	rig_send("sesn_poison");
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
	int64_t began = clock_mono_ms();

	(void)state;
	fake_hands_stop(&rig_hands);
	rig_session("sesn_nohands", "roost-scripted");
	rig_message("bash {\"command\":\"a\"}");
	rig_send("sesn_nohands");
	rig_settled("sesn_nohands");
	rig_check("sesn_nohands");
	assert_true(clock_mono_ms() - began < 10000);
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
		cmocka_unit_test(two_workers), cmocka_unit_test(publication), cmocka_unit_test(drops), cmocka_unit_test(poison),
		cmocka_unit_test(broken_agent), cmocka_unit_test(redis_away), cmocka_unit_test(hands_away),
	};

	return cmocka_run_group_tests_name("worker parts", tests, start, stop);
}
