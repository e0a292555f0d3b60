/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * roostctl check: silent about logs that real workers wrote, through tools, waits, interrupts, failures and a killed worker; and each
 * thing that is then changed by hand is reported by the check whose business it is.
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

#include "../../env/worker_rig.h"
#include "blob.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "jx.h"
#include "xalloc.h"

#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\nmodel_retries = 2\nmodel_backoff_ms = 20\n"

static const char *const tables[] = { "event", "meter_event", "meter_gap", "session", "work", "inbox", "action", "worker", "blob", "file",
	"file_usage", "session_resource", "vault", "credential", "credential_secret", "sandbox_drop" };
#define NTABLES (sizeof tables / sizeof *tables)

static char blob[BLOB_PATH];	/* of the file that is there */
static struct buf failed;	/* the name of each check that was seen to fail, between spaces */

static char *
read_all(FILE *f)
{
	struct buf b = BUF_INIT(0);
	char chunk[4096];
	size_t n;

	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_put(&b, chunk, n);
	return buf_steal(&b);
}

/* roostctl check with these arguments: its exit status, and the names of the violated checks, each between spaces. */
static int
check(const char *args, char **names)
{
	const char *out = getenv("OUT");
	AUTO(str) char *cmd = xasprintf("%s/bin/roostctl -c %s/roostctl.conf check --json %s", out ? out : "build/release", rig_dir, args);
	AUTO(json) json_t *doc = NULL;
	AUTO(str) char *text = NULL;
	struct buf b = BUF_INIT(0);
	struct err e = ERR_INIT;
	const json_t *one;
	FILE *f = popen(cmd, "re");
	size_t i;
	int status;

	assert_non_null(f);
	text = read_all(f);
	status = pclose(f);
	if (jx_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", cmd, text);
	buf_ch(&b, ' ');
	json_array_foreach(json_object_get(doc, "checks"), i, one)
		if (jx_int(one, "violations", 0) > 0)
			buf_printf(&b, "%s ", jx_str(one, "name"));
	if (getenv("RIG_LOGS") != NULL)
		fprintf(stderr, "%s\n", text);
	*names = buf_steal(&b);
	return WEXITSTATUS(status);
}

static void
expect_clean(const char *args)
{
	AUTO(str) char *names = NULL;
	int status = check(args, &names);

	assert_string_equal(names, " ");
	assert_int_equal(status, 0);
}

static void
expect(const char *args, const char *want)
{
	AUTO(str) char *names = NULL;
	int status = check(args, &names);

	buf_str(&failed, names);
	for (const char *p = want; *p != '\0';) {
		char one[32];
		size_t n = strcspn(p, " ");

		snprintf(one, sizeof one, " %.*s ", (int)n, p);
		if (strstr(names, one) == NULL)
			fail_msg("expected%s, got%s", one, names);
		p += n + (p[n] == ' ');
	}
	assert_int_equal(status, 1);
}

/* --- logs as workers write them -------------------------------------------------------------------------------------------- */

static void
say(const char *session, const char *text)
{
	rig_message(text);
	rig_send(session);
}

static void
answered(const char *session)
{
	AUTO(str) char *call = NULL;

	say(session, "weather {\"city\":\"Oslo\"}\n\nIt rains.");
	rig_settled(session);
	call = rig_event(session, "agent.custom_tool_use", 1);
	rig_result(call, "rain");
	rig_send(session);
	rig_settled(session);
}

static void
denied(const char *session)
{
	AUTO(str) char *call = NULL;

	say(session, "write {\"file_path\":\"/x\",\"content\":\"y\"}\n\nFine.");
	rig_settled(session);
	call = rig_event(session, "agent.tool_use", 1);
	rig_confirm(call, "no");
	rig_send(session);
	rig_settled(session);
}

static void
interrupted(const char *session)
{
	say(session, "bash {\"command\":\"hold\"}\n\nDone here.");
	rig_hands_has("call", session, 1);
	rig_interrupt();
	rig_send(session);
	rig_settled(session);
}

static pid_t
survived(const char *session, pid_t worker)
{
	say(session, "!provider {\"word_ms\":3000,\"times\":1}\none two three four five six seven eight nine ten eleven twelve");
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = '%s' AND type = 'span.model_request_start'", session);
	rig_signal(worker, SIGKILL);
	worker = rig_worker(SETTINGS);
	rig_wait("idle", "SELECT status FROM session WHERE id = '%s'", session);
	rig_settled(session);
	return worker;
}

/* A file with its blob, and a copy of it in a session. */
static void
upload(void)
{
	AUTO(blob_writer) struct blob_writer w = BLOB_WRITER_INIT;
	AUTO(str) char *dir = xasprintf("%s/blobs", rig_dir);
	char sha[BLOB_SHA];
	struct err e = ERR_INIT;

	must(blob_setup(dir, &e) == 0 && blob_create(dir, &w, &e) == 0 && blob_write(&w, "hello", 5, &e) == 0 && blob_keep(&w, sha, &e) == 0);
	free(rig_sql("SELECT file_insert('file_a', organization_id, workspace_id, NULL, 'upload', NULL, 'a', 'text/plain', false, '%s', 5, '%s', NULL, 9)"
	    " FROM session WHERE id = 'sesn_tool'", w.id, sha));
	free(rig_sql("SELECT result FROM session, session_resource_add(workspace_id, id, '{sesrsc_b}', '{file_b}', '{file_a}', '{/b}', 9)"
	    " WHERE id = 'sesn_tool'"));
	must(snprintf(blob, sizeof blob, "%s/%.2s/%s", dir, w.id, w.id) > 0);
}

/* Two credentials, and an archived one. */
static void
keep_secrets(void)
{
	static const char *const names[] = { "vcrd_a", "vcrd_b", "vcrd_c" };

	free(rig_sql("INSERT INTO vault (id, organization_id, workspace_id, body, created_at, updated_at) SELECT 'vlt_a', organization_id, workspace_id, '{}',"
	    " now(), now() FROM session WHERE id = 'sesn_tool'"));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		AUTO(str) char *result = rig_sql("SELECT credential_insert(workspace_id, 'vlt_a', '%s', 'static_bearer', '%s', '{}', 'https://%s', NULL, NULL, NULL,"
		    " NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{token}', '{k}', '{x}', 20) FROM session WHERE id = 'sesn_tool'", names[i], names[i], names[i]);

		assert_string_equal(result, "ok");
	}
	free(rig_sql("SELECT credential_archive(workspace_id, 'vlt_a', 'vcrd_c') FROM session WHERE id = 'sesn_tool'"));
}

