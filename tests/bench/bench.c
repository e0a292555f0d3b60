/*
 * bench: measure a running instance (environment: dev.env, ROOST_STATE, ROOST_RUN) and print rows of the table.
 *
 *   bench rates FLOOR_PORT     requests, in interleaved rounds, against nginx alone (a `return 200` on FLOOR_PORT)
 *   bench turns                POST to acknowledgement and POST to idle, against one append to Postgres; saturation
 *   bench model MODEL          50 sessions x 3 turns with a model that takes 100 ms
 *   bench tool                 first tool call cold and warm, against fork+exec
 *   bench memory               what idle processes and idle streams hold
 *   bench fan                  one turn read by 500 subscribers
 *   bench appends              durable appends of many sessions: the worker's pipelined connection against sixteen blocking ones
 *   bench first URL MODEL      time to the first token, against the provider itself, with a sandbox, and with one that is built first
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

#include "drive.h"
#include "parts.h"
#include "relay.h"
#include "xalloc.h"

#define ROUNDS 3
#define ROUND_US 1.5e6

/* --- requests ------------------------------------------------------------------------------------------------------------------ */

struct target {
	const char *what, *method, *path, *body, *key, *goal;
	double share, least;		/* of the floor's rate, and a second: what is to be reached */
	int port, status;
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

/* The path of a page of n events; the caller frees. */
static char *
with_events(int n)
{
	struct drive d;
	char *path;

	drive_open(&d, agent, 0, NULL);
	for (int i = 0; i < n / 8 + 1; i++) {	/* a turn writes nine */
		drive_send(&d, "hello there");
		drive_wait(&d);
	}
	path = xasprintf("%s?limit=%d", d.path, n);
	drive_close(&d);
	return path;
}

static void
rates(int floor_port)
{
	AUTO(str) char *listed = with_events(20);
	AUTO(str) char *get = xasprintf("/v1/agents/%s", agent), *post_agent = agent_body("roost-scripted", true), *post_session = session_body(agent);
	struct target t[] = {
		{ .what = "nginx alone, `return 200`, TLS (floor)", .method = "GET", .path = "/floor", .port = floor_port, .status = 200, .goal = "" },
		{ .what = "parked process answering two bytes (FastCGI floor)", .method = "GET", .path = "/parked", .port = floor_port, .status = 200,
		  .goal = "≥ 45 % of nginx", .share = 0.45 },
		{ .what = "gateway refusing a mistyped key", .method = "GET", .path = get, .key = "nobody", .status = 401, .goal = "" },
		{ .what = "GET agent", .method = "GET", .path = get, .status = 200, .goal = "≥ 40 % of FastCGI", .share = 0.4 },
		{ .what = "list of 20 events", .method = "GET", .path = listed, .status = 200, .goal = "≥ 33 % of FastCGI", .share = 0.33 },
		{ .what = "POST agent", .method = "POST", .path = "/v1/agents", .body = post_agent, .status = 200,
		  .goal = "≥ 10 × best peer (8.6 k/s)", .least = 8600 },
		{ .what = "POST session", .method = "POST", .path = "/v1/sessions", .body = post_session, .status = 200,
		  .goal = "≥ 5 k/s", .least = 5000 },
	};
	int n = sizeof t / sizeof *t;
	struct samples many = { 0 };

	for (int r = 0; r < ROUNDS; r++)
		for (int i = 0; i < n; i++) {
			load(&t[i], 1, ROUND_US / 3, &t[i].one);
			samples_add(&t[i].rate, load(&t[i], CONNS, ROUND_US, &many));
		}
	for (int i = 0; i < n; i++) {
		double rate = samples_at(&t[i].rate, 0.5);
		AUTO(str) char *amount = xasprintf("%.0f /s with %d connections", rate, CONNS);
		double floor = samples_at(&t[i > 2].rate, 0.5);
		/* the refusal was the FastCGI floor before there was a program for it: figures of then can be compared */
		AUTO(str) char *ratio = i == 0 ? xstrdup("") : i <= 2 ? xasprintf("%.0f %% of nginx", 100 * rate / floor) :
		    xasprintf("%.0f %% of FastCGI, %.0f %% of the refusal", 100 * rate / floor, 100 * rate / samples_at(&t[2].rate, 0.5));

		if (t[i].goal[0])
			judged(rate >= t[i].least && rate >= t[i].share * floor, t[i].what,
			    samples_at(&t[i].one, 0.5), samples_at(&t[i].one, 0.99), amount, ratio, t[i].goal);
		else
			row(t[i].what, samples_at(&t[i].one, 0.5), samples_at(&t[i].one, 0.99), amount, ratio, "");
	}
	samples_free(&many);
}

/* --- turns --------------------------------------------------------------------------------------------------------------------- */

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
	struct samples ack = { 0 }, idle = { 0 }, append = { 0 }, machine = { 0 }, each = { 0 };
	PGconn *db = floor_open();
	struct relay relay;
	struct drive d[CONNS];
	double cpu, part[NPARTS], us = 0;
	long n;

