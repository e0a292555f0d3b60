/*
 * worker_rig: see worker_rig.h. The gateway's part (inbox_put and the ring) is done here with its own statements.
 */
#include "worker_rig.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bell.h"
#include "bus.h"
#include "child.h"
#include "clock.h"
#include "db.h"
#include "id.h"
#include "inbox.h"
#include "jw.h"
#include "told.h"
#include "xalloc.h"

#define WORKERS 32		/* of one program */
#define BATCH 16

struct fake_hands *rig_hands;
char rig_dir[64];

static PGconn *owner;
static struct db *gw;
static struct bus *bus;
static struct bells *bells;
static pid_t redis_pid, workers[WORKERS];
static int nworkers;
static pid_t provider_pid;
static int provider_in = -1;

struct put {
	char id[ID_MAX], *stem, *fragment, *refers, *deny;
	const char *type, *wakes, *answer;
};
static struct put batch[BATCH];
static int nbatch;
static struct inbox_sent sent;		/* of the latest rig_put(), */
static struct buf record;		/* and what it tells */

static pid_t
spawn(char *const argv[], const char *log)
{
	pid_t pid = child_fork(SIGKILL);

	if (pid == 0) {
		if (freopen(log, "a", stderr) == NULL || freopen("/dev/null", "r", stdin) == NULL || freopen("/dev/null", "w", stdout) == NULL)
			_exit(127);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void
doze(void)
{
	(void)usleep(3000);	/* the step of a wait with a deadline */
}

static void
start_redis(void)
{
	char sock[128], log[128];

	snprintf(sock, sizeof(sock), "%s/redis.sock", rig_dir);
	snprintf(log, sizeof(log), "%s/redis.log", rig_dir);
	redis_pid = spawn((char *[]){ (char *)"redis-server", (char *)"--port", (char *)"0", (char *)"--unixsocket", sock, (char *)"--save",
	    (char *)"", NULL }, log);
	for (int64_t end = clock_mono_ms() + RIG_MS; access(sock, R_OK) != 0; doze())
		must(clock_mono_ms() < end);
}

void
rig_start(void)
{
	AUTO(str) char *cmd = NULL, *admin = NULL, *gateway = NULL, *hands = NULL;
	static struct conf c;	/* the bus keeps looking at it */
	struct err e = ERR_INIT;

	(void)signal(SIGPIPE, SIG_IGN);		/* hiredis writes into closed sockets */
	snprintf(rig_dir, sizeof(rig_dir), "/tmp/roost-worker-%d", (int)getpid());
	must(system(cmd = xasprintf("tests/env/postgres start %s", rig_dir)) == 0);
	admin = xasprintf("host=%s dbname=roost user=roost_admin", rig_dir);
	gateway = xasprintf("host=%s dbname=roost user=roost_gw", rig_dir);
	hands = xasprintf("%s/hands.sock", rig_dir);
	owner = PQconnectdb(admin);
	must(PQstatus(owner) == CONNECTION_OK);
	gw = db_open(gateway, DB_GW, RIG_MS);
	start_redis();
	must(conf_load(&c, "/dev/null", &e) == 0);
	snprintf(c.redis_socket, sizeof(c.redis_socket), "%s/redis.sock", rig_dir);
	c.redis_timeout_ms = RIG_MS;
	bus = bus_open(&c);
	rig_hands = fake_hands_start(hands);
	free(rig_sql("INSERT INTO organization (id, name) VALUES ('org', 'Org')"));
	free(rig_sql("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One')"));
}

/* It ends with its stdin, which this process holds: also when the test dies. */
void
rig_provider(void)
{
	int in[2], out[2];
	char line[256] = "", *url;
	ssize_t n = 0;

	must(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	provider_pid = child_fork(SIGKILL);
	if (provider_pid == 0) {
		if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
			_exit(127);
		execlp("node", "node", "tests/provider/provider.mjs", "--until-eof", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	provider_in = in[1];
	while (strchr(line, '\n') == NULL) {
		ssize_t got = read(out[0], line + n, sizeof(line) - 1 - (size_t)n);

		must(got > 0);
		n += got;
	}
	close(out[0]);
	url = strstr(line, "http://");
	must(url != NULL);
	url[strcspn(url, "\r\n")] = '\0';
	free(rig_sql("INSERT INTO provider (name, dialect, base_url) VALUES ('fake', 'anthropic', '%s')", url));
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('fake', 'Fake', 200000, 8192)"));
	free(rig_sql("INSERT INTO model_route VALUES ('fake', 0, 'fake', 'fake-1')"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
}

void
rig_bell(void)
{
	AUTO(str) char *dir = xasprintf("%s/bell", rig_dir);

	must(mkdir(dir, 0700) == 0);
	bells = bells_open(dir);
	must(bells != NULL);
}

pid_t
rig_worker(const char *settings)
{
	const char *out = getenv("OUT");
	AUTO(str) char *binary = xasprintf("%s/bin/roost-worker", out != NULL ? out : "build/release");
	AUTO(str) char *conf = xasprintf("%s/worker-%d.conf", rig_dir, nworkers), *log = xasprintf("%s/worker-%d.log", rig_dir, nworkers);
	FILE *f = fopen(conf, "w");

	must(f != NULL && nworkers < WORKERS);
	fprintf(f, "pg_dsn = host=%s dbname=roost user=roost_worker\nredis_socket = %s/redis.sock\nredis_timeout_ms = 1000\n"
	    "hands_socket = %s/hands.sock\nlog_level = debug\n%s", rig_dir, rig_dir, rig_dir, settings);
	if (bells != NULL)
		fprintf(f, "bell_dir = %s/bell\n", rig_dir);
	must(fclose(f) == 0);
	workers[nworkers] = spawn((char *[]){ binary, (char *)"-c", conf, NULL }, log);
	return workers[nworkers++];
}

/* What the workers had to say, for whoever reads of a failure. */
static void
logs(void)
{
	AUTO(str) char *cmd = xasprintf("tail -n 60 %s/worker-*.log >&2", rig_dir);

	if (system(cmd) != 0)
		fputs("no logs\n", stderr);
}

void
rig_signal(pid_t pid, int sig)
{
	int status;

	must(kill(pid, sig) == 0);
	if (sig != SIGKILL && sig != SIGTERM)
		return;
	must(waitpid(pid, &status, 0) == pid);
	if (sig == SIGTERM)
		assert_int_equal(status, 0);
	for (int i = 0; i < nworkers; i++)
		if (workers[i] == pid)
			workers[i] = 0;
}

void
rig_await(pid_t pid)
{
	int status = 0;
	pid_t got = 0;

	for (int64_t end = clock_mono_ms() + RIG_MS; got == 0 && clock_mono_ms() < end; doze())
		got = waitpid(pid, &status, WNOHANG);
	assert_int_equal(got, pid);
	assert_true(WIFSIGNALED(status));
	for (int i = 0; i < nworkers; i++)
		if (workers[i] == pid)
			workers[i] = 0;
}

void
rig_stop(void)
{
	AUTO(str) char *stop = xasprintf("tests/env/postgres stop %s", rig_dir);

	for (int i = 0; i < nworkers; i++)
		if (workers[i] != 0) {
			rig_signal(workers[i], SIGCONT);
			rig_signal(workers[i], SIGTERM);
		}
	fake_hands_stop(&rig_hands);
	if (getenv("RIG_LOGS") != NULL)
		logs();
	if (provider_pid != 0) {
		close(provider_in);
		(void)waitpid(provider_pid, NULL, 0);
	}
	bus_close(&bus);
	bells_close(&bells);
	db_close(&gw);
	PQfinish(owner);
	(void)kill(redis_pid, SIGKILL);
	(void)waitpid(redis_pid, NULL, 0);
	must(system(stop) == 0);
}

/* A test that failed half-way has workers of its own left, perhaps stopped ones, and work. */
int
rig_clear(void **state)
{
	int left = 0;

	(void)state;
	for (int i = 0; i < nworkers; i++)
		if (workers[i] != 0) {
			rig_signal(workers[i], SIGKILL);
			left++;
		}
	if (left == 0)
		return 0;
	logs();
	fake_hands_release(rig_hands);
	fake_hands_amnesia(rig_hands);
	free(rig_sql("DELETE FROM work"));
	free(rig_sql("DELETE FROM worker"));
	return 0;
}

int
rig_over(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

static char *
ask(const char *sql)
{
	AUTO(pgres) PGresult *r = NULL;

	if (PQstatus(owner) != CONNECTION_OK)
		PQreset(owner);
	r = PQexec(owner, sql);
	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(owner));
	return xstrdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
}

char *
rig_sql(const char *fmt, ...)
{
	AUTO(str) char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&sql, fmt, ap) >= 0);
	va_end(ap);
	return ask(sql);
}

void
rig_hands_has(const char *op, const char *session, int n)
{
	int64_t end = clock_mono_ms() + RIG_MS;

	while (fake_hands_count(rig_hands, op, session) < n) {
		if (clock_mono_ms() > end) {
			logs();
			fail_msg("waited for %d %s of %s", n, op, session);
		}
		doze();
	}
}

void
rig_hands_saw(const char *op, const char *session, int n)
{
	rig_hands_has(op, session, n);
	assert_int_equal(fake_hands_count(rig_hands, op, session), n);
}

void
rig_wait(const char *want, const char *fmt, ...)
{
	int64_t end = clock_mono_ms() + RIG_MS;
	AUTO(str) char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&sql, fmt, ap) >= 0);
	va_end(ap);
	for (;; doze()) {
		bool late = clock_mono_ms() > end;
		AUTO(str) char *got = ask(sql);

		if (strcmp(got, want) == 0)
			return;
		if (!late)
			continue;
		logs();
		fail_msg("waited for %s = '%s', have '%s'", sql, want, got);
	}
}

void
rig_session(const char *id, const char *model)
{
	static const char tools[] = "[{\"type\":\"agent_toolset_20260401\",\"default_config\":{\"enabled\":true,\"permission_policy\":"
	    "{\"type\":\"always_allow\"}},\"configs\":[{\"type\":\"edit\",\"name\":\"edit\",\"enabled\":false,\"permission_policy\":"
	    "{\"type\":\"always_allow\"}},{\"type\":\"write\",\"name\":\"write\",\"enabled\":true,\"permission_policy\":{\"type\":"
	    "\"always_ask\"}}]},{\"type\":\"custom\",\"name\":\"weather\",\"description\":\"The weather.\",\"input_schema\":{\"type\":"
	    "\"object\"}}]";

	free(rig_sql("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent,"
	    " last_at, created_at, updated_at) VALUES ('%s', 'org', 'w1', 'agent_1', 1, 'env_1', 'sthr_%s',"
	    " '{\"type\":\"agent\",\"id\":\"agent_1\",\"version\":1,\"name\":\"Bot\",\"model\":{\"id\":\"%s\",\"effort\":{\"type\":\"high\"}},"
	    "\"system\":null,\"tools\":%s}', clock_timestamp(), clock_timestamp(), clock_timestamp())", id, id, model, tools));
}

static char *
quoted(const char *s)
{
	struct buf b = BUF_INIT(0);

	jw_quote(&b, s, strlen(s));
	return buf_steal(&b);
}

static struct put *
add(const char *type, const char *wakes)
{
	struct put *p = &batch[nbatch++];

	must(nbatch <= BATCH);
	*p = (struct put){ .type = type, .wakes = wakes };
	id_new("sevt_", p->id);
	return p;
}

void
rig_message(const char *text)
{
	struct put *p = add("user.message", "t");
	AUTO(str) char *q = quoted(text);

	p->fragment = xasprintf("{\"type\":\"text\",\"text\":%s}", q);
	p->stem = xasprintf("{\"id\":\"%s\",\"type\":\"user.message\",\"content\":[%s]", p->id, p->fragment);
}

void
rig_interrupt(void)
{
	struct put *p = add("user.interrupt", "t");

	p->stem = xasprintf("{\"id\":\"%s\",\"type\":\"user.interrupt\"", p->id);
}

void
rig_result(const char *tool_use_id, const char *text)
{
	struct put *p = add("user.custom_tool_result", "t");
	AUTO(str) char *q = quoted(text);

	p->refers = xstrdup(tool_use_id);
	p->stem = xasprintf("{\"id\":\"%s\",\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"%s\",\"content\":[{\"type\":\"text\","
	    "\"text\":%s}]", p->id, tool_use_id, q);
	p->fragment = xasprintf("{\"type\":\"tool_result\",\"tool_use_id\":\"%s\",\"content\":[{\"type\":\"text\",\"text\":%s}]}", tool_use_id, q);
}

void
rig_confirm(const char *tool_use_id, const char *deny_message)
{
	struct put *p = add("user.tool_confirmation", "t");

	p->refers = xstrdup(tool_use_id);
	p->answer = deny_message != NULL ? "deny" : "allow";
	p->deny = deny_message != NULL && deny_message[0] != '\0' ? xstrdup(deny_message) : NULL;
	p->stem = xasprintf("{\"id\":\"%s\",\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"%s\"%s%s%s", p->id, tool_use_id,
	    p->answer, p->deny ? ",\"deny_message\":\"" : "", p->deny ? p->deny : "", p->deny ? "\"" : "");
}

void
rig_note(void)
{
	struct put *p = add("session.updated", "f");

	p->stem = xasprintf("{\"id\":\"%s\",\"type\":\"session.updated\",\"title\":\"New\"", p->id);
}

#define COLUMN(field) ({							\
	const char *v_[BATCH];							\
	for (int i_ = 0; i_ < nbatch; i_++)					\
		v_[i_] = batch[i_].field;					\
	pg_array(v_, nbatch);							\
})

static char *
same(const char *value)
{
	const char *v[BATCH];

	for (int i = 0; i < nbatch; i++)
		v[i] = value;
	return pg_array(v, nbatch);
}

/* The doorbell, as a gateway rings it; none where a test has moved Redis away. */
static void
ring_told(const char *session, const char *owner_worker, const char *told, size_t len)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir);
	struct err e = ERR_INIT;

	if (owner_worker && bells_to(bells, owner_worker) && bells_add(bells, "w1", session, told, len) && bells_send(bells) == 0)
		return;
	for (int64_t end = clock_mono_ms() + RIG_MS; bus_ring(bus, "w1", session, owner_worker, &e) < 0 && access(sock, F_OK) == 0; doze())
		if (clock_mono_ms() > end)
			fail_msg("doorbell: %s", e.detail);
}