static int
start(void **state)
{
	static const char *const names[] = { "sesn_plain", "sesn_tool", "sesn_answer", "sesn_deny", "sesn_stop", "sesn_retry",
	    "sesn_killed", "sesn_wait" };
	AUTO(str) char *path = NULL;
	pid_t worker;
	FILE *f;

	(void)state;
	rig_start();
	rig_provider();
	worker = rig_worker(SETTINGS);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		rig_session(names[i], "fake");
	say("sesn_plain", "hello");
	say("sesn_tool", "bash {\"command\":\"echo a\"}\nbash {\"command\":\"echo b\"}\n\nDone.");
	say("sesn_retry", "!provider {\"fault\":\"status\",\"status\":529}\nhello");
	say("sesn_wait", "weather {\"city\":\"Rome\"}");
	interrupted("sesn_stop");
	answered("sesn_answer");
	denied("sesn_deny");
	worker = survived("sesn_killed", worker);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		rig_settled(names[i]);
	rig_signal(worker, SIGTERM);	/* nobody but us touches the database from here */
	/* roostctl's own ledger, which the throw-away Postgres does without */
	free(rig_sql("CREATE TABLE schema_migration (version int PRIMARY KEY, name text, sha256 text)"));
	path = xasprintf("%s/roostctl.conf", rig_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "pg_dsn = host=%s dbname=roost user=roost_admin\nblob_dir = %s/blobs\n", rig_dir, rig_dir);
	assert_int_equal(fclose(f), 0);
	upload();
	keep_secrets();
	return 0;
}

