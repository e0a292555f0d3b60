/*
 * gateway_rig: see gateway_rig.h. Everything lives in one folder that is removed at the end; what fails aborts the test program.
 */
#include "gateway_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "apikey.h"
#include "buf.h"
#include "child.h"
#include "clock.h"
#include "credopen.h"
#include "db.h"
#include "id.h"
#include "xalloc.h"

#define WAIT_MS 30000

char gwr_dir[64];
static char keys[GWR_NOBODY][APIKEY_LEN + 1];
static PGconn *owner;
static pid_t redis_pid, gateway_pid;
static int conn = -1, connections;

static const struct { const char *organization, *workspace; } homes[] = {
	[GWR_A] = { "org-1", "wrkspc_A" }, [GWR_B] = { "org-1", "wrkspc_B" }, [GWR_C] = { "org-2", "wrkspc_C" },
	[GWR_SUSPENDED] = { "org-3", "wrkspc_S" }, [GWR_ADMIN] = { "org-1", NULL }, [GWR_REVOKED] = { "org-1", "wrkspc_A" },
	[GWR_EXPIRED] = { "org-1", "wrkspc_A" }, [GWR_ARCHIVED] = { "org-1", "wrkspc_X" }, [GWR_UNKNOWN] = { NULL, NULL },
};

const char *
gwr_fmt(const char *fmt, ...)
{
	static char ring[8][4096];
	static int at;
	va_list ap;

	at = (at + 1) % 8;
	va_start(ap, fmt);
	vsnprintf(ring[at], sizeof ring[at], fmt, ap);
	va_end(ap);
	return ring[at];
}

static pid_t
spawn(char *const argv[], const char *log)
{
	pid_t pid = child_fork(SIGKILL);

	if (pid == 0) {
		if (!freopen(log, "a", stderr) || !freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout))
			_exit(127);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void
await(const char *file)
{
	for (int64_t end = clock_mono_ms() + WAIT_MS; access(file, R_OK) != 0; (void)usleep(3000))	/* the step of a wait with a deadline */
		must(clock_mono_ms() < end);
}

char *
gwr_sql(const char *fmt, ...)
{
	AUTO(pgres) PGresult *res = NULL;
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&text, fmt, ap) > 0);
	va_end(ap);
	res = PQexec(owner, text);
	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", text, PQerrorMessage(owner));
	free(text);
	return xstrdup(PQntuples(res) && PQnfields(res) && !PQgetisnull(res, 0, 0) ? PQgetvalue(res, 0, 0) : "");
}

void
gwr_wait(const char *want, const char *sql)
{
	for (int64_t end = clock_mono_ms() + WAIT_MS;; (void)usleep(3000)) {	/* the step of a wait with a deadline */
		bool late = clock_mono_ms() > end;
		AUTO(str) char *got = gwr_sql("%s", sql);

		if (strcmp(got, want) == 0)
			return;
		if (late)
			fail_msg("%s: %s; want %s", sql, got, want);
	}
}

static void
tenants(const struct apikey_pepper *pepper)
{
	static const char *const setup[] = {
		"INSERT INTO organization (id, name, state) VALUES ('org-1', '1', 'active'), ('org-2', '2', 'active'), ('org-3', '3', 'suspended')",
		"INSERT INTO workspace (id, organization_id, name) VALUES ('wrkspc_A', 'org-1', 'A'), ('wrkspc_B', 'org-1', 'B'), "
		"('wrkspc_C', 'org-2', 'C'), ('wrkspc_S', 'org-3', 'S'), ('wrkspc_X', 'org-1', 'X')",
		"UPDATE workspace SET archived_at = now() WHERE id = 'wrkspc_X'",
	};
	char public_id[APIKEY_PUBLIC_LEN + 1], hash[APIKEY_HEX];

	for (size_t i = 0; i < sizeof setup / sizeof *setup; i++)
		free(gwr_sql("%s", setup[i]));
	for (int i = 0; i < GWR_NOBODY; i++) {
		apikey_new(pepper, keys[i], public_id);
		apikey_hash(pepper, keys[i], hash);
		if (!homes[i].organization)
			continue;
		free(gwr_sql("INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint, expires_at, revoked_at) "
		    "VALUES ('apikey_%d', '%s', %s%s%s, 'k', '%s', '%s', 'h', %s, %s)", i, homes[i].organization,
		    homes[i].workspace ? "'" : "", homes[i].workspace ? homes[i].workspace : "NULL", homes[i].workspace ? "'" : "", public_id, hash,
		    i == GWR_EXPIRED ? "now() - interval '1 s'" : "NULL", i == GWR_REVOKED ? "now()" : "NULL"));
	}
}