static void
ring(const char *session, const char *owner_worker)
{
	ring_told(session, owner_worker, NULL, 0);
}

static void
batch_over(void)
{
	for (int i = 0; i < nbatch; i++) {
		free(batch[i].stem);
		free(batch[i].fragment);
		free(batch[i].refers);
		free(batch[i].deny);
	}
	nbatch = 0;
}

bool
rig_put(const char *session)
{
	const struct inbox_caps caps = { 1000, 10 << 20 };
	struct inbox_item it = { .type = batch[0].type, .stem = batch[0].stem, .fragment = batch[0].fragment, .wakes = true };
	struct inbox_item *const items[] = { &it };
	struct err e = ERR_INIT;
	bool put;

	must(nbatch == 1);
	memcpy(it.id, batch[0].id, sizeof(it.id));
	put = inbox_send(gw, "w1", session, items, 1, &caps, &sent, &e) == 0;
	if (!put && e.kind != EK_CONFLICT)
		fail_msg("message_send: %s", e.detail);
	buf_reset(&record);
	if (put)
		(void)told_encode(&sent, &it, &record);
	batch_over();
	return put;
}

void
rig_tell(const char *session)
{
	ring_told(session, sent.owner[0] != '\0' ? sent.owner : NULL, record.data, record.len);
}