static void
clean(void **state)
{
	AUTO(str) char *names = NULL;

	(void)state;
	expect_clean("");
	expect_clean("--session sesn_tool");
	free(rig_sql("CREATE SCHEMA kept"));
	for (size_t i = 0; i < NTABLES; i++)
		free(rig_sql("CREATE TABLE kept.%s AS TABLE public.%s", tables[i], tables[i]));
}

/* --- a hand in the database ------------------------------------------------------------------------------------------------ */

#define SEQ_OF(session, type) "(SELECT min(seq) FROM event WHERE session_id = '" session "' AND type = '" type "')"
#define AT(session, type) "session_id = '" session "' AND seq = " SEQ_OF(session, type)
/* Take an event away and close the gap, the row's number included. */
#define REMOVE(session, type) \
	"CREATE TEMP TABLE at AS SELECT " SEQ_OF(session, type) " AS seq;" \
	"DELETE FROM event WHERE session_id = '" session "' AND seq = (SELECT seq FROM at);" \
	"UPDATE event SET seq = -seq WHERE session_id = '" session "' AND seq > (SELECT seq FROM at);" \
	"UPDATE event SET seq = -seq - 1 WHERE session_id = '" session "' AND seq < 0;" \
	"UPDATE meter_event SET seq = seq - 1 WHERE session_id = '" session "' AND seq > (SELECT seq FROM at);" \
	"UPDATE session SET last_seq = last_seq - 1 WHERE id = '" session "'; DROP TABLE at"
#define EXCHANGE(session, a, b) \
	"CREATE TEMP TABLE at AS SELECT " SEQ_OF(session, a) " AS a, " SEQ_OF(session, b) " AS b;" \
	"UPDATE event SET seq = -1 WHERE session_id = '" session "' AND seq = (SELECT a FROM at);" \
	"UPDATE event SET seq = (SELECT a FROM at) WHERE session_id = '" session "' AND seq = (SELECT b FROM at);" \
	"UPDATE event SET seq = (SELECT b FROM at) WHERE session_id = '" session "' AND seq = -1; DROP TABLE at"

