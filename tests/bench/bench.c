/*
 * bench: measure a running instance (environment: dev.env, ROOST_STATE, ROOST_RUN) and print rows of the table.
 *
 *   bench rates FLOOR_PORT     requests, in interleaved rounds, against nginx alone (a `return 200` on FLOOR_PORT)
 *   bench turns                POST to acknowledgement and POST to idle, against one append to Postgres; saturation
 *   bench model MODEL          50 sessions x 3 turns with a model that takes 100 ms
 *   bench tool                 first tool call cold and warm, against fork+exec
 *   bench memory               what idle processes and idle streams hold
 *   bench fan                  one turn read by 500 subscribers
 *
 * No assertions: machines are noisy. Dies when a request fails.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http.h"
#include "stats.h"
#include "xalloc.h"

#define ROUNDS 3
#define ROUND_US 1.5e6
#define CONNS 16

static struct http *api;		/* for everything that is not measured */
static char environment[64], agent[64], tool_agent[64];

/* The first id in a reply. */
static void
id_of(const char *reply, char out[64])
{
	const char *p = strstr(reply, "\"id\":\"");

	if (!p || sscanf(p, "\"id\":\"%63[^\"]", out) != 1)
		die("no id in %.200s", reply);
}

static void
create(const char *path, const char *body, char out[64])
{
	AUTO(str) char *reply = http_call(api, "POST", path, body);

	id_of(reply, out);
}

static char *
agent_body(const char *model, bool tools)
{
	return xasprintf("{\"name\":\"bench\",\"model\":\"%s\"%s}", model, tools ? ",\"tools\":[{\"type\":\"agent_toolset_20260401\"}]" : "");
}

static char *
session_body(const char *of)
{
	return xasprintf("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", of, environment);
}

static void
new_session(const char *of, char out[64])
{
	AUTO(str) char *body = session_body(of);

	create("/v1/sessions", body, out);
}

static void
prepare(void)
{
	AUTO(str) char *env = xasprintf("{\"name\":\"bench %d\"}", (int)getpid()), *a = agent_body("roost-scripted", false),
	    *b = agent_body("roost-scripted", true);

	http_init();
	api = http_open(0);
	create("/v1/environments", env, environment);
	create("/v1/agents", a, agent);
	create("/v1/agents", b, tool_agent);
}

/* --- requests ------------------------------------------------------------------------------------------------------------------ */

struct target {
	const char *what, *method, *path, *body, *key, *goal;
	int port, status;
	const struct target *floor;
	struct samples one, rate;	/* latency with one connection; requests per second with CONNS */
};

/* Closed loop on n connections for us microseconds: each sends its next request when it has its reply. Returns replies per second. */
static double
load(const struct target *t, int n, double us, struct samples *latency)
{
	struct http *conn[CONNS];
	struct pollfd p[CONNS];
	double sent[CONNS], t0, now;
	const char *body;
	long done = 0;
	int status;

	for (int i = 0; i < n; i++) {
		conn[i] = http_open(t->port);
		p[i] = (struct pollfd){ .fd = http_fd(conn[i]), .events = POLLIN };
	}
	t0 = now = now_us();
	for (int i = 0; i < n; i++) {
		http_send(conn[i], t->method, t->path, t->body, t->key);
		sent[i] = now_us();
	}
	while (now - t0 < us) {
		if (poll(p, (nfds_t)n, 5000) <= 0)
			die("%s: no answer", t->what);
		for (int i = 0; i < n; i++) {
			if (!p[i].revents || !(status = http_take(conn[i], &body)))
				continue;
			if (status != t->status)
				die("%s: %d %.200s", t->what, status, body);
			now = now_us();
			samples_add(latency, now - sent[i]);
			done++;
			http_send(conn[i], t->method, t->path, t->body, t->key);
			sent[i] = now;
		}
	}
	for (int i = 0; i < n; i++)
		http_close(conn[i]);
	return (double)done / (now - t0) * 1e6;
}