void
rig_send(const char *session)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;
	AUTO(str) char *ids = COLUMN(id), *types = COLUMN(type), *stems = COLUMN(stem), *fragments = COLUMN(fragment), *wakes = COLUMN(wakes);
	AUTO(str) char *refers = COLUMN(refers), *answers = COLUMN(answer), *denials = COLUMN(deny), *roles = same("u"), *no = same("f");
	AUTO(str) char *hashes = same(NULL);

	if (DB_RUN(gw, STMT_INBOX_PUT, &r, &e, session, ids, types, stems, roles, fragments, no, wakes, refers, answers, denials, hashes) < 0)
		fail_msg("inbox_put: %s", e.detail);
	ring(session, pg_str(r, 0, 0));
	batch_over();
}

void
rig_settled(const char *session)
{
	rig_wait("t", "SELECT NOT at_work OR status = 'idle' AND inbox_events = 0 FROM session WHERE id = '%s'", session);
}

/* Does this line of a worker's log say that a turn of the session is over, which came so (NULL: any) and left the log at seq (-1: any)? */
static bool
says_over(const char *line, const char *session, const char *how, int seq)
{
	AUTO(str) char *turn = xasprintf("\"event\":\"turn_done\",\"session\":\"%s\",", session);
	AUTO(str) char *came = xasprintf("\"came\":\"%s\"}\n", how != NULL ? how : ""), *at = xasprintf("\"seq\":\"%d\",", seq);

	return strstr(line, turn) != NULL && strstr(line, "}\n") != NULL && (how == NULL || strstr(line, came) != NULL) &&
	    (seq < 0 || strstr(line, at) != NULL);
}