static const struct { const char *name, *sql, *want; } cases[] = {
	{ "an event is removed",
	    "DELETE FROM event WHERE " AT("sesn_tool", "agent.message"), "gapless" },
	{ "the last event is removed",
	    "DELETE FROM event WHERE " AT("sesn_plain", "session.status_idle"), "gapless status order" },
	{ "a result is removed and the log renumbered", REMOVE("sesn_tool", "agent.tool_result"), "calls" },
	{ "a span's end is removed and the log renumbered", REMOVE("sesn_plain", "span.model_request_end"), "spans order tokens" },
	{ "the running event is removed and the log renumbered", REMOVE("sesn_plain", "session.status_running"), "order runtime" },
	{ "an event is doubled",
	    "INSERT INTO event SELECT session_id, seq + 1000, id || 'x', type, thread_id, processed_at, body, role, "
	    "fragment, private FROM event WHERE " AT("sesn_tool", "agent.tool_result"), "gapless body stamps calls order" },
	{ "an event of another session",
	    "UPDATE event SET id = (SELECT id FROM event WHERE " AT("sesn_plain", "user.message") ") WHERE "
	    AT("sesn_tool", "user.message"), "event-ids body" },
	{ "two events change places", EXCHANGE("sesn_plain", "span.model_request_start", "agent.message"), "order stamps" },
	{ "a text is changed",
	    "UPDATE event SET body = replace(body, '\"type\":\"user.message\"', '\"type\":\"user.massage\"') WHERE "
	    AT("sesn_plain", "user.message"), "body" },
	{ "a stamp is changed",
	    "UPDATE event SET processed_at = processed_at + interval '1 microsecond' WHERE " AT("sesn_plain", "user.message"), "body" },
	{ "a runtime row is removed",
	    "DELETE FROM meter_event WHERE session_id = 'sesn_plain' AND meter = 'session.runtime'", "runtime" },
	{ "a runtime row is billed again",
	    "INSERT INTO meter_event SELECT session_id, seq, meter, 1, organization_id, workspace_id, api_key_id, "
	    "agent_id, agent_version, environment_id, model, period_start, period_end, quantity, unit, cum_before FROM meter_event "
	    "WHERE session_id = 'sesn_killed' AND meter = 'session.runtime'", "overlap" },
	{ "a runtime row is of three minutes",
	    "UPDATE meter_event SET period_end = period_start + interval '3 minutes', quantity = 180000 WHERE session_id = 'sesn_plain' AND "
	    "meter = 'session.runtime'", "slices" },
	{ "a runtime row is of two days",
	    "UPDATE meter_event SET period_start = date_trunc('day', period_start, 'UTC') - interval '5 seconds', period_end = date_trunc('day', "
	    "period_start, 'UTC') + interval '5 seconds' WHERE session_id = 'sesn_plain' AND meter = 'session.runtime'", "slices" },
	{ "a runtime row is longer",
	    "UPDATE meter_event SET quantity = quantity + 5 WHERE session_id = 'sesn_tool' AND meter = 'session.runtime'",
	    "runtime overlap" },
	{ "tokens are billed again",
	    "INSERT INTO meter_event SELECT session_id, 1, meter, 0, organization_id, workspace_id, api_key_id, "
	    "agent_id, agent_version, environment_id, model, period_start, period_end, quantity, unit, cum_before FROM meter_event "
	    "WHERE session_id = 'sesn_plain' AND meter = 'tokens.output'", "tokens chain" },
	{ "tokens are removed",
	    "DELETE FROM meter_event WHERE session_id = 'sesn_plain' AND meter = 'tokens.input'", "tokens totals" },
	{ "a row bills another",
	    "UPDATE meter_event SET organization_id = 'other' WHERE session_id = 'sesn_plain'", "owner" },
	{ "a gap where nothing was asked", "INSERT INTO meter_gap SELECT session_id, 1, organization_id, workspace_id, model, 'failed', recorded_at FROM "
	    "meter_event WHERE session_id = 'sesn_plain' AND meter = 'tokens.input'", "gaps" },
	{ "a gap that was billed", "INSERT INTO meter_gap SELECT session_id, " SEQ_OF("sesn_plain", "span.model_request_start") ", organization_id, "
	    "workspace_id, model, 'failed', recorded_at FROM meter_event WHERE session_id = 'sesn_plain' AND meter = 'tokens.input'", "gaps" },
	{ "totals are changed",
	    "UPDATE session SET active_us = active_us + 1, input_tokens = input_tokens - 1 WHERE id = 'sesn_plain'", "totals" },
	{ "it ran longer than it lived",
	    "UPDATE session SET active_us = 9000000000000 WHERE id = 'sesn_plain'", "wall totals" },
	{ "a usage is changed",
	    "UPDATE event SET body = replace(body, 'active_seconds\":', 'active_seconds\":1') WHERE "
	    AT("sesn_plain", "session.usage"), "usage" },
	{ "a cost is changed",
	    "UPDATE session SET token_nano = token_nano + 1 WHERE id = 'sesn_plain'", "cost" },
	{ "tokens without a price have a sum",
	    "UPDATE session SET unpriced = false WHERE id = 'sesn_plain'", "cost" },
	{ "a status is changed",
	    "UPDATE session SET status = 'terminated' WHERE id = 'sesn_plain'", "status" },
	{ "it runs without a worker",
	    "UPDATE session SET status = 'running', at_work = true WHERE id = 'sesn_plain'; INSERT INTO work (workspace_id, session_id, due_at, "
	    "lease_owner) SELECT workspace_id, id, clock_timestamp(), 'worker_x' FROM session WHERE id = 'sesn_plain'", "leases status" },
	{ "it is due and nobody comes",
	    "UPDATE session SET at_work = true WHERE id = 'sesn_plain'; INSERT INTO work (workspace_id, session_id, due_at) "
	    "SELECT workspace_id, id, clock_timestamp() - interval '3 seconds' FROM session WHERE id = 'sesn_plain'", "waiting" },
	{ "it says that it is at work",
	    "UPDATE session SET at_work = true WHERE id = 'sesn_plain'", "work" },
	{ "its work is nobody's",
	    "INSERT INTO work (workspace_id, session_id, due_at) SELECT 'wrkspc_x', id, 'infinity' FROM session WHERE id = 'sesn_plain'", "work" },
	{ "an idle session waits for another's call",
	    "UPDATE event SET body = regexp_replace(body, '\"event_ids\":\\[\"[^\"]*\"', '\"event_ids\":[\"sevt_other\"') WHERE "
	    AT("sesn_wait", "session.status_idle"), "awaited" },
	{ "an idle session waits for a call that was answered",
	    "UPDATE event SET body = replace(body, '\"type\":\"end_turn\"', '\"type\":\"requires_action\",\"event_ids\":[\"' || (SELECT id FROM event "
	    "WHERE " AT("sesn_tool", "agent.tool_use") ") || '\"]') WHERE " AT("sesn_tool", "session.status_idle"), "awaited" },
	{ "a session of another tenant",
	    "INSERT INTO organization SELECT (jsonb_populate_record(o, '{\"id\":\"other\"}')).* FROM organization o LIMIT 1;"
	    "UPDATE session SET organization_id = 'other' WHERE id = 'sesn_plain'", "tenants owner" },
	{ "a sandbox is forgotten",
	    "INSERT INTO sandbox_drop (session_id, dropped_at) VALUES ('sesn_plain', now() - interval '61 seconds')", "drops" },
	{ "a call is forgotten",
	    "UPDATE action SET state = 'closed' WHERE session_id = 'sesn_wait'", "calls" },
	{ "an item is not counted",
	    "INSERT INTO inbox (session_id, inbox_seq, id, type, stem, received_at, wakes) VALUES ('sesn_plain', 99, 'sevt_i', "
	    "'user.message', '{', now(), true)", "inbox" },
	{ "an item waits where nobody looks",
	    "INSERT INTO inbox (session_id, inbox_seq, id, type, stem, received_at, wakes) VALUES ('sesn_plain', 99, "
	    "'sevt_i', 'user.message', '{', now(), true); UPDATE session SET inbox_seq = 99, inbox_events = 1, inbox_bytes = 1, inbox_wakes = 1 "
	    "WHERE id = 'sesn_plain'", "stranded" },
	{ "an item is in the log too",
	    "INSERT INTO inbox (session_id, inbox_seq, id, type, stem, received_at, wakes) SELECT 'sesn_plain', 99, id, type, "
	    "'{', now(), false FROM event WHERE " AT("sesn_plain", "user.message"), "logged" },
	{ "a file is not counted", "DELETE FROM file_usage", "stored" },
	{ "a file is of another size", "UPDATE file SET size_bytes = 6 WHERE id = 'file_b'", "files" },
	{ "a file's blob is given up", "UPDATE blob SET doomed_at = now()", "files" },
	{ "a file is of another organization", "UPDATE file SET organization_id = 'other' WHERE id = 'file_b'", "files" },
	{ "resources are shown that are not there", "UPDATE session SET resources = '[]' WHERE id = 'sesn_tool'", "resources" },
	{ "a copy is mounted by nobody", "DELETE FROM session_resource", "resources" },
	{ "an output is published twice", "INSERT INTO file (id, organization_id, workspace_id, session_id, origin, path, filename, mime_type,"
	  " size_bytes, blob_id, downloadable, created_at) SELECT x, organization_id, workspace_id, 'sesn_tool', 'output', 'o', 'o', 'text/plain', 5,"
	  " blob_id, true, now() FROM file, unnest('{file_c,file_d}'::text[]) x WHERE id = 'file_a'", "outputs" },
	{ "a blob is smaller than its row", "UPDATE blob SET size_bytes = 6", "blobs files" },
	{ "a secret is lost", "DELETE FROM credential_secret WHERE credential_id = 'vcrd_a'", "vaults" },
	{ "a purged secret is back", "INSERT INTO credential_secret VALUES ('vcrd_c', 'token', 1, 'k', 'x')", "vaults" },
	{ "a secret of a version to come", "UPDATE credential_secret SET version = 2 WHERE credential_id = 'vcrd_a'", "vaults" },
	{ "a credential of another tenant", "UPDATE credential SET workspace_id = 'other' WHERE id = 'vcrd_b'", "vaults" },
	{ "a credential that outlives its vault", "UPDATE vault SET archived_at = now()", "vaults" },
	{ "an orphan",
	    "DELETE FROM session WHERE id = 'sesn_plain'", "orphans" },
};