static void
rates(int floor_port)
{
	AUTO(str) char *get = xasprintf("/v1/agents/%s", agent), *post_agent = agent_body("roost-scripted", true), *post_session = session_body(agent);
	struct target t[] = {
		{ .what = "nginx alone, `return 200`, TLS (floor)", .method = "GET", .path = "/floor", .port = floor_port, .status = 200, .goal = "" },
		{ .what = "gateway refusing a mistyped key (FastCGI floor)", .method = "GET", .path = get, .key = "nobody", .status = 401, .goal = "≥ 45 % of nginx" },
		{ .what = "GET agent", .method = "GET", .path = get, .status = 200, .goal = "≥ 40 % of FastCGI" },
		{ .what = "POST agent", .method = "POST", .path = "/v1/agents", .body = post_agent, .status = 200, .goal = "≥ 10 × best peer (8.6 k/s)" },
		{ .what = "POST session", .method = "POST", .path = "/v1/sessions", .body = post_session, .status = 200, .goal = "≥ 5 k/s" },
	};
	int n = sizeof t / sizeof *t;
	struct samples many = { 0 };

	for (int i = 1; i < n; i++)
		t[i].floor = &t[i > 1];
	for (int r = 0; r < ROUNDS; r++)
		for (int i = 0; i < n; i++) {
			load(&t[i], 1, ROUND_US / 3, &t[i].one);
			samples_add(&t[i].rate, load(&t[i], CONNS, ROUND_US, &many));
		}
	for (int i = 0; i < n; i++) {
		double rate = samples_at(&t[i].rate, 0.5);
		AUTO(str) char *amount = xasprintf("%.0f /s with %d connections", rate, CONNS);
		AUTO(str) char *ratio = t[i].floor ? xasprintf("%.0f %% of %s", 100 * rate / samples_at(&((struct target *)t[i].floor)->rate, 0.5),
		    t[i].floor == t ? "nginx" : "FastCGI") : xstrdup("");

		row(t[i].what, samples_at(&t[i].one, 0.5), samples_at(&t[i].one, 0.99), amount, ratio, t[i].goal);
	}
	samples_free(&many);
}

/* --- turns --------------------------------------------------------------------------------------------------------------------- */

/* A session that is being driven: its stream, and the connection its messages go by. */
struct drive {
	struct http *post, *stream;
	struct buf text;
	char path[128];
	double sent, acked;
	int left;
};

static void
drive_open(struct drive *d, const char *of, int turns)
{
	char id[64], path[160];

	new_session(of, id);
	snprintf(d->path, sizeof d->path, "/v1/sessions/%s/events", id);
	snprintf(path, sizeof path, "%s/stream", d->path);
	d->stream = http_stream(path);
	d->post = http_open(0);
	d->text = (struct buf)BUF_INIT(0);
	d->left = turns;
}

static void
drive_close(struct drive *d)
{
	http_close(d->stream);
	http_close(d->post);
	buf_free(&d->text);
}

static void
drive_send(struct drive *d, const char *text)
{
	AUTO(str) char *body = xasprintf("{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}", text);

	buf_reset(&d->text);
	d->acked = 0;
	d->sent = now_us();
	http_send(d->post, "POST", d->path, body, NULL);
}

/* Take what came on both connections. True once the turn is over. */
static bool
drive_look(struct drive *d)
{
	const char *body;
	int status;

	if (!d->acked && (status = http_take(d->post, &body))) {
		if (status != 200)
			die("POST %s: %d %.200s", d->path, status, body);
		d->acked = now_us();
	}
	http_hear(d->stream, &d->text);
	return d->acked && d->text.data && strstr(d->text.data, "event: session.status_idle");
}

static void
drive_wait(struct drive *d)
{
	struct pollfd p[2] = { { http_fd(d->post), POLLIN, 0 }, { http_fd(d->stream), POLLIN, 0 } };

	while (!drive_look(d))
		if (poll(p, 2, 20000) <= 0)
			die("%s: the turn does not end: %.300s", d->path, d->text.data ? d->text.data : "");
}