/* How many lines say so; how the first of these turns came. */
static int
turns_over(const char *session, const char *how, int seq, char came[16])
{
	size_t cap = 0;
	char *line = NULL;
	int n = 0;

	for (int i = 0; i < nworkers; i++) {
		AUTO(str) char *path = xasprintf("%s/worker-%d.log", rig_dir, i);
		FILE *f = fopen(path, "r");

		while (f != NULL && getline(&line, &cap, f) > 0)
			if (says_over(line, session, how, seq) && n++ == 0)
				(void)sscanf(strstr(line, "\"came\":\""), "\"came\":\"%15[a-z]", came);
		if (f != NULL)
			(void)fclose(f);
	}
	free(line);
	return n;
}

const char *
rig_done(const char *session)
{
	int64_t end = clock_mono_ms() + RIG_MS;
	static char came[16];
	int seq;

	rig_settled(session);
	for (seq = rig_last_seq(session); turns_over(session, NULL, seq, came) == 0; doze())
		if (clock_mono_ms() > end) {
			logs();
			fail_msg("no worker says that the turn of %s is over at seq %d", session, seq);
		}
	return came;
}

int
rig_came(const char *session, const char *how)
{
	char came[16];

	return turns_over(session, how, -1, came);
}

char *
rig_log(const char *session, int after)
{
	return rig_sql("SELECT string_agg(replace(replace(replace(replace(replace(replace(type, 'session.status_', 'S:'), 'session.thread_status_',"
	    " 'T:'), 'span.model_request_', 'M:'), 'agent.', 'a.'), 'user.', 'u.'), 'session.', 's.'), ' ' ORDER BY seq)"
	    " FROM event WHERE session_id = '%s' AND seq > %d", session, after);
}