static void
restore(void)
{
	for (size_t i = 0; i < NTABLES; i++)
		free(rig_sql("TRUNCATE public.%s CASCADE; INSERT INTO public.%s SELECT * FROM kept.%s", tables[i], tables[i], tables[i]));
}

static void
by_hand(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(str) char *names = NULL;

		print_message("# %s\n", cases[i].name);
		free(rig_sql("%s", cases[i].sql));
		expect("", cases[i].want);
		restore();
	}
	expect_clean("");
	assert_int_equal(unlink(blob), 0);
	expect("", "blobs");
	expect("--session sesn_tool", "blobs");
	free(rig_sql("DELETE FROM file"));
	expect_clean("");
	restore();
	free(rig_sql("DELETE FROM file; DELETE FROM file_usage"));
}

/* --- what clients saw ------------------------------------------------------------------------------------------------------ */

static void
put_line(FILE *f, json_t *line)
{
	assert_true(json_dumpf(line, f, JSON_COMPACT) == 0 && fputc('\n', f) == '\n');
	json_decref(line);
}

/* What a client saw of a session's log: from its k-th event on, one left out, one with another text, one twice, two in the wrong order. */
struct saw { int from, without, twist, twice, swapped, short_by; const char *want; };

static char *
body_of(const char *session, int seq, bool twisted)
{
	return rig_sql("SELECT %s FROM event WHERE session_id = '%s' AND seq = %d", twisted ? "replace(body, '\"id\"', '\"id\" ')" : "body",
	    session, seq);
}

