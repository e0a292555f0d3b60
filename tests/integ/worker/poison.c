/* link: tests/env/worker_rig.c tests/env/fake_hands.c workers/harness/note.c */
/*
 * A session that kills its workers: only it is blamed, its neighbours finish, it ends after so many attempts with a dead letter, and an
 * operator can let it try again. What a request that died with its worker may have cost is a gap.
 *
 * A debug build dies at a failpoint in the poison's model reply. A release build has none: there the worker is killed while the poison
 * is about to speak, and the file says what it would have said, had the worker died in its turn.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "note.h"
#include "xalloc.h"

#define NEIGHBOURS 50
#define ATTEMPTS 4

#ifdef ROOST_FAILPOINTS
#define POISON "fake-1"
#else
#define POISON "fault-stall"	/* it waits for its worker's end */
#endif

static char at_hand[128], points[128], settings[512];

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_provider();
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('bad', 'Bad', 200000, 8192)"));
	free(rig_sql("INSERT INTO model_route VALUES ('bad', 0, 'fake', '%s')", POISON));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	snprintf(at_hand, sizeof(at_hand), "%s/at-hand", rig_dir);
	snprintf(points, sizeof(points), "%s/points", rig_dir);
	snprintf(settings, sizeof(settings), "lease_s = 2\nbeat_ms = 300\npoll_ms = 100\npoison_attempts = %d\nat_hand_file = %s\n"
	    "failpoint_file = %s\n", ATTEMPTS, at_hand, points);
	return 0;
}