int
rig_last_seq(const char *session)
{
	AUTO(str) char *seq = rig_sql("SELECT last_seq FROM session WHERE id = '%s'", session);

	return atoi(seq);
}

void
rig_same_log(const char *session, int after, const char *want)
{
	AUTO(str) char *got = rig_log(session, after);

	assert_string_equal(got, want);
}

char *
rig_event(const char *session, const char *type, int k)
{
	return rig_sql("SELECT id FROM event WHERE session_id = '%s' AND type = '%s' ORDER BY seq LIMIT 1 OFFSET %d", session, type, k - 1);
}

static void
check(const char *session, const char *what, const char *query)
{
	AUTO(str) char *sql = xasprintf("WITH e AS (SELECT *, body::jsonb AS j FROM event WHERE session_id = '%s'), s AS (SELECT * FROM session"
	    " WHERE id = '%s') %s", session, session, query);
	AUTO(str) char *got = rig_sql("%s", sql);

	if (strcmp(got, "t") != 0)
		fail_msg("%s of %s: %s", what, session, got);
}

void
rig_check(const char *session)
{
	check(session, "gapless log", "SELECT count(*) = max(seq) AND max(seq) = (SELECT last_seq FROM s) FROM e");
	check(session, "rising stamps", "SELECT bool_and(processed_at > before) FROM (SELECT processed_at, lag(processed_at, 1, '-infinity')"
	    " OVER (ORDER BY seq) AS before FROM e) x");
	check(session, "stamps in bodies", "SELECT bool_and(j->>'processed_at' = wire_stamp(processed_at) AND j->>'id' = id AND"
	    " j->>'type' = type) FROM e");
	check(session, "one result per settled call", "SELECT coalesce(bool_and((SELECT count(*) FROM e r WHERE coalesce(r.j->>'tool_use_id',"
	    " r.j->>'custom_tool_use_id') = e.id AND r.type LIKE '%result') = 1), true) FROM e WHERE type LIKE 'agent.%tool_use'"
	    " AND id NOT IN (SELECT tool_use_id FROM action a WHERE a.session_id = e.session_id AND a.state <> 'closed')");
	check(session, "spans in pairs", "SELECT count(*) FILTER (WHERE type = 'span.model_request_start') = count(*) FILTER (WHERE type ="
	    " 'span.model_request_end') FROM e");
	check(session, "runtime metered", "SELECT coalesce((SELECT sum(quantity) FROM meter_event m WHERE m.session_id = s.id AND m.meter ="
	    " 'session.runtime'), 0) = s.active_us / 1000 FROM s");
	check(session, "running intervals of the log", "SELECT coalesce(sum(us(till) - us(processed_at)), 0) = (SELECT active_us FROM s) FROM"
	    " (SELECT processed_at, (SELECT min(n.processed_at) FROM e n WHERE n.seq > e.seq AND n.type IN ('session.status_idle',"
	    " 'session.status_rescheduled', 'session.status_terminated')) AS till FROM e WHERE type = 'session.status_running') x");
	check(session, "status of the last status event", "SELECT 'session.status_' || replace((SELECT status FROM s), 'rescheduling', 'rescheduled') ="
	    " (SELECT type FROM e WHERE type LIKE 'session.status_%' ORDER BY seq DESC LIMIT 1)");
	check(session, "tokens metered", "SELECT coalesce((SELECT sum(quantity) FROM meter_event m WHERE m.session_id = s.id AND m.meter LIKE"
	    " 'tokens.%'), 0) = s.input_tokens + s.output_tokens + s.cache_read_tokens + s.cache_5m_tokens + s.cache_1h_tokens FROM s");
	check(session, "usage is the last one's", "SELECT coalesce((SELECT (j->'usage'->>'active_seconds')::numeric * 1000 = s.active_us / 1000 AND"
	    " (j->'usage'->>'input_tokens')::bigint = s.input_tokens FROM e WHERE type = 'session.usage' ORDER BY seq DESC LIMIT 1), true) FROM s");
}