static void
put_seen(FILE *f, int sub, struct buf *list, const char *body)
{
	if (list != NULL)
		buf_printf(list, "%s%s", list->len > 0 ? "," : "", body);
	else
		put_line(f, json_pack("{s:s, s:i, s:s}", "op", "event", "sub", sub, "raw", body));
}

/* Each as a stream of this number, or into the list. */
static void
put_events(FILE *f, int sub, struct buf *list, const char *session, const struct saw *s, int last)
{
	for (int at = s->from; at <= last - s->short_by; at++) {
		int seq = at == s->swapped ? at + 1 : at == s->swapped + 1 && s->swapped > 0 ? at - 1 : at;
		AUTO(str) char *body = body_of(session, seq, seq == s->twist);

		for (int n = seq == s->without ? 0 : seq == s->twice ? 2 : 1; n > 0; n--)
			put_seen(f, sub, list, body);
	}
}

static void
put_stream(FILE *f, int sub, const char *session, const struct saw *s, int last)
{
	put_line(f, json_pack("{s:s, s:i, s:s}", "op", "open", "sub", sub, "session", session));
	put_line(f, json_pack("{s:s, s:i, s:s}", "op", "base", "sub", sub, "id", ""));
	put_events(f, sub, NULL, session, s, last);
	put_line(f, json_pack("{s:s, s:i}", "op", "end", "sub", sub));
}

static void
put_list(FILE *f, const char *session, const struct saw *s, int last)
{
	AUTO(buf) struct buf events = BUF_INIT(0);
	AUTO(str) char *raw = NULL;

	put_events(f, -1, &events, session, s, last);
	raw = xasprintf("{\"data\":[%s],\"next_page\":null}", events.data);
	put_line(f, json_pack("{s:s, s:s, s:s}", "op", "list", "session", session, "raw", raw));
}

