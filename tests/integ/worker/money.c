/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * What calls are judged for and what it costs, across crashes: a worker killed, drained or interrupted while a judgement is under way; a
 * late judgement; meter rows and gaps that say so. A session at its budget's cap that changes hands; a model that loses its price.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define OPEN "S:running T:running u.message M:start "
#define CLOSE " T:idle s.usage S:idle"
#define AGAIN "M:end T:rescheduled S:rescheduled S:running T:running "
#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\n"
#define PRICE "{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"1000\",\"output\":\"5000\"}}"

static void
catalogue_moved(void)
{
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
}

/* `fake` and `slow`, whose every answer stalls, have a price. */
static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_provider();
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('slow', 'Slow', 200000, 8192)"));
	free(rig_sql("INSERT INTO model_route VALUES ('slow', 0, 'fake', 'fault-stall')"));
	free(rig_sql("UPDATE model SET price = '%s' WHERE id IN ('fake', 'slow')", PRICE));
	catalogue_moved();
	return 0;
}

static void
session(const char *id)
{
	rig_session(id, "fake");
	free(rig_sql("UPDATE session SET agent = replace(agent, 'always_allow', 'auto') WHERE id = '%s'", id));
}

static void
say(const char *id, const char *text)
{
	rig_message(text);
	rig_send(id);
}

static void
cell(const char *want, const char *sql, const char *id)
{
	AUTO(str) char *query = xasprintf(sql, id);
	AUTO(str) char *got = rig_sql("%s", query);

	if (strcmp(got, want) != 0)
		fail_msg("%s: '%s', not '%s'", query, got, want);
}

#define ROWS "SELECT string_agg(meter || ' ' || part || ' ' || coalesce(purpose, '-') || ' ' || model || ' ' || list_nano / quantity, ', ' " \
	"ORDER BY part, meter) FROM meter_event WHERE session_id = '%s' AND meter LIKE 'tokens.%%' AND seq = (SELECT min(seq) FROM event e " \
	"WHERE e.session_id = meter_event.session_id AND type = 'span.model_request_end')"
#define SUM "SELECT (s.token_nano = sum(list_nano) AND NOT s.unpriced)::text FROM session s JOIN meter_event m ON m.session_id = s.id " \
	"WHERE s.id = '%s' AND m.meter LIKE 'tokens.%%' GROUP BY s.id"
#define GAPS "SELECT string_agg(cause, ' ' ORDER BY seq) FROM meter_gap WHERE session_id = '%s'"
#define VERDICT "SELECT string_agg((body::jsonb->'evaluation'->'evaluated_permission'->>'type') || ' ' || " \
	"coalesce(body::jsonb->'evaluation'->'evaluated_permission'->>'reason_code', '-'), ', ' ORDER BY seq) FROM event WHERE session_id = '%s' " \
	"AND type = 'agent.tool_use'"

/* Wait until the worker is asking the judge; nothing of the reply is in the log then. */
static void
judging(const char *id)
{
	AUTO(str) char *look = xasprintf("cat %s/worker-*.log | grep judge_asked | grep -q '\"%s\"'", rig_dir, id);

	for (int64_t end = clock_mono_ms() + RIG_MS; system(look) != 0;)
		assert_true(clock_mono_ms() < end);
	rig_wait("0", "SELECT count(*) FROM event WHERE session_id = '%s' AND type = 'span.model_request_end'", id);
}

static void
judged(void **state)
{
	pid_t w = rig_worker(SETTINGS);

	(void)state;
	session("sesn_ok");
	say("sesn_ok", "bash {\"command\":\"ls\"}\nread {\"file_path\":\"/x\"}\n\njudge read deny");
	rig_settled("sesn_ok");
	rig_same_log("sesn_ok", 0, OPEN "a.tool_use a.tool_use M:end a.tool_result a.tool_result M:start a.message M:end" CLOSE);
	cell("allow -, deny high_risk", VERDICT, "sesn_ok");
	cell("tokens.input 0 - fake 1000000, tokens.output 0 - fake 5000000, tokens.input 1 judge fake 1000000, tokens.output 1 judge fake 5000000",
	    ROWS, "sesn_ok");
	cell("true", SUM, "sesn_ok");
	cell("", GAPS, "sesn_ok");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_ok"), 1);
	rig_check("sesn_ok");
	rig_signal(w, SIGTERM);
}