/* n sessions at once, `turns` each, closed loop. Returns the wall time; adds each turn's. */
static double
drive_many(struct drive *d, int n, int turns, const char *of, const char *text, struct samples *each)
{
	struct pollfd *p = xcalloc((size_t)n * 2, sizeof *p);
	int open = n;
	double t0;

	for (int i = 0; i < n; i++) {
		drive_open(&d[i], of, turns);
		p[2 * i] = (struct pollfd){ http_fd(d[i].post), POLLIN, 0 };
		p[2 * i + 1] = (struct pollfd){ http_fd(d[i].stream), POLLIN, 0 };
	}
	t0 = now_us();
	for (int i = 0; i < n; i++)
		drive_send(&d[i], text);
	while (open > 0) {
		if (poll(p, (nfds_t)n * 2, 20000) <= 0)
			die("turns do not end");
		for (int i = 0; i < n; i++) {
			if ((!p[2 * i].revents && !p[2 * i + 1].revents) || d[i].left == 0 || !drive_look(&d[i]))
				continue;
			samples_add(each, now_us() - d[i].sent);
			if (--d[i].left > 0)
				drive_send(&d[i], text);
			else {
				p[2 * i].fd = p[2 * i + 1].fd = -1;
				open--;
			}
		}
	}
	t0 = now_us() - t0;
	for (int i = 0; i < n; i++)
		drive_close(&d[i]);
	free(p);
	return t0;
}

static PGconn *
floor_open(void)
{
	AUTO(str) char *dsn = xasprintf("host=%s/pg dbname=roost user=roost_admin", getenv("ROOST_RUN"));
	PGconn *db = PQconnectdb(dsn);

	if (PQstatus(db) != CONNECTION_OK)
		die("%s", PQerrorMessage(db));
	PQclear(PQexec(db, "SET client_min_messages = warning; DROP TABLE IF EXISTS bench_event, bench_session;"
	    "CREATE TABLE bench_session (id int PRIMARY KEY, last_seq bigint) WITH (fillfactor = 60); INSERT INTO bench_session VALUES (1, 0);"
	    "CREATE TABLE bench_event (session_id int, seq bigint, body text, PRIMARY KEY (session_id, seq))"));
	PQclear(PQprepare(db, "append", "WITH s AS (UPDATE bench_session SET last_seq = last_seq + 1 WHERE id = 1 RETURNING last_seq)"
	    " INSERT INTO bench_event SELECT 1, last_seq, repeat('x', 500) FROM s", 0, NULL));
	return db;
}

static void
floor_append(PGconn *db, struct samples *s)
{
	double t0 = now_us();
	PGresult *r = PQexecPrepared(db, "append", 0, NULL, NULL, NULL, 0);

	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		die("%s", PQerrorMessage(db));
	PQclear(r);
	samples_add(s, now_us() - t0);
}

static void
floor_close(PGconn *db)
{
	PQclear(PQexec(db, "DROP TABLE bench_event, bench_session"));
	PQfinish(db);
}

static char *
times(double a, double floor)
{
	return xasprintf("%.1f ×", a / floor);
}

static const char *const parts[] = { "pg", "gateway", "worker", "stream", "nginx", "redis" };
#define NPARTS ((int)(sizeof parts / sizeof *parts))

static void
turns(void)
{
	struct samples ack = { 0 }, idle = { 0 }, append = { 0 }, each = { 0 };
	PGconn *db = floor_open();
	struct drive d[CONNS];
	double cpu, part[NPARTS], us = 0;
	long n;

	for (int s = 0; s < 10; s++) {		/* the first session warms up */
		drive_open(&d[0], agent, 0);
		for (int i = 0; i < 40; i++) {
			floor_append(db, &append);
			drive_send(&d[0], "hello there");
			drive_wait(&d[0]);
			if (s > 0) {
				samples_add(&ack, d[0].acked - d[0].sent);
				samples_add(&idle, now_us() - d[0].sent);
			}
		}
		drive_close(&d[0]);
	}
	floor_close(db);
	AUTO(str) char *ack_ratio = times(samples_at(&ack, 0.5), samples_at(&append, 0.5)), *idle_ratio = times(samples_at(&idle, 0.5),
	    samples_at(&append, 0.5));
	row("one append on one blocking Postgres connection (floor)", samples_at(&append, 0.5), samples_at(&append, 0.99), "", "", "");
	row("POST event, acknowledged", samples_at(&ack, 0.5), samples_at(&ack, 0.99), "", ack_ratio, "≤ 3 × an append");
	row("turn: POST to session.status_idle, 0 ms model", samples_at(&idle, 0.5), samples_at(&idle, 0.99), "", idle_ratio,
	    "p50 ≤ 3 ms, p99 ≤ 15 ms");
	cpu = cpu_ms();
	for (int i = 0; i < NPARTS; i++)
		part[i] = cpu_ms_of(parts[i]);
	for (int r = 0; r < 2 * ROUNDS; r++)	/* sessions of 25 turns: their contexts stay ordinary */
		us += drive_many(d, CONNS, 25, agent, "hello there", &each);
	cpu = cpu_ms() - cpu;
	n = (long)each.n;
	for (int i = 0; i < NPARTS; i++)
		part[i] = cpu_ms_of(parts[i]) - part[i];
	AUTO(str) char *amount = xasprintf("%.0f turns/s, %.2f CPU ms per turn", (double)n / us * 1e6, cpu / (double)n);
	AUTO(str) char *note = xasprintf("%d sessions, client on the same cores", CONNS);
	row("saturation: closed loop", samples_at(&each, 0.5), samples_at(&each, 0.99), amount, note, "≥ 1 800/s, ≤ 0.9 CPU ms");
	for (int i = 0; i < NPARTS; i++) {
		AUTO(str) char *of = xasprintf("CPU per turn: %s", parts[i]), *share = xasprintf("%.0f µs", part[i] * 1000 / (double)n);

		row(of, -1, -1, share, "", "");
	}
}