static void
seen_case(const struct saw *s, bool list)
{
	AUTO(str) char *path = xasprintf("%s/history", rig_dir), *args = xasprintf("--history %s", path);
	AUTO(str) char *last = rig_sql("SELECT last_seq FROM session WHERE id = 'sesn_tool'");
	AUTO(str) char *id = rig_event("sesn_tool", "user.message", 1);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	put_line(f, json_pack("{s:s, s:s, s:i, s:[s], s:[s], s:b}", "op", "ack", "session", "sesn_tool", "at", 0, "events", id, "marks",
	    "echo a", "once", 1));
	if (list)
		put_list(f, "sesn_tool", s, atoi(last));
	else
		put_stream(f, 0, "sesn_tool", s, atoi(last));
	assert_int_equal(fclose(f), 0);
	if (s->want != NULL)
		expect(args, s->want);
	else
		expect_clean(args);
}

static void
what_was_seen(void **state)
{
	static const struct saw streams[] = {
		{ .from = 1 }, { .from = 1, .without = 4, .want = "complete" }, { .from = 2, .want = "complete" },
		{ .from = 1, .short_by = 1, .want = "complete" }, { .from = 1, .twist = 5, .want = "unchanged" },
		{ .from = 1, .twice = 4, .want = "read-order" }, { .from = 1, .swapped = 4, .want = "read-order complete" },
	};
	/* its end is the end of its time: a list that is short at its end was asked for earlier */
	static const struct saw lists[] = {
		{ .from = 1 }, { .from = 1, .short_by = 2 }, { .from = 1, .without = 4, .want = "complete" }, { .from = 2, .want = "complete" },
		{ .from = 1, .twist = 5, .want = "unchanged" }, { .from = 1, .twice = 4, .want = "read-order" },
		{ .from = 1, .swapped = 4, .want = "read-order complete" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
		seen_case(&streams[i], false);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		seen_case(&lists[i], true);
}

/* A session that is not there was deleted, or lost. */
static void
what_is_gone(void **state)
{
	AUTO(str) char *path = xasprintf("%s/history", rig_dir), *args = xasprintf("--history %s", path);
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	put_line(f, json_pack("{s:s, s:s, s:i, s:[], s:[]}", "op", "ack", "session", "sesn_gone", "at", 0, "events", "marks"));
	assert_int_equal(fclose(f), 0);
	expect(args, "acked");
	f = fopen(path, "a");
	assert_non_null(f);
	put_line(f, json_pack("{s:s, s:s}", "op", "delete", "session", "sesn_gone"));
	assert_int_equal(fclose(f), 0);
	expect_clean(args);
}

static void
what_was_acknowledged(void **state)
{
	AUTO(str) char *path = xasprintf("%s/history", rig_dir), *args = xasprintf("--history %s", path);
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	put_line(f, json_pack("{s:s, s:s, s:I, s:[s]}", "op", "ack", "session", "sesn_tool", "at", (json_int_t)(clock_wall_us() / 1000),
	    "events", "sevt_never"));
	put_line(f, json_pack("{s:s, s:s, s:[s], s:b}", "op", "fail", "session", "sesn_tool", "marks", "a", "once", 1));
	assert_int_equal(fclose(f), 0);
	expect(args, "acked");
	free(rig_sql("INSERT INTO event SELECT session_id, 1000, id || 'x', type, thread_id, processed_at, body, role, fragment, private "
	    "FROM event WHERE " AT("sesn_tool", "user.message")));
	expect(args, "acked doubled");
	restore();
}

/* Of what the checker says none is said in vain: each was seen to fail above. */
static void
every_sentence(void **state)
{
	static const char *const names[] = {
#define CHECK(id, name, invariants, how, stmt, sentence) name,
#include "checks.def"
#undef CHECK
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		AUTO(str) char *one = xasprintf(" %s ", names[i]);

		if (strstr(failed.data, one) == NULL)
			fail_msg("nothing made %s fail", names[i]);
	}
	buf_free(&failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean),
		cmocka_unit_test(by_hand),
		cmocka_unit_test(what_was_seen),
		cmocka_unit_test(what_is_gone),
		cmocka_unit_test(what_was_acknowledged),
		cmocka_unit_test(every_sentence),
	};

	return cmocka_run_group_tests(tests, start, rig_over);
}
