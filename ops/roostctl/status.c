/*
 * status: one page about a running instance: processes, versions, sessions, workers, queue.
 *
 * Each part is asked on its own and a part that does not answer is a line that says so; the exit status is then 1. Changes nothing.
 */
#include "ctl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jx.h"
#include "redis_ask.h"
#include "service.h"

static int
missing(const char *part, const struct err *e)
{
	printf("%-10s unknown: %s\n", part, ctl_reason(e));
	return -1;
}

static const char *
duration(int64_t s, char out[32])
{
	if (s < 120)
		snprintf(out, 32, "%" PRId64 " s", s);
	else if (s < 7200)
		snprintf(out, 32, "%" PRId64 " min", s / 60);
	else
		snprintf(out, 32, "%" PRId64 " h", s / 3600);
	return out;
}

static int
show_processes(struct ctl *c)
{
	struct service list[SERVICES_MAX];
	struct err e = ERR_INIT;
	char text[32];
	int n = service_list(&c->conf, list, &e), rc = 0;

	if (n < 0)
		return missing("processes", &e);
	if (n == 0)
		puts("processes  none");
	for (int i = 0; i < n; i++) {
		bool up = strcmp(list[i].state, "run") == 0;

		printf("process    %-12s %-8s pid %-8d since %s\n", list[i].name, list[i].state, list[i].pid,
		    duration(list[i].seconds, text));
		if (!up)
			rc = -1;
	}
	return n == 0 ? -1 : rc;
}

static int
show_database(struct ctl *c)
{
	AUTO(pgres) PGresult *server = NULL, *sessions = NULL, *workers = NULL;
	struct err e = ERR_INIT;
	char text[32];

	if (DB_RUN(c->db, STMT_STATUS_SERVER, &server, &e) < 0 || DB_RUN(c->db, STMT_STATUS_SESSIONS, &sessions, &e) < 0 ||
	    DB_RUN(c->db, STMT_STATUS_WORKERS, &workers, &e) < 0)
		return missing("database", &e);
	printf("database   Postgres %s, up %s, %s connections, schema %s, %s\n", pg_str(server, 0, 0),
	    duration(pg_int(server, 0, 1), text), pg_str(server, 0, 2), pg_str(server, 0, 3) ? pg_str(server, 0, 3) : "none",
	    pg_str(server, 0, 5));
	printf("sessions   %s, of these %s running, %s rescheduling, %s held by a worker\n", pg_str(sessions, 0, 0), pg_str(sessions, 0, 1),
	    pg_str(sessions, 0, 2), pg_str(sessions, 0, 5));
	printf("queue      %s due and not taken, the oldest for %s ms\n", pg_str(sessions, 0, 3), pg_str(sessions, 0, 4));
	for (int i = 0; i < PQntuples(workers); i++)
		printf("worker     %-34s beat %s ms ago, lease %s, %s sessions\n", pg_str(workers, i, 0), pg_str(workers, i, 1),
		    pg_bool(workers, i, 2) ? "valid" : "expired", pg_str(workers, i, 3));
	return 0;
}

static int
show_redis(struct ctl *c)
{
	struct redis_facts f;
	struct err e = ERR_INIT;

	if (redis_ask(&c->conf, &f, &e) < 0)
		return missing("redis", &e);
	printf("redis      Redis %s, %s used, %lld clients, %lld doorbell entries, %lld fan-out entries\n", f.version, f.memory, f.clients,
	    f.jobs, f.fanout);
	return 0;
}

static int
show_hands(struct ctl *c)
{
	AUTO(json) json_t *doc = NULL;
	struct err e = ERR_INIT;
	char text[4096];

	if (service_hands(&c->conf, text, sizeof(text), &e) < 0)
		return missing("sandboxes", &e);
	if (jx_parse(text, strlen(text), &doc, &e) < 0)
		return missing("sandboxes", &e);
	printf("sandboxes  %lld, control groups: %s\n", (long long)jx_int(doc, "sandboxes", -1),
	    jx_str(doc, "backend") ? jx_str(doc, "backend") : "?");
	return 0;
}

int
cmd_status(struct ctl *c, int argc, char **argv)
{
	int bad = 0;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	printf("instance   %s, roost %s, https://localhost:%" PRId64 "\n", c->conf.instance, ROOST_VERSION, c->conf.port);
	bad |= show_processes(c);
	bad |= show_database(c);
	bad |= show_redis(c);
	bad |= show_hands(c);
	return bad ? CTL_FAILED : CTL_OK;
}