/* Killed in the middle of a judgement: the reply is lost with it, the open span is the gap; the next owner asks and judges anew. */
static void
killed(void **state)
{
	pid_t slow = rig_worker(SETTINGS "judge_model = slow\n"), w;

	(void)state;
	session("sesn_kill");
	say("sesn_kill", "bash {\"command\":\"ls\"}");
	judging("sesn_kill");
	rig_signal(slow, SIGKILL);
	w = rig_worker(SETTINGS);
	rig_settled("sesn_kill");
	rig_same_log("sesn_kill", 0, OPEN AGAIN "M:start a.tool_use M:end a.tool_result M:start a.message M:end" CLOSE);
	cell("allow -", VERDICT, "sesn_kill");
	cell("worker_lost", GAPS, "sesn_kill");
	cell("1", "SELECT count(*) FROM meter_event WHERE session_id = '%s' AND purpose = 'judge' AND meter = 'tokens.output'", "sesn_kill");
	cell("true", SUM, "sesn_kill");
	rig_check("sesn_kill");
	rig_signal(w, SIGTERM);
}

/* A worker that leaves gives a judgement three seconds, then drops reply and judgement. */
static void
drained(void **state)
{
	pid_t slow = rig_worker(SETTINGS "judge_model = slow\n"), w;

	(void)state;
	session("sesn_drain");
	say("sesn_drain", "bash {\"command\":\"ls\"}");
	judging("sesn_drain");
	rig_signal(slow, SIGTERM);
	w = rig_worker(SETTINGS);
	rig_settled("sesn_drain");
	rig_same_log("sesn_drain", 0, OPEN AGAIN "M:start a.tool_use M:end a.tool_result M:start a.message M:end" CLOSE);
	cell("drained", GAPS, "sesn_drain");
	rig_check("sesn_drain");
	rig_signal(w, SIGTERM);
}

static void
late(void **state)
{
	pid_t w = rig_worker(SETTINGS "judge_model = slow\njudge_timeout_ms = 300\n");

	(void)state;
	session("sesn_late");
	say("sesn_late", "bash {\"command\":\"ls\"}");
	rig_settled("sesn_late");
	rig_same_log("sesn_late", 0, OPEN "a.tool_use M:end" CLOSE);
	cell("ask indeterminate", VERDICT, "sesn_late");
	cell("judge_lost", GAPS, "sesn_late");
	cell("true", SUM, "sesn_late");
	rig_check("sesn_late");
	rig_signal(w, SIGTERM);
}

static void
interrupted(void **state)
{
	pid_t w = rig_worker(SETTINGS "judge_model = slow\n");

	(void)state;
	session("sesn_stop");
	say("sesn_stop", "bash {\"command\":\"ls\"}");
	judging("sesn_stop");
	rig_interrupt();
	rig_send("sesn_stop");
	rig_settled("sesn_stop");
	rig_same_log("sesn_stop", 0, OPEN "a.tool_use M:end a.tool_result u.interrupt" CLOSE);
	cell("ask indeterminate", VERDICT, "sesn_stop");
	cell("judge_lost", GAPS, "sesn_stop");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_stop"), 0);
	rig_check("sesn_stop");
	rig_signal(w, SIGTERM);
}

/* --- budgets -------------------------------------------------------------------------------------------------------------------- */

#define REASON "SELECT (SELECT body::jsonb->'stop_reason'->>'type' FROM event e WHERE e.session_id = s.id AND type = 'session.status_idle' " \
	"ORDER BY seq DESC LIMIT 1) || ' ' || paused FROM session s WHERE id = '%s'"

