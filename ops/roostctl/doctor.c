/*
 * doctor: checks the machine and the instance, one line per finding, and says what to do about it.
 *
 * The checks are a table and independent of each other: what cannot be asked is a finding, never a reason to stop. Exit status 0 when
 * nothing failed (warnings allowed), else 1. Changes nothing and prints no secret.
 */
#include "doctor.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "redis_ask.h"
#include "service.h"

static void
finding(struct doctor *d, const char *level, const char *advice, const char *fmt, va_list ap)
{
	printf("%-5s %-11s ", level, d->name);
	vprintf(fmt, ap);
	putchar('\n');
	if (advice)
		printf("%-17s -> %s\n", "", advice);
}

void
doctor_ok(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	finding(d, "ok", NULL, fmt, ap);
	va_end(ap);
}

void
doctor_warn(struct doctor *d, const char *advice, const char *fmt, ...)
{
	va_list ap;

	d->warnings++;
	va_start(ap, fmt);
	finding(d, "warn", advice, fmt, ap);
	va_end(ap);
}

void
doctor_fail(struct doctor *d, const char *advice, const char *fmt, ...)
{
	va_list ap;

	d->failures++;
	va_start(ap, fmt);
	finding(d, "FAIL", advice, fmt, ap);
	va_end(ap);
}

static void
check_user(struct doctor *d)
{
	if (geteuid() == 0)
		doctor_ok(d, "root");
	else
		doctor_warn(d, "run it as root (bin/roostctl does)", "not root: some checks cannot look");
}

/* Without it a process still comes back, but a supervisor that dies itself does not. */
static void
check_supervisor(struct doctor *d)
{
	char path[300], target[16];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/supervisor.pid", d->ctl->conf.run_dir);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);	/* gone for a zombie too */
	if (pid > 0 && readlink(path, target, sizeof(target)) > 0)
		doctor_ok(d, "runsvdir, pid %d", pid);
	else
		doctor_fail(d, "run make up", "not running");
}

static void
check_processes(struct doctor *d)
{
	struct service list[SERVICES_MAX];
	struct err e = ERR_INIT;
	AUTO(buf) struct buf young = BUF_INIT(4096);
	int n = service_list(&d->ctl->conf, list, &e), bad = 0;

	if (n <= 0) {
		doctor_fail(d, "run make up", "%s", n < 0 ? ctl_reason(&e) : "nothing is started");
		return;
	}
	for (int i = 0; i < n; i++) {
		char advice[400];

		snprintf(advice, sizeof(advice), "see %s/log/%.63s/current", d->ctl->conf.state_dir, list[i].name);
		if (strcmp(list[i].state, "run") != 0)
			doctor_fail(d, advice, "%s is not running (%s)", list[i].name, list[i].state);
		else if (list[i].seconds < 3)
			buf_printf(&young, " %s", list[i].name);
		bad += strcmp(list[i].state, "run") != 0;
	}
	if (young.len > 0)
		doctor_warn(d, "ask again in a moment; what is still here then keeps crashing: see its log", "just started:%s", young.data);
	else if (!bad)
		doctor_ok(d, "%d running", n);
}

static void
check_sockets(struct doctor *d)
{
	struct service list[SERVICES_MAX];
	struct err e = ERR_INIT;
	int n = service_list(&d->ctl->conf, list, &e), bad = 0;

	for (int i = 0; i < n; i++) {
		bool gateway = strncmp(list[i].name, "gateway-", 8) == 0, stream = strncmp(list[i].name, "stream-", 7) == 0;
		char path[400];

		if (!gateway && !stream)
			continue;
		snprintf(path, sizeof(path), "%s/%s/%.63s.sock", d->ctl->conf.run_dir, gateway ? "gateway" : "stream", list[i].name);
		if (service_connect(path, 1000, &e) < 0) {
			doctor_fail(d, "see the log of that process", "%s", ctl_reason(&e));
			bad++;
		}
	}
	if (service_connect(d->ctl->conf.hands_socket, 1000, &e) < 0) {
		doctor_fail(d, "without roost-hands no tool runs: see its log", "%s", ctl_reason(&e));
		bad++;
	}
	if (!bad && n > 0)
		doctor_ok(d, "gateways, streams and hands accept connections");
}

static void
check_postgres(struct doctor *d)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	if (DB_RUN(d->ctl->db, STMT_STATUS_SERVER, &res, &e) < 0) {
		doctor_fail(d, "see the log of postgres; make up starts it", "%s", ctl_reason(&e));
		return;
	}
	doctor_ok(d, "version %s, schema %s", pg_str(res, 0, 0), pg_str(res, 0, 3) ? pg_str(res, 0, 3) : "none");
}

static void
check_redis(struct doctor *d)
{
	struct redis_facts f;
	struct err e = ERR_INIT;

	if (redis_ask(&d->ctl->conf, &f, &e) < 0)
		doctor_fail(d, "see the log of redis; make up starts it", "%s", ctl_reason(&e));
	else
		doctor_ok(d, "version %s, %s used", f.version, f.memory);
}