static void
start_gateway(void)
{
	const char *out = getenv("OUT");
	char binary[512], conf[128], log[128], sock[128];

	snprintf(binary, sizeof binary, "%s/bin/roost-gateway", out ? out : "build/release");
	snprintf(conf, sizeof conf, "%s/gateway.conf", gwr_dir);
	snprintf(log, sizeof log, "%s/gateway.log", gwr_dir);
	snprintf(sock, sizeof sock, "%s/gateway.sock", gwr_dir);
	gateway_pid = spawn((char *[]){ binary, (char *)"-c", conf, NULL }, log);
	await(sock);
}

void
gwr_start(const char *settings)
{
	struct apikey_pepper pepper;
	struct err e = ERR_INIT;
	unsigned char secret[32];
	char path[128], log[128], pub[128], key_id[CREDSEAL_KEY_ID];
	FILE *f;

	snprintf(gwr_dir, sizeof gwr_dir, "/tmp/roost-gateway-%d", (int)getpid());
	must(system(gwr_fmt("tests/env/postgres start %s", gwr_dir)) == 0);
	owner = PQconnectdb(gwr_fmt("host=%s dbname=roost user=roost_admin", gwr_dir));
	must(PQstatus(owner) == CONNECTION_OK);
	snprintf(path, sizeof path, "%s/redis.sock", gwr_dir);
	snprintf(log, sizeof log, "%s/redis.log", gwr_dir);
	redis_pid = spawn((char *[]){ (char *)"redis-server", (char *)"--port", (char *)"0", (char *)"--unixsocket", path, (char *)"--save",
	    (char *)"", NULL }, log);
	await(path);
	id_random(secret, sizeof secret);
	f = fopen(gwr_fmt("%s/pepper", gwr_dir), "w");
	must(f != NULL);
	for (size_t i = 0; i < sizeof secret; i++)
		fprintf(f, "%02x", secret[i]);
	must(fclose(f) == 0 && apikey_pepper_load(gwr_fmt("%s/pepper", gwr_dir), &pepper, &e) == 0);
	tenants(&pepper);
	snprintf(path, sizeof path, "%s/vault", gwr_dir);	/* no gwr_fmt() here: settings may stand in its ring */
	snprintf(pub, sizeof pub, "%s/vault.pub", gwr_dir);
	must(mkdir(path, 0700) == 0 && credkeys_make(path, pub, 1, key_id, NULL, &e) == 0);
	f = fopen(gwr_fmt("%s/gateway.conf", gwr_dir), "w");
	must(f != NULL);
	fprintf(f, "pg_dsn = host=%s dbname=roost user=roost_gw\nredis_socket = %s/redis.sock\nredis_timeout_ms = 5000\n"
	    "listen_socket = %s/gateway.sock\npepper_file = %s/pepper\nblob_dir = %s/blobs\nblob_spare_mb = 0\nthreads = 2\n"
	    "vault_pub_file = %s/vault.pub\n%s", gwr_dir, gwr_dir, gwr_dir, gwr_dir, gwr_dir, gwr_dir, settings);
	must(fclose(f) == 0);
	start_gateway();
}

/* Did it end as it should? With leaks under a sanitizer it did not. */
static bool
stop_gateway(void)
{
	int status;

	must(kill(gateway_pid, SIGTERM) == 0 && waitpid(gateway_pid, &status, 0) == gateway_pid);
	if (conn >= 0)
		close(conn);
	conn = -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	(void)!system(gwr_fmt("tail -n 60 %s/gateway.log >&2", gwr_dir));
	print_error("roost-gateway ended with status %d\n", status);
	return false;
}

void
gwr_restart(void)
{
	assert_true(stop_gateway());
	start_gateway();
}

void
gwr_stop_redis(void)
{
	if (redis_pid == 0)
		return;
	(void)kill(redis_pid, SIGKILL);
	(void)waitpid(redis_pid, NULL, 0);
	redis_pid = 0;
}

void
gwr_stop(void)
{
	bool well = stop_gateway();

	PQfinish(owner);
	gwr_stop_redis();
	must(system(gwr_fmt("tests/env/postgres stop %s", gwr_dir)) == 0);
	if (!well)
		exit(1);	/* a failure after a group's last test is not counted by cmocka */
}

int
gwr_over(void **state)
{
	(void)state;
	gwr_stop();
	return 0;
}

int
gwr_pid(void)
{
	return gateway_pid;
}

const char *
gwr_key(enum gwr_who who)
{
	return keys[who];
}