static void
model(const char *id)
{
	enum { SESSIONS = 50, TURNS = 3 };
	static struct drive d[SESSIONS];
	AUTO(str) char *body = agent_body(id, false);
	struct samples each = { 0 }, wall = { 0 };
	char with[64];

	create("/v1/agents", body, with);
	for (int r = 0; r < ROUNDS + 1; r++) {	/* the first round opens the provider's connections */
		samples_free(&each);
		double us = drive_many(d, SESSIONS, TURNS, with, "hello\\n!provider {\\\"delay_ms\\\":100}", &each);

		if (r > 0)
			samples_add(&wall, us);
	}
	AUTO(str) char *amount = xasprintf("%.2f s in all (best %.2f)", samples_at(&wall, 0.5) / 1e6, samples_at(&wall, 0) / 1e6);
	AUTO(str) char *ratio = xasprintf("%.2f × the model's own 0.30 s", samples_at(&wall, 0.5) / 3e5);
	row("50 sessions × 3 turns, 100 ms model", samples_at(&each, 0.5), samples_at(&each, 0.99), amount, ratio, "≤ 0.6 s");
}

/* --- tools --------------------------------------------------------------------------------------------------------------------- */

static double
fork_exec(void)
{
	double t0 = now_us();
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return now_us() - t0;
}

/* From the event that announces the call to the one with its result, as a client sees them. */
static double
tool_turn(struct drive *d)
{
	struct pollfd p[2] = { { http_fd(d->post), POLLIN, 0 }, { http_fd(d->stream), POLLIN, 0 } };
	double use = 0, result = 0;

	drive_send(d, "bash {\\\"command\\\":\\\"/bin/true\\\"}");
	while (!drive_look(d) || !result) {
		if (!use && d->text.data && strstr(d->text.data, "event: agent.tool_use"))
			use = now_us();
		if (!result && d->text.data && strstr(d->text.data, "event: agent.tool_result"))
			result = now_us();
		if (poll(p, 2, 20000) <= 0 && !result)
			die("no tool result: %.500s", d->text.data ? d->text.data : "");
	}
	return result - use;
}

static void
tool(void)
{
	struct samples cold = { 0 }, warm = { 0 }, floor = { 0 };
	struct drive d;

	for (int i = 0; i < 40; i++) {
		drive_open(&d, tool_agent, 0);
		samples_add(&floor, fork_exec());
		samples_add(&cold, tool_turn(&d));
		for (int k = 0; k < 5; k++) {
			samples_add(&floor, fork_exec());
			samples_add(&warm, tool_turn(&d));
		}
		drive_close(&d);
	}
	AUTO(str) char *c = times(samples_at(&cold, 0.5), samples_at(&floor, 0.5)), *w = times(samples_at(&warm, 0.5), samples_at(&floor, 0.5));
	row("fork+exec of /bin/true on the host (floor)", samples_at(&floor, 0.5), samples_at(&floor, 0.99), "", "", "");
	row("first tool call of a session: agent.tool_use to agent.tool_result", samples_at(&cold, 0.5), samples_at(&cold, 0.99), "", c, "");
	row("later tool call: agent.tool_use to agent.tool_result", samples_at(&warm, 0.5), samples_at(&warm, 0.99), "", w, "");
}

/* --- memory -------------------------------------------------------------------------------------------------------------------- */

