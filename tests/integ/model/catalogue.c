/* link: workers/model/routes.c */
/*
 * The catalogue from file to route: `roostctl models apply` against a real Postgres, what the gateway's role may ask, and the worker's
 * copy that follows. Keys: sealed in the table, opened in the copy, never printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "catalogue.h"
#include "clock.h"
#include "log.h"
#include "routes.h"
#include "xalloc.h"

static char dir[64];
static struct db *gw;
static PGconn *owner;
static struct loop *loop;
static struct dbq *q;
static struct routes *routes;

static const char file[] =
    "{\"providers\":[{\"name\":\"lab\",\"dialect\":\"anthropic\",\"base_url\":\"http://127.0.0.1:9099\",\"api_key\":\"sk-first\"},\n"
    " {\"name\":\"gpu\",\"dialect\":\"openai\",\"base_url\":\"http://127.0.0.1:9098/v1\"}],\n"
    " \"models\":[{\"id\":\"lab-1\",\"display_name\":\"Lab 1\",\"context_window\":200000,\"max_output_tokens\":8192,\n"
    "  \"routes\":[{\"provider\":\"lab\",\"upstream\":\"fake-1\"},{\"provider\":\"gpu\",\"upstream\":\"llama\"},{\"provider\":\"scripted\",\"upstream\":\"x\"}],\n"
    "  \"price\":{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"3\",\"output\":\"15\",\"cache_read\":\"0.30\"}}}]}\n";

/* Run a shell command; its output (both streams) is kept in out, when given. Returns the exit status. */
static int
run(struct buf *out, const char *fmt, const char *a, const char *b)
{
	AUTO(str) char *cmd = NULL;
	char bytes[4096];
	FILE *f;
	size_t n;

	assert_true(asprintf(&cmd, fmt, a, b) > 0);
	f = popen(cmd, "r");
	assert_non_null(f);
	while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0) {
		if (out)
			buf_put(out, bytes, n);
	}
	n = (size_t)pclose(f);
	return WIFEXITED((int)n) ? WEXITSTATUS((int)n) : -1;
}

static int
roostctl(struct buf *out, const char *args)
{
	AUTO(str) char *program = xasprintf("%s/bin/roostctl -c %s/conf", getenv("OUT") ? getenv("OUT") : "build/release", dir);

	return run(out, "%s %s 2>&1", program, args);
}