static void
check_queue(struct doctor *d)
{
	AUTO(pgres) PGresult *sessions = NULL, *workers = NULL;
	struct err e = ERR_INIT;
	int live = 0;

	if (DB_RUN(d->ctl->db, STMT_STATUS_SESSIONS, &sessions, &e) < 0 || DB_RUN(d->ctl->db, STMT_STATUS_WORKERS, &workers, &e) < 0) {
		doctor_fail(d, "first mend Postgres", "cannot ask for it");
		return;
	}
	for (int i = 0; i < PQntuples(workers); i++)
		live += pg_bool(workers, i, 2);
	if (live == 0)
		doctor_fail(d, "see the logs of worker-*", "no worker has a valid lease: nothing is worked on");
	else if (pg_int(sessions, 0, 4) > 10000)
		doctor_warn(d, "more workers, or one that is stuck: see roostctl status", "a session has waited for %" PRId64 " ms",
		    pg_int(sessions, 0, 4));
	else
		doctor_ok(d, "%d workers, %s sessions wait", live, pg_str(sessions, 0, 3));
}

static void
check_port(struct doctor *d)
{
	char ca[300], url[64], out[2048];
	const char *const argv[] = { "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "5", "--cacert", ca, "--fail", url, NULL };

	snprintf(ca, sizeof(ca), "%s/tls/ca.crt", d->ctl->conf.state_dir);
	snprintf(url, sizeof(url), "https://localhost:%" PRId64 "/healthz", d->ctl->conf.port);
	if (service_capture(argv, 6, out, sizeof(out)) != 0)
		doctor_fail(d, "see the logs of nginx and gateway-*; is another program on the port?", "%s does not answer: %.*s", url,
		    (int)strcspn(out, "\n"), out);
	else if (strstr(out, "\"status\":\"degraded\""))
		doctor_warn(d, "see what is down, here and in its log", "the API serves, but: %.*s", (int)strcspn(out, "\n"), out);
	else
		doctor_ok(d, "%s %.*s", url, (int)strcspn(out, "\n"), out);
}

/* What lies in STATE/keys, and what the processes that read it do without. */
static const struct { const char *name, *lack; } keys[] = {
	{ "pepper", "every API key hangs on it: bring it back from the backup before make up, which would make another one" },
	{ "pepper.gw", "run make up: it copies it from pepper; gateways do not start without it" },
	{ "pepper.stream", "run make up: it copies it from pepper; streams do not start without it" },
	{ "instance.key", "bring it back from the backup: sealed provider keys cannot be opened without it" },
	{ "instance.pub", "run make up: it is computed from instance.key" },
};

/* A key file that others may read is a finding, also when it is an old one that nobody names any more; so is one that is not there. */
static void
check_secrets(struct doctor *d)
{
	char dir[300], path[600];
	DIR *dp;
	struct dirent *de;
	struct stat st;
	int bad = 0, n = 0;

	snprintf(dir, sizeof(dir), "%s/keys", d->ctl->conf.state_dir);
	dp = opendir(dir);
	if (!dp) {
		doctor_warn(d, "run make up, or the doctor as root", "%s: %s", dir, strerror(errno));
		return;
	}
	while ((de = readdir(dp))) {
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		if (de->d_name[0] == '.' || strstr(de->d_name, ".pub") || stat(path, &st) != 0 || S_ISDIR(st.st_mode))
			continue;	/* a folder: doctor_vault.c */
		n++;
		if (st.st_mode & 0377) {
			doctor_fail(d, "chmod 400 it, and think about who may have read it", "%s has mode %03o", path, st.st_mode & 0777);
			bad++;
		}
	}
	closedir(dp);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, keys[i].name);
		if (stat(path, &st) != 0) {
			doctor_fail(d, keys[i].lack, "%s: %s", path, strerror(errno));
			bad++;
		}
	}
	if (!bad)
		doctor_ok(d, "%d files, each for its owner only", n);
}

static const struct {
	const char *name;
	doctor_check *run;
} checks[] = {
	{ "user", check_user },
	{ "kernel", doctor_kernel },
	{ "namespaces", doctor_namespaces },
	{ "cgroups", doctor_cgroups },
	{ "seccomp", doctor_seccomp },
	{ "landlock", doctor_landlock },
	{ "overlay", doctor_overlay },
	{ "clock", doctor_clock },
	{ "disk", doctor_disk },
	{ "memory", doctor_memory },
	{ "open files", doctor_files },
	{ "programs", doctor_programs },
	{ "users", doctor_users },
	{ "secrets", check_secrets },
	{ "supervisor", check_supervisor },
	{ "processes", check_processes },
	{ "postgres", check_postgres },
	{ "redis", check_redis },
	{ "sockets", check_sockets },
	{ "bell", doctor_bell },
	{ "queue", check_queue },
	{ "files", doctor_store },
	{ "vault", doctor_vault },
	{ "archive", doctor_archive },
	{ "certificate", doctor_tls },
	{ "health", check_port },
};

int
cmd_doctor(struct ctl *c, int argc, char **argv)
{
	struct doctor d = { .ctl = c };

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		d.name = checks[i].name;
		checks[i].run(&d);
		fflush(stdout);
	}
	printf("\n%d failed, %d warnings\n", d.failures, d.warnings);
	return d.failures ? CTL_FAILED : CTL_OK;
}