static void
memory(void)
{
	enum { STREAMS = 2000, SESSIONS = 50, FIRST = STREAMS / 4 };	/* the first let grow what grows once */
	static struct http *s[STREAMS];
	static const char *const classes[] = { "gateway", "stream", "worker", "hands", "nginx", "redis", "pg", "sv" };
	char id[SESSIONS][64], path[160];
	double ours = 0, hub = 0, nginx = 0;

	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		double kb = memory_kb(classes[i]);
		AUTO(str) char *what = xasprintf("idle memory (PSS): %s", strcmp(classes[i], "sv") == 0 ? "supervisor and its loggers" : classes[i]);
		AUTO(str) char *amount = xasprintf("%.1f MB", kb / 1024);

		ours += i < 4 ? kb : 0;
		row(what, -1, -1, amount, "", "");
	}
	AUTO(str) char *all = xasprintf("%.1f MB", ours / 1024);
	row("idle memory (PSS): our own processes together", -1, -1, all, "", "below the best peer's 130 MB");
	for (int i = 0; i < SESSIONS; i++)
		new_session(agent, id[i]);
	for (int i = 0; i < STREAMS; i++) {
		if (i == FIRST) {
			hub = memory_kb("stream");
			nginx = memory_kb("nginx");
		}
		snprintf(path, sizeof path, "/v1/sessions/%s/events/stream", id[i % SESSIONS]);
		s[i] = http_stream(path);
	}
	hub = (memory_kb("stream") - hub) * 1024 / (STREAMS - FIRST);
	nginx = (memory_kb("nginx") - nginx) / (STREAMS - FIRST);
	AUTO(str) char *h = xasprintf("%.0f B", hub), *n = xasprintf("%.1f kB", nginx);
	row("per idle stream: roost-stream", -1, -1, h, "", "≤ 512 B");
	row("per idle stream: nginx, TLS, HTTP/1.1", -1, -1, n, "", "≤ 35 kB");
	for (int i = 0; i < STREAMS; i++)
		http_close(s[i]);
}

/* One turn, watched by many: when has each of them read its end? */
static void
fan(void)
{
	enum { WATCHERS = 500, TURNS = 5 };
	static struct http *s[WATCHERS];
	static struct buf text[WATCHERS];
	static struct pollfd p[WATCHERS];
	struct samples each = { 0 };
	struct drive d;
	char path[160];

	drive_open(&d, agent, 0);
	snprintf(path, sizeof path, "%s/stream", d.path);
	for (int i = 0; i < WATCHERS; i++) {
		s[i] = http_stream(path);
		p[i] = (struct pollfd){ .fd = http_fd(s[i]), .events = POLLIN };
	}
	for (int t = 0; t < TURNS; t++) {
		int left = WATCHERS;

		for (int i = 0; i < WATCHERS; i++) {
			http_hear(s[i], &text[i]);
			buf_reset(&text[i]);
			p[i].fd = http_fd(s[i]);
		}
		drive_send(&d, "hello there");
		while (left > 0) {
			if (poll(p, WATCHERS, 20000) <= 0)
				die("%d of %d watchers saw no end", left, WATCHERS);
			for (int i = 0; i < WATCHERS; i++) {
				if (!p[i].revents)
					continue;
				http_hear(s[i], &text[i]);
				if (!text[i].data || !strstr(text[i].data, "event: session.status_idle"))
					continue;
				samples_add(&each, now_us() - d.sent);
				p[i].fd = -1;
				left--;
			}
		}
		drive_wait(&d);
	}
	row("one turn read by 500 subscribers: POST to session.status_idle", samples_at(&each, 0.5), samples_at(&each, 0.99),
	    "one client thread reads them all", "", "");
	for (int i = 0; i < WATCHERS; i++) {
		http_close(s[i]);
		buf_free(&text[i]);
	}
	drive_close(&d);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	prepare();
	if (strcmp(what, "rates") == 0 && argc == 3)
		rates(atoi(argv[2]));
	else if (strcmp(what, "turns") == 0)
		turns();
	else if (strcmp(what, "model") == 0 && argc == 3)
		model(argv[2]);
	else if (strcmp(what, "tool") == 0)
		tool();
	else if (strcmp(what, "memory") == 0)
		memory();
	else if (strcmp(what, "fan") == 0)
		fan();
	else
		die("what? rates FLOOR_PORT, turns, model MODEL, tool, memory, fan");
	http_close(api);
	return 0;
}