int
gwr_connections(void)
{
	return connections;
}

void
gwr_forked(void)
{
	close(conn);
	conn = -1;
}

/* --- FastCGI ---------------------------------------------------------------------------------------------------------------- */

static int
dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/gateway.sock", gwr_dir);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0);
	return fd;
}

static void
record(struct buf *b, unsigned char type, const void *data, size_t len)
{
	const char *p = data;

	do {
		size_t n = len > 65528 ? 65528 : len;
		unsigned char head[8] = { 1, type, 0, 1, (unsigned char)(n >> 8), (unsigned char)n, 0, 0 };

		buf_put(b, head, sizeof head);
		buf_put(b, p, n);
		p += n;
		len -= n;
	} while (len > 0);
}

static void
pair(struct buf *b, const char *name, const char *value)
{
	size_t lens[2] = { strlen(name), strlen(value) };

	for (int i = 0; i < 2; i++) {
		uint32_t big = htonl((uint32_t)lens[i] | 0x80000000u);

		buf_put(b, &big, sizeof big);
	}
	buf_str(b, name);
	buf_str(b, value);
}

static void
params_of(struct buf *b, enum gwr_who who, const char *method, const char *uri, size_t len, const char *const *headers)
{
	const char *query = strchr(uri, '?');
	char text[32];

	pair(b, "REQUEST_METHOD", method);
	pair(b, "REQUEST_URI", uri);
	pair(b, "QUERY_STRING", query ? query + 1 : "");
	snprintf(text, sizeof text, "%zu", len);
	if (!headers || strcmp(headers[0] ? headers[0] : "", "CONTENT_LENGTH") != 0)	/* a test may lie about it, first of all */
		pair(b, "CONTENT_LENGTH", text);
	if (!headers) {
		pair(b, "CONTENT_TYPE", "application/json");
		pair(b, "HTTP_ANTHROPIC_VERSION", "2026-10-21");
		pair(b, "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01");
		if (who != GWR_NOBODY)
			pair(b, "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", keys[who]));
		return;
	}
	for (; *headers; headers += 2)
		pair(b, headers[0], headers[1]);
}

static bool
read_all(int fd, void *out, size_t len)
{
	char *p = out;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
read_reply(int fd, struct buf *out)
{
	unsigned char h[8];
	char pad[256];

	for (;;) {
		size_t n;
		char *to;

		if (!read_all(fd, h, sizeof h))
			return false;
		n = (size_t)(h[4] << 8 | h[5]);
		to = buf_reserve(out, n + 1);
		if (!read_all(fd, to, n) || !read_all(fd, pad, h[6]))
			return false;
		if (h[1] == 6)
			out->len += n;
		if (h[1] == 3)
			return true;
	}
}

static bool
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static const unsigned char begin[8] = { 0, 1, 1 };	/* responder, keep the connection */

/* got: a reply as CGI writes it. */
static void
parse_reply(struct buf *got, struct gwr_reply *out)
{
	char *split;

	buf_ch(got, '\0');
	split = strstr(got->data, "\r\n\r\n");
	must(split != NULL);
	memset(out, 0, sizeof *out);
	out->head = xstrndup(got->data, (size_t)(split - got->data) + 2);
	out->len = got->len - 1 - (size_t)(split + 4 - got->data);
	out->body = xstrndup(split + 4, out->len);
	out->json = json_loadb(out->body, out->len, JSON_DECODE_ANY, NULL);
	must(sscanf(out->head, "Status: %d", &out->status) == 1);
}

void
gwr_send(enum gwr_who who, const char *method, const char *uri, const char *body, size_t len, const char *const *headers,
    struct gwr_reply *out)
{
	AUTO(buf) struct buf wire = BUF_INIT(0), params = BUF_INIT(0), got = BUF_INIT(0);

	params_of(&params, who, method, uri, len, headers);
	record(&wire, 1, begin, sizeof begin);
	record(&wire, 4, params.data, params.len);
	record(&wire, 4, "", 0);
	if (len > 0)
		record(&wire, 5, body, len);
	record(&wire, 5, "", 0);
	for (int tries = 0;; tries++) {
		must(tries < 2);
		if (conn < 0) {
			conn = dial();
			connections++;
		}
		buf_reset(&got);
		if (write_all(conn, wire.data, wire.len) && read_reply(conn, &got))
			break;
		close(conn);
		conn = -1;
	}
	parse_reply(&got, out);
}

int
gwr_begin(enum gwr_who who, const char *method, const char *uri, size_t len, const char *const *headers)
{
	AUTO(buf) struct buf wire = BUF_INIT(0), params = BUF_INIT(0);
	int fd = dial();

	params_of(&params, who, method, uri, len, headers);
	record(&wire, 1, begin, sizeof begin);
	record(&wire, 4, params.data, params.len);
	record(&wire, 4, "", 0);
	must(write_all(fd, wire.data, wire.len));
	return fd;
}

bool
gwr_body(int fd, const void *data, size_t len)
{
	AUTO(buf) struct buf wire = BUF_INIT(0);

	record(&wire, 5, data, len);
	return write_all(fd, wire.data, wire.len);
}

bool
gwr_answer(int fd, struct gwr_reply *out)
{
	AUTO(buf) struct buf got = BUF_INIT(0);
	bool there = read_reply(fd, &got);

	close(fd);
	if (there)
		parse_reply(&got, out);
	return there;
}

void
gwr_reply_free(struct gwr_reply *r)
{
	free(r->head);
	free(r->body);
	json_decref(r->json);
	memset(r, 0, sizeof *r);
}

char *
gwr_header(const struct gwr_reply *r, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = r->head; *p; p = strstr(p, "\r\n") + 2)
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return xstrndup(p + n + 2, strcspn(p + n + 2, "\r"));
	return NULL;
}