static void
put_file(const char *name, const char *text)
{
	AUTO(str) char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Apply a text; what was printed is compared when want is given (a substring). */
static int
apply(const char *text, const char *want)
{
	AUTO(buf) struct buf out = { 0 };
	AUTO(str) char *args = xasprintf("models apply %s/catalogue.json", dir);
	int status;

	put_file("catalogue.json", text);
	status = roostctl(&out, args);
	if (want && (!out.data || !strstr(out.data, want)))
		fail_msg("%s: not in: %s", want, out.data);
	assert_true(!out.data || !strstr(out.data, "sk-"));
	return status;
}

static char *
ask(const char *sql)
{
	AUTO(pgres) PGresult *r = PQexec(owner, sql);

	assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
	return xstrdup(PQntuples(r) && !PQgetisnull(r, 0, 0) ? PQgetvalue(r, 0, 0) : "");
}

static int
start(void **state)
{
	AUTO(str) char *admin_dsn = NULL;
	AUTO(str) char *gw_dsn = NULL;
	AUTO(str) char *worker_dsn = NULL;
	AUTO(str) char *conf = NULL;
	AUTO(str) char *keys = NULL;

	(void)state;
	log_open("test", LOG_ERROR_LEVEL);
	snprintf(dir, sizeof(dir), "/tmp/roost-catalogue-%d", (int)getpid());
	assert_int_equal(run(NULL, "tests/env/postgres start %s/pg%s", dir, ""), 0);
	assert_int_equal(run(NULL, "psql -q -h %s/pg -U roost_admin roost -f sql/setup/database.sql%s", dir, ""), 0);
	admin_dsn = xasprintf("host=%s/pg dbname=roost user=roost_admin", dir);
	gw_dsn = xasprintf("host=%s/pg dbname=roost user=roost_gw", dir);
	worker_dsn = xasprintf("host=%s/pg dbname=roost user=roost_worker", dir);
	conf = xasprintf("pg_dsn = %s\ninstance_pub_file = %s/instance.pub\n", admin_dsn, dir);
	put_file("conf", conf);
	keys = xasprintf("keygen %s/instance.key %s/instance.pub", dir, dir);
	assert_int_equal(roostctl(NULL, keys), 0);
	owner = PQconnectdb(admin_dsn);
	assert_int_equal(PQstatus(owner), CONNECTION_OK);
	gw = db_open(gw_dsn, DB_GW, 40000);
	loop = loop_new();
	q = dbq_new(loop, worker_dsn, DB_WORKER, 5000);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	routes_free(&routes);
	dbq_free(&q);
	loop_free(&loop);
	db_close(&gw);
	PQfinish(owner);
	run(NULL, "tests/env/postgres stop %s/pg; rm -rf %s", dir, dir);
	return 0;
}

static bool
known(const char *id)
{
	struct err e = ERR_INIT;
	struct modelcaps caps;
	bool is = false;

	assert_int_equal(catalogue_known(gw, id, &is, &caps, &e), 0);
	return is;
}

/* Refresh and serve the loop until every statement is answered. */
static void
refresh(void)
{
	int64_t until = clock_mono_ms() + 30000;

	routes_refresh(routes, q);
	while ((dbq_pending(q) || !routes_ready(routes)) && clock_mono_ms() < until)
		loop_once(loop, 100);
	assert_true(routes_ready(routes));
}

static void
test_before_any_provider(void **state)
{
	AUTO(str) char *key = xasprintf("%s/instance.key", dir);
	struct err e = ERR_INIT;
	struct routes_model m;

	(void)state;
	assert_true(known("roost-scripted"));
	assert_true(known("claude-anything"));
	routes = routes_new(loop, q, key, &e);
	assert_non_null(routes);
	assert_false(routes_ready(routes));
	assert_false(routes_find(routes, "roost-scripted", &m));
	refresh();
	assert_true(routes_find(routes, "roost-scripted", &m));
	assert_string_equal(m.routes[0].dialect, "scripted");
	assert_int_equal(m.max_output_tokens, 8192);
	assert_true(routes_find(routes, "claude-anything", &m));
	assert_string_equal(m.routes[0].dialect, "scripted");
}

static void
test_apply(void **state)
{
	AUTO(str) char *generation = NULL;
	AUTO(str) char *box = NULL;
	AUTO(str) char *again = NULL;
	struct routes_model m;

	(void)state;
	assert_int_equal(apply(file, "model\tlab-1\tcreated\ncatalogue\t-\tchanged\n"), 0);
	generation = ask("SELECT generation FROM catalogue");
	box = ask("SELECT key_sealed FROM provider WHERE name = 'lab'");
	assert_null(strstr(box, "sk-"));
	assert_int_equal(apply(file, "provider\tlab\tunchanged\nprovider\tgpu\tunchanged\nmodel\tlab-1\tunchanged\ncatalogue\t-\tunchanged\n"), 0);
	again = ask("SELECT generation || key_sealed FROM catalogue, provider WHERE name = 'lab'");
	assert_int_equal(strlen(again), strlen(generation) + strlen(box));
	assert_int_equal(strncmp(again, generation, strlen(generation)), 0);
	assert_string_equal(again + strlen(generation), box);
	assert_true(known("lab-1"));
	assert_true(known("roost-scripted"));
	assert_false(known("claude-anything"));
	refresh();
	assert_false(routes_find(routes, "claude-anything", &m));
	assert_true(routes_find(routes, "roost-scripted", &m));
	assert_true(routes_find(routes, "lab-1", &m));
	assert_int_equal(m.nroutes, 3);
	assert_int_equal(m.context_window, 200000);
	assert_string_equal(m.routes[0].api_key, "sk-first");
	assert_string_equal(m.routes[0].base_url, "http://127.0.0.1:9099");
	assert_string_equal(m.routes[1].upstream, "llama");
	assert_string_equal(m.routes[1].api_key, "");
	assert_string_equal(m.routes[2].dialect, "scripted");
}

/* The file with one replacement. */
static char *
edited(const char *from, const char *to)
{
	struct buf b = { 0 };
	const char *at = strstr(file, from);

	assert_non_null(at);
	buf_put(&b, file, (size_t)(at - file));
	buf_str(&b, to);
	buf_str(&b, at + strlen(from));
	return buf_steal(&b);
}

static void
test_bad_changes_nothing(void **state)
{
	static const struct { const char *from, *to, *complaint; } cases[] = {
		{ "\"output\":\"15\"", "\"output\":15", "catalogue.json: line 5: models[0].price.per_million_tokens.output: " },
		{ "{\"provider\":\"gpu\"", "{\"provider\":\"nobody\"", "catalogue.json: line 4: models[0].routes[1].provider: there is no provider \"nobody\"" },
		{ "\"display_name\":\"Lab 1\"", "\"display_name\":\"Lab 2\",\"x\":1", "catalogue.json: line 3: models[0]: unknown field \"x\"" },
		{ "\"display_name\":\"Lab 1\"", "\"display_name\":\"Lab 1\",\"capabilities\":{\"fast\":true}",
		  "catalogue.json: line 4: models[0].routes[1].provider: a model with a speed or geography needs providers of the anthropic dialect" },
		{ ":9099\",\"api_key\":\"sk-first\"", ":9097\"", "catalogue.json: line 1: provider \"lab\" moves to another address" },
	};
	AUTO(str) char *before = ask("SELECT string_agg(p::text, '' ORDER BY name) || (SELECT generation FROM catalogue) FROM provider p");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(str) char *text = edited(cases[i].from, cases[i].to);
		AUTO(str) char *after = NULL;

		assert_int_equal(apply(text, cases[i].complaint), 1);
		after = ask("SELECT string_agg(p::text, '' ORDER BY name) || (SELECT generation FROM catalogue) FROM provider p");
		assert_string_equal(after, before);
	}
}