/* A paused session outlives its worker; whoever comes goes on when the cap is higher, and not before. */
static void
changes_hands(void **state)
{
	pid_t w = rig_worker(SETTINGS);

	(void)state;
	rig_session("sesn_cap", "fake");
	free(rig_sql("UPDATE session SET budget_cents = 1 WHERE id = 'sesn_cap'"));
	say("sesn_cap", "bash {\"command\":\"ls\"}\n\nbash {\"command\":\"ls\"}");
	rig_settled("sesn_cap");
	rig_same_log("sesn_cap", 0, OPEN "a.tool_use M:end a.tool_result" CLOSE);
	cell("budget_reached true", REASON, "sesn_cap");
	rig_signal(w, SIGKILL);
	w = rig_worker(SETTINGS);
	rig_note();
	rig_send("sesn_cap");
	rig_settled("sesn_cap");
	rig_same_log("sesn_cap", 0, OPEN "a.tool_use M:end a.tool_result" CLOSE " s.updated");
	cell("budget_reached true", REASON, "sesn_cap");
	free(rig_sql("UPDATE session SET budget_cents = 10000 WHERE id = 'sesn_cap'"));
	rig_note();
	rig_send("sesn_cap");
	rig_settled("sesn_cap");
	rig_same_log("sesn_cap", 0, OPEN "a.tool_use M:end a.tool_result" CLOSE " s.updated s.updated S:running T:running M:start a.tool_use M:end "
	    "a.tool_result M:start a.message M:end" CLOSE);
	cell("end_turn false", REASON, "sesn_cap");
	rig_check("sesn_cap");
	rig_signal(w, SIGTERM);
}

/* A cap that is raised while the turn runs counts at its next request. */
static void
raised_meanwhile(void **state)
{
	pid_t w = rig_worker(SETTINGS);

	(void)state;
	fake_hands_amnesia(rig_hands);
	rig_session("sesn_live", "fake");
	free(rig_sql("UPDATE session SET budget_cents = 1 WHERE id = 'sesn_live'"));
	say("sesn_live", "bash {\"command\":\"hold\"}");
	rig_hands_saw("call", "sesn_live", 1);
	free(rig_sql("UPDATE session SET budget_cents = 10000 WHERE id = 'sesn_live'"));
	rig_note();
	rig_send("sesn_live");
	fake_hands_release(rig_hands);
	rig_settled("sesn_live");
	rig_same_log("sesn_live", 0, OPEN "a.tool_use M:end a.tool_result s.updated M:start a.message M:end" CLOSE);
	rig_check("sesn_live");
	rig_signal(w, SIGTERM);
}

/* Nobody knows what it would cost: it pauses, and only without a budget does it go on; then there is no sum any more. */
static void
price_gone(void **state)
{
	pid_t w = rig_worker(SETTINGS);

	(void)state;
	rig_session("sesn_free", "fake");
	free(rig_sql("UPDATE session SET budget_cents = 100000 WHERE id = 'sesn_free'"));
	say("sesn_free", "hello");
	rig_settled("sesn_free");
	free(rig_sql("UPDATE model SET price = NULL WHERE id = 'fake'"));
	catalogue_moved();
	say("sesn_free", "hello again");
	rig_settled("sesn_free");
	cell("budget_reached true", REASON, "sesn_free");
	cell("1", "SELECT count(*) FROM inbox WHERE session_id = '%s'", "sesn_free");
	free(rig_sql("UPDATE session SET budget_cents = NULL WHERE id = 'sesn_free'"));
	rig_note();
	rig_send("sesn_free");
	rig_settled("sesn_free");
	rig_same_log("sesn_free", 0, OPEN "a.message M:end" CLOSE CLOSE " s.updated " OPEN "a.message M:end" CLOSE);
	cell("true", "SELECT unpriced::text FROM session WHERE id = '%s'", "sesn_free");
	cell("f", "SELECT (body::jsonb->'usage') ? 'list_cost' FROM event WHERE session_id = '%s' AND type = 'session.usage' ORDER BY seq DESC LIMIT 1",
	    "sesn_free");
	rig_check("sesn_free");
	free(rig_sql("UPDATE model SET price = '%s' WHERE id = 'fake'", PRICE));
	catalogue_moved();
	rig_signal(w, SIGTERM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judged), cmocka_unit_test(killed), cmocka_unit_test(drained), cmocka_unit_test(late),
		cmocka_unit_test(interrupted), cmocka_unit_test(changes_hands), cmocka_unit_test(raised_meanwhile), cmocka_unit_test(price_gone),
	};

	return cmocka_run_group_tests_name("worker money", tests, start, rig_over);
}