/* --- expectations ----------------------------------------------------------------------------------------------------------- */

static void
request_id_there(const struct gwr_reply *r)
{
	AUTO(str) char *id = gwr_header(r, "request-id");

	if (!id || strncmp(id, "req_011C", 8) != 0)
		fail_msg("no request-id in: %s", r->head);
}

json_t *
gwr_ok(enum gwr_who who, const char *method, const char *uri, const char *body)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	AUTO(str) char *workspace = NULL;

	gwr_send(who, method, uri, body, body ? strlen(body) : 0, NULL, &r);
	if (r.status != 200 || !r.json)
		fail_msg("%s %s %s: %d %s", method, uri, body ? body : "", r.status, r.body);
	request_id_there(&r);
	workspace = gwr_header(&r, "anthropic-workspace-id");
	if (who < GWR_ADMIN)
		assert_string_equal(workspace, homes[who].workspace);
	return json_incref(r.json);
}

static void
make(enum gwr_who who, const char *uri, const char *body, char id[ID_MAX])
{
	AUTO(json) json_t *made = gwr_ok(who, "POST", uri, body);

	snprintf(id, ID_MAX, "%s", jx_str(made, "id"));
}

void
gwr_parts(enum gwr_who who, char agent[ID_MAX], char environment[ID_MAX])
{
	make(who, "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}", agent);
	make(who, "/v1/environments", "{\"name\":\"E\"}", environment);
}

void
gwr_session_of(enum gwr_who who, const char *agent, const char *environment, char session[ID_MAX])
{
	make(who, "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment), session);
}

void
gwr_session(enum gwr_who who, char agent[ID_MAX], char environment[ID_MAX], char session[ID_MAX])
{
	gwr_parts(who, agent, environment);
	gwr_session_of(who, agent, environment, session);
}

void
gwr_bad(enum gwr_who who, const char *method, const char *uri, const char *body, int status, const char *type, const char *message)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const json_t *error;

	gwr_send(who, method, uri, body, body ? strlen(body) : 0, NULL, &r);
	error = json_object_get(r.json, "error");
	if (r.status != status || !error || strcmp(jx_str(r.json, "type"), "error") != 0 || strcmp(jx_str(error, "type"), type) != 0 ||
	    strncmp(jx_str(error, "message"), message, strlen(message)) != 0 || !jx_str(r.json, "request_id"))
		fail_msg("%s %s %.300s\n  want %d %s: %s\n  got  %d %s", method, uri, body ? body : "", status, type, message, r.status, r.body);
	request_id_there(&r);
}

/* What every table that matters holds, except what processes write about themselves. where: of tables with a workspace. */
static char *
digest(const char *where)
{
	return gwr_sql("SELECT md5(string_agg(query_to_xml(format('SELECT md5(string_agg(t::text, E''\\n'' ORDER BY t::text)) AS h FROM %%I t%s', c.relname), "
	    "true, false, '')::text, c.relname ORDER BY c.relname)) FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace "
	    "AND c.relname NOT IN ('worker', 'request_dedupe', 'schema_migration')%s", where,
	    where[0] ? " AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'workspace_id')" : "");
}

char *
gwr_state(void)
{
	return digest("");
}

char *
gwr_state_of_others(void)
{
	return digest(" WHERE workspace_id IS DISTINCT FROM ''wrkspc_A''");
}