static void
test_change(void **state)
{
	AUTO(str) char *new_key = edited("sk-first", "sk-second");
	AUTO(str) char *kept = edited(",\"api_key\":\"sk-first\"", "");
	AUTO(str) char *none = edited("\"sk-first\"", "null");
	AUTO(str) char *moved = edited(":9099\",\"api_key\":\"sk-first\"", ":9097\",\"api_key\":\"sk-third\"");
	struct routes_model m;

	(void)state;
	assert_int_equal(apply(new_key, "provider\tlab\tchanged\nprovider\tgpu\tunchanged\nmodel\tlab-1\tunchanged\n"), 0);
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_string_equal(m.routes[0].api_key, "sk-second");
	assert_int_equal(apply(kept, "catalogue\t-\tunchanged"), 0);
	assert_int_equal(apply(moved, "provider\tlab\tchanged"), 0);
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_string_equal(m.routes[0].api_key, "sk-third");
	assert_string_equal(m.routes[0].base_url, "http://127.0.0.1:9097");
	assert_int_equal(apply(none, "provider\tlab\tchanged"), 0);
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_string_equal(m.routes[0].api_key, "");
	assert_int_equal(apply("{\"models\":[{\"id\":\"b\",\"display_name\":\"B\",\"context_window\":10,\"max_output_tokens\":5,"
	    "\"routes\":[{\"provider\":\"gpu\",\"upstream\":\"b\"}]}]}", "model\tb\tcreated"), 0);
	refresh();
	assert_true(routes_find(routes, "b", &m));
	assert_true(routes_find(routes, "lab-1", &m));
}

/* A row whose address was changed behind roostctl's back does not get the key. */
static void
test_moved_row(void **state)
{
	struct routes_model m;

	(void)state;
	assert_int_equal(apply(file, "changed"), 0);
	free(ask("WITH x AS (UPDATE provider SET base_url = 'http://evil' WHERE name = 'lab' RETURNING 1), y AS "
	    "(UPDATE catalogue SET generation = generation + 1 RETURNING 1) SELECT 1 FROM x, y"));
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_int_equal(m.nroutes, 2);
	assert_string_equal(m.routes[0].upstream, "llama");
}

static void
test_list_and_rights(void **state)
{
	AUTO(buf) struct buf out = { 0 };
	AUTO(buf) struct buf denied = { 0 };
	const char *printed;

	(void)state;
	assert_int_equal(roostctl(&out, "models list"), 0);
	printed = out.data ? out.data : "";
	assert_non_null(strstr(printed, "lab-1\tLab 1\tlab/fake-1 > gpu/llama > scripted/x\t200000\t8192\tUSD 3 / 15\n"));
	assert_non_null(strstr(printed, "roost-scripted\t"));
	assert_null(strstr(printed, "sk-"));
	assert_int_not_equal(run(&denied, "psql -h %s/pg -U roost_gw roost -c 'SELECT key_sealed FROM provider' 2>&1%s", dir, ""), 0);
	printed = denied.data ? denied.data : "";
	assert_non_null(strstr(printed, "permission denied"));
	assert_int_not_equal(run(NULL, "psql -h %s/pg -U roost_worker roost -c \"UPDATE provider SET base_url = ''\" >/dev/null 2>&1%s", dir, ""), 0);
}

#define PRICELESS(more) "{\"models\":[{\"id\":\"lab-1\",\"display_name\":\"Lab 1\",\"context_window\":200000,\"max_output_tokens\":8192," \
	"\"routes\":[{\"provider\":\"gpu\",\"upstream\":\"llama\"}]" more "}]}"

/* What export says, apply takes for what is there; and the worker's copy has the price. */
static void
test_export(void **state)
{
	AUTO(buf) struct buf out = { 0 };
	struct routes_model m;
	struct cost_rates rates;
	const char *text;

	(void)state;
	assert_int_equal(roostctl(&out, "models export"), 0);
	text = out.data ? out.data : "";
	assert_null(strstr(text, "sk-"));
	assert_non_null(strstr(text, "\"output\":\"15\""));
	assert_int_equal(apply(text, "catalogue\t-\tunchanged"), 0);
	assert_true(routes_find(routes, "lab-1", &m));
	cost_rates_read(m.price, NULL, NULL, &rates);
	assert_int_equal(rates.token[COST_OUTPUT], 15000);
	/* a file that says nothing of prices takes none away; null does */
	assert_int_equal(apply(PRICELESS(""), NULL), 0);
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_non_null(m.price);
	assert_int_equal(apply(PRICELESS(",\"price\":null"), "model\tlab-1\tchanged"), 0);
	refresh();
	assert_true(routes_find(routes, "lab-1", &m));
	assert_null(m.price);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_any_provider), cmocka_unit_test(test_apply), cmocka_unit_test(test_bad_changes_nothing),
		cmocka_unit_test(test_change), cmocka_unit_test(test_moved_row), cmocka_unit_test(test_list_and_rights),
		cmocka_unit_test(test_export),
	};

	return cmocka_run_group_tests_name("model catalogue", tests, start, stop);
}