static void
set_points(const char *text)
{
	FILE *f = fopen(points, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

#ifdef ROOST_FAILPOINTS
/* The worker dies by itself. */
static void
await_death(pid_t worker, int attempt)
{
	(void)attempt;
	rig_await(worker);
}
#else
static void
await_death(pid_t worker, int attempt)
{
	AUTO(str) char *owner = NULL, *epoch = NULL;
	struct note_left left;
	struct err e = ERR_INIT;
	struct note *n;

	rig_wait("t", "SELECT count(*) > %d AND bool_or(k.lease_owner IS NOT NULL AND s.status = 'running') FROM event e JOIN session s ON"
	    " s.id = e.session_id JOIN work k ON k.session_id = s.id WHERE s.id = 'sesn_poison' AND type = 'span.model_request_start'", attempt);
	owner = rig_sql("SELECT lease_owner FROM work WHERE session_id = 'sesn_poison'");
	epoch = rig_sql("SELECT lease_epoch FROM work WHERE session_id = 'sesn_poison'");
	rig_signal(worker, SIGKILL);
	n = note_open(at_hand, &left, &e);
	assert_non_null(n);
	note_begin(n, owner);
	note_set(n, "sesn_poison", atoll(epoch));	/* and not closed: that would take the name out */
}
#endif

static void
neighbour(int i, const char *text)
{
	char id[32];

	snprintf(id, sizeof(id), "sesn_near%d", i);
	rig_session(id, "fake");
	rig_message(text);
	rig_send(id);
}

/* Who dies with the poison once or twice is not blamed, and later finishes beside or after it. */
static void
poison_among_neighbours(void **state)
{
	char id[32];

	(void)state;
	set_points("model.after/sesn_poison kill\n");
	rig_session("sesn_poison", "bad");
	rig_message("!provider {\"word_ms\":250}\none two three four five six seven eight");
	rig_send("sesn_poison");
	for (int i = 0; i < NEIGHBOURS; i++)
		neighbour(i, "!provider {\"word_ms\":40}\none two three four five six seven eight nine ten");
	for (int k = 0; k < ATTEMPTS; k++) {
		await_death(rig_worker(settings), k);
		rig_wait("0", "SELECT count(*) FROM work WHERE attempts > 0 AND session_id <> 'sesn_poison'");
	}
	(void)rig_worker(settings);
	rig_settled("sesn_poison");
	for (int i = 0; i < NEIGHBOURS; i++) {
		snprintf(id, sizeof(id), "sesn_near%d", i);
		rig_settled(id);
		rig_check(id);
	}
	rig_wait("50", "SELECT count(*) FROM session WHERE id LIKE 'sesn_near%%' AND status = 'idle'");
	/* from the second blame on it ran alone: at most two crashes met each neighbour */
	rig_wait("t", "SELECT max(n) <= 2 FROM (SELECT count(*) AS n FROM event WHERE session_id LIKE 'sesn_near%%' AND type ="
	    " 'session.status_rescheduled' GROUP BY session_id UNION ALL SELECT 0) x");
	rig_check("sesn_poison");
}

static void
dead_letter(void **state)
{
	(void)state;
	rig_wait("terminated", "SELECT status FROM session WHERE id = 'sesn_poison'");
	rig_wait("4 crash", "SELECT attempts || ' ' || reason FROM dead_letter WHERE session_id = 'sesn_poison'");
	rig_wait("t", "SELECT worker LIKE 'worker_%%' FROM dead_letter WHERE session_id = 'sesn_poison'");
	rig_wait("unknown_error terminal", "SELECT (body::jsonb->'error'->>'type') || ' ' || (body::jsonb->'error'->'retry_status'->>'type')"
	    " FROM event WHERE session_id = 'sesn_poison' AND type = 'session.error'");
	rig_wait("session.error session.thread_status_terminated session.status_terminated", "SELECT string_agg(type, ' ' ORDER BY seq) FROM"
	    " (SELECT * FROM event WHERE session_id = 'sesn_poison' ORDER BY seq DESC LIMIT 3) e");
	rig_wait("0", "SELECT count(*) FROM suspect");
	/* every request of it was paid for and lost */
	rig_wait("4 worker_lost bad", "SELECT count(*) || ' ' || min(cause) || ' ' || min(model) FROM meter_gap WHERE session_id = 'sesn_poison'");
	rig_wait("t", "SELECT bool_and(type = 'span.model_request_start') FROM meter_gap g JOIN event e USING (session_id, seq)");
}

/* What roostctl prints, without the line's end; the caller frees. */
static char *
roostctl(const char *words)
{
	const char *out = getenv("OUT");
	AUTO(str) char *conf = xasprintf("%s/roostctl.conf", rig_dir);
	AUTO(str) char *cmd = xasprintf("%s/bin/roostctl -c %s -q %s", out != NULL ? out : "build/release", conf, words);
	char line[256] = "";
	FILE *f = fopen(conf, "we"), *p;

	assert_non_null(f);
	fprintf(f, "pg_dsn = host=%s dbname=roost user=roost_admin\n", rig_dir);
	assert_int_equal(fclose(f), 0);
	p = popen(cmd, "re");
	assert_non_null(p);
	if (fgets(line, sizeof(line), p) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	(void)pclose(p);
	return xstrdup(line);
}

static void
roostctl_says(const char *words, const char *want)
{
	AUTO(str) char *got = roostctl(words);

	assert_string_equal(got, want);
}

static void
tried_again(void **state)
{
	(void)state;
	set_points("");
	free(rig_sql("UPDATE model_route SET upstream = 'fake-1' WHERE model_id = 'bad'"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	free(rig_sql("CREATE TABLE schema_migration (version int)"));	/* which a throw-away Postgres has not */
	roostctl_says("check --session sesn_poison >/dev/null && echo fine", "fine");
	roostctl_says("dead list", "sesn_poison");
	roostctl_says("dead retry sesn_near1 2>/dev/null", "");
	roostctl_says("dead retry sesn_poison", "sesn_poison");
	rig_settled("sesn_poison");
	rig_wait("idle", "SELECT status FROM session WHERE id = 'sesn_poison'");
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = 'sesn_poison' AND type = 'agent.message'");
	rig_wait("0", "SELECT count(*) FROM dead_letter");
	rig_wait("0", "SELECT count(*) FROM suspect");
	roostctl_says("dead retry sesn_poison 2>/dev/null", "");	/* there is none any more */
	roostctl_says("check --session sesn_poison >/dev/null && echo fine", "fine");
	rig_check("sesn_poison");
}

/* Failures before the provider began to answer cost nothing; what it was asked may cost, as long as it says nothing. */
static void
gaps_of_failures(void **state)
{
	AUTO(str) char *organization = NULL;

	(void)state;
	rig_session("sesn_refused", "fake");
	rig_message("!provider {\"fault\":\"status\",\"status\":529,\"times\":1}\nhello");
	rig_send("sesn_refused");
	rig_settled("sesn_refused");
	rig_wait("0", "SELECT count(*) FROM meter_gap WHERE session_id = 'sesn_refused'");
	rig_session("sesn_stopped", "fake");
	rig_message("!provider {\"delay_ms\":60000}\nhello");
	rig_send("sesn_stopped");
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = 'sesn_stopped' AND type = 'span.model_request_start'");
	rig_interrupt();
	rig_send("sesn_stopped");
	rig_settled("sesn_stopped");
	rig_wait("interrupted", "SELECT cause FROM meter_gap WHERE session_id = 'sesn_stopped'");
	roostctl_says("gaps --days 0 2>/dev/null || echo no", "no");
	organization = rig_sql("SELECT organization_id FROM session WHERE id = 'sesn_stopped'");
	roostctl_says("gaps --days 1", organization);
	rig_check("sesn_stopped");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(poison_among_neighbours), cmocka_unit_test(dead_letter), cmocka_unit_test(tried_again),
		cmocka_unit_test(gaps_of_failures),
	};

	return cmocka_run_group_tests_name("worker poison", tests, start, rig_over);
}
