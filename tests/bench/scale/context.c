/*
 * How long the context of a session takes, 2,000 events of about 550 bytes: read from Postgres (cold) or remembered by the worker
 * (cached), each up to the finished request body of the Messages dialect. Medians and bests of 51 runs. Argument: folder of a throw-away Postgres.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "clock.h"
#include "ctxcache.h"
#include "turn.h"
#include "xalloc.h"

#include "db.h"

#define RUNS 51
#define SESSION "sesn_bench"

static struct db *db;

static void
fill(const char *dir)
{
	AUTO(str) char *dsn = xasprintf("host=%s dbname=roost user=roost_admin", dir);
	PGconn *c = PQconnectdb(dsn);
	PGresult *r = PQexec(c, "DELETE FROM event WHERE session_id = '" SESSION "';"
	    "INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)"
	    " SELECT '" SESSION "', e, 'sevt_' || e, 'agent.message', 't', now() + e * interval '1 us', repeat('b', 100),"
	    " CASE WHEN e % 2 = 1 THEN 'u' ELSE 'a' END::\"char\", '{\"type\":\"text\",\"text\":\"' || repeat('some text ', 52) || '\"}'"
	    " FROM generate_series(1, 2000) e; ANALYZE event");

	must(PQresultStatus(r) == PGRES_COMMAND_OK);
	PQclear(r);
	PQfinish(c);
}

static void
load(struct context *c)
{
	struct err e = ERR_INIT;
	int n;

	do {
		AUTO(pgres) PGresult *r = NULL;

		must(DB_RUN(db, STMT_CONTEXT_LOAD, &r, &e, SESSION, DBN(c->seq)) == 0);
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			context_add(c, pg_str(r, i, 1)[0], pg_str(r, i, 2));
			c->seq = pg_int(r, i, 0);
		}
	} while (n == 4096);
}

static size_t
build(const struct context *c, const char *dialect)
{
	AUTO(buf) struct buf out = BUF_INIT(0);
	struct model_request rq = { .model_id = "m", .system = "Be brief.", .items = c->items, .nitems = c->n, .kinds = c->kinds, .max_output_tokens = 1000 };

	adapter_find(dialect)->tail(&out, &rq);
	return out.len;
}

static int
by_value(const void *a, const void *b)
{
	return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

static void
print(const char *what, int64_t *us)
{
	const int middle = RUNS / 2;

	qsort(us, RUNS, sizeof(*us), by_value);
	printf("%s %.2f ms (best %.2f)", what, (double)us[middle] / 1000, (double)us[0] / 1000);
}

int
main(int argc, char **argv)
{
	static const char *const dialects[] = { "anthropic", "openai" };
	AUTO(str) char *dsn = NULL;
	struct ctxcache *cache = ctxcache_new(64 << 20);
	int64_t read_us[RUNS], build_us[RUNS], cached_us[RUNS];
	struct context c = { 0 };
	size_t bytes = 0;

	must(argc == 2);
	fill(argv[1]);
	dsn = xasprintf("host=%s dbname=roost user=roost_worker", argv[1]);
	db = db_open(dsn, DB_WORKER, 5000);
	for (int d = 0; d < 2; d++) {
		for (int i = 0; i < RUNS; i++) {
			int64_t a, b, end;

			context_clear(&c);
			a = clock_mono_us();
			load(&c);
			b = clock_mono_us();
			(void)build(&c, dialects[d]);
			end = clock_mono_us();
			read_us[i] = end - a;
			build_us[i] = end - b;
			ctxcache_put(cache, SESSION, &c);
			a = clock_mono_us();
			must(ctxcache_take(cache, SESSION, &c));
			bytes = build(&c, dialects[d]);
			cached_us[i] = clock_mono_us() - a;
		}
		printf("context of %d events, %zu bytes of request, %s: ", c.n, bytes, dialects[d]);
		print("cold", read_us);
		print(", of it building", build_us);
		print("; cached", cached_us);
		printf("\n");
	}
	context_clear(&c);
	ctxcache_free(&cache);
	db_close(&db);
	return 0;
}