	relay_open(&relay);
	for (int s = 0; s < 10; s++) {		/* the first session warms up */
		drive_open(&d[0], agent, 0, NULL);
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
		relay_runs(&relay, &machine);
	}
	floor_close(db);
	relay_close(&relay);
	AUTO(str) char *ack_ratio = times(samples_at(&ack, 0.5), samples_at(&append, 0.5)), *idle_ratio = times(samples_at(&idle, 0.5),
	    samples_at(&append, 0.5));
	row("one append on one blocking Postgres connection (floor)", samples_at(&append, 0.5), samples_at(&append, 0.99), "", "", "");
	row(RELAY_ROW, samples_at(&machine, 0.5), samples_at(&machine, 0.99), "", "", "");
	judged(samples_at(&ack, 0.5) <= 3 * samples_at(&append, 0.5), "POST event, acknowledged", samples_at(&ack, 0.5), samples_at(&ack, 0.99), "",
	    ack_ratio, "≤ 3 × an append");
	judged(samples_at(&idle, 0.5) <= 1500 && samples_at(&idle, 0.99) <= 3000, "turn: POST to session.status_idle, 0 ms model",
	    samples_at(&idle, 0.5), samples_at(&idle, 0.99), "", idle_ratio, "p50 ≤ 1.5 ms, p99 ≤ 3 ms");
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
	judged((double)n / us * 1e6 >= 1800 && cpu / (double)n <= 0.9, "saturation: closed loop", samples_at(&each, 0.5),
	    samples_at(&each, 0.99), amount, note, "≥ 1 800/s, ≤ 0.9 CPU ms");
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
	judged(samples_at(&wall, 0.5) <= 6e5, "50 sessions × 3 turns, 100 ms model", samples_at(&each, 0.5), samples_at(&each, 0.99), amount, ratio, "≤ 0.6 s");
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
	for (;;) {
		bool over = drive_look(d);

		if (!use && d->text.data && strstr(d->text.data, "event: agent.tool_use"))
			use = now_us();
		if (!result && d->text.data && strstr(d->text.data, "event: agent.tool_result"))
			result = now_us();
		if (over && result)
			break;
		if (poll(p, 2, 20000) <= 0)
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
		drive_open(&d, tool_agent, 0, NULL);
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
	static const char *const classes[] = { "gateway", "stream", "worker", "hands", "vault", "egress", "nginx", "redis", "pg", "sv" };
	char id[SESSIONS][64], path[160];
	double ours = 0, rss = 0, hub = 0, nginx = 0;

	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		double kb = memory_kb(classes[i]);
		AUTO(str) char *what = xasprintf("idle memory (PSS): %s", strcmp(classes[i], "sv") == 0 ? "supervisor and its loggers" : classes[i]);
		AUTO(str) char *amount = xasprintf("%.1f MB", kb / 1024);

		ours += i < 6 ? kb : 0;
		rss += i < 6 ? resident_kb(classes[i]) : 0;
		row(what, -1, -1, amount, "", "");
	}
	AUTO(str) char *all = xasprintf("%.1f MB", rss / 1024), *fair = xasprintf("%.1f MB with what they share counted once", ours / 1024);
	judged(rss <= 60 * 1024, "idle memory (RSS): our own processes together", -1, -1, all, fair, "≤ 60 MB");
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
	judged(hub <= 512, "per idle stream: roost-stream", -1, -1, h, "", "≤ 512 B");
	judged(nginx <= 35, "per idle stream: nginx, TLS, HTTP/1.1", -1, -1, n, "", "≤ 35 kB");
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

	drive_open(&d, agent, 0, NULL);
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
	else if (strcmp(what, "appends") == 0)
		appends();
	else if (strcmp(what, "first") == 0 && argc == 4)
		first(argv[2], argv[3]);
	else
		die("what? rates FLOOR_PORT, turns, model MODEL, tool, memory, fan, appends, first URL MODEL");
	http_close(api);
	return 0;
}
