/*
 * stream_rig: see stream_rig.h. Everything lives in one temporary folder, on unix sockets; processes are ended by the ids they were
 * started with. Hubs are the programs of the build that the test belongs to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stream_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define FDS 4096
#define START_MS 30000
#define OWN_REDIS_MS 5000
#define BEARER "Bearer %s"
#define BETA "managed-agents-2026-04-01"
#define VERSION "2026-10-21"

char sr_dir[64], sr_session[ID_MAX], sr_thread[ID_MAX], sr_key[2][APIKEY_LEN + 1];
struct conf sr_conf;
struct bus *sr_bus;
PGconn *sr_owner;
int sr_last_seq;
pid_t sr_hub[SR_HUBS];
static pid_t redis, nginx;
static int nginx_port;
static struct conf own;		/* of the tests' own bus: what they publish must arrive */

/* --- the servers --------------------------------------------------------------------------------------------------------------- */

static void
put_file(const char *name, const char *text)
{
	AUTO(str) char *p = xasprintf("%s/%s", sr_dir, name);
	FILE *f = fopen(p, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
shell(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (system(text) != 0)		/* NOLINT: a test's own command */
		fail_msg("%s", text);
}

/* Start a program with its stderr in DIR/name.log. */
static pid_t
spawn(const char *name, const char *const *argv)
{
	AUTO(str) char *log = xasprintf("%s/%s.log", sr_dir, name);
	pid_t pid = child_fork(SIGTERM);		/* nginx sees to its workers, then */
	int fd;

	if (pid != 0)
		return pid;
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	for (int i = 3; i < 1024; i++)		/* clients' connections would outlive their hub in here */
		close(i);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static int
finish(pid_t *pid, int sig)
{
	int status = 0;

	if (*pid <= 0)
		return 0;
	kill(*pid, sig);
	waitpid(*pid, &status, 0);
	*pid = 0;
	return status;
}

/* Connect to a unix socket, for up to ms. -1 when nobody listens by then. */
static int
reach(const char *path, int ms)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int64_t until = clock_mono_ms() + ms;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	while (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		if (clock_mono_ms() > until) {
			close(fd);
			return -1;
		}
		usleep(5000);
	}
	return fd;
}

static void
await_socket(const char *path)
{
	int fd = reach(path, START_MS);

	if (fd < 0)
		fail_msg("nobody listens at %s", path);
	close(fd);
}

void
sr_sql(const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	PGresult *r;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r = PQexec(sr_owner, text);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(sr_owner));
	PQclear(r);
}

void
sr_redis_start(void)
{
	int64_t until = clock_mono_ms() + START_MS;
	struct err e = ERR_INIT;

	redis = spawn("redis", (const char *const[]){ "redis-server", "--port", "0", "--unixsocket", sr_conf.redis_socket, "--save", "",
	    "--appendonly", "no", "--dir", sr_dir, NULL });
	while (bus_ping(sr_bus, &e) < 0 && clock_mono_ms() < until)
		usleep(5000);
	assert_int_equal(bus_ping(sr_bus, &e), 0);
}

void
sr_redis_kill(void)
{
	(void)finish(&redis, SIGKILL);
}

void
sr_redis_signal(int sig)
{
	kill(redis, sig);
}

void
sr_redis_flush(void)
{
	shell("redis-cli -s %s FLUSHALL >/dev/null", sr_conf.redis_socket);
}

static void
connect_owner(void)
{
	AUTO(str) char *dsn = xasprintf("host=%s/pg dbname=roost user=roost_admin", sr_dir);

	sr_owner = PQconnectdb(dsn);
	if (PQstatus(sr_owner) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(sr_owner));
}

void
sr_postgres_kill(void)
{
	PQfinish(sr_owner);
	sr_owner = NULL;
	shell("tests/env/postgres halt %s/pg", sr_dir);
}

void
sr_postgres_start(void)
{
	shell("tests/env/postgres resume %s/pg", sr_dir);
	connect_owner();
}

static const char *
hub_socket(int n)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/stream-%d.sock", sr_dir, n);
	return path;
}

void
sr_hub_start(int n)
{
	char program[512], *end;
	AUTO(str) char *conf = xasprintf("%s/stream-%d.conf", sr_dir, n), *name = xasprintf("stream-%d", n);
	ssize_t len = readlink("/proc/self/exe", program, sizeof program - 32);

	assert_true(len > 0);
	program[len] = '\0';
	for (int i = 0; i < 3; i++) {		/* OUT/integ/stream/test */
		end = strrchr(program, '/');
		assert_non_null(end);
		*end = '\0';
	}
	strncat(program, "/bin/roost-stream", 31);
	assert_int_equal(sr_hub[n], 0);
	sr_hub[n] = spawn(name, (const char *const[]){ program, "-c", conf, NULL });
	await_socket(hub_socket(n));
}

int
sr_hub_end(int n, int sig)
{
	return finish(&sr_hub[n], sig);
}

int64_t
sr_hub_memory(int n)
{
	AUTO(str) char *path = xasprintf("/proc/%d/statm", (int)sr_hub[n]);
	FILE *f = fopen(path, "r");
	long size = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

bool
sr_nginx_holds(const struct sr_client *c)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	unsigned local, remote;
	bool found = false;
	char line[256];
	FILE *f = fopen("/proc/net/tcp", "re");

	assert_non_null(f);
	assert_int_equal(getsockname(c->fd, (struct sockaddr *)&at, &len), 0);
	while (!found && fgets(line, sizeof line, f))
		found = sscanf(line, " %*[^:]: %*8[0-9A-F]:%x %*8[0-9A-F]:%x", &local, &remote) == 2 && (int)local == nginx_port && remote == ntohs(at.sin_port);
	fclose(f);
	return found;
}

/*
 * One that nobody has now, and that the kernel gives nobody for an outgoing connection: nginx takes it a moment later, and takes it again
 * when it is started anew. From 12000 to 20000, where no instance looks for its port (ops/setup/nginx.sh).
 */
static int
free_port(void)
{
	for (int i = 0; i < 100; i++) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		unsigned short r;

		id_random(&r, sizeof r);
		at.sin_port = htons((uint16_t)(12000 + r % 8000));
		if (fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) == 0)
			return ntohs(at.sin_port);
	}
	fail_msg("no free port");
	return 0;
}

void
sr_nginx_start(void)
{
	const char *out = getenv("OUT");
	AUTO(str) char *roostctl = xasprintf("%s/bin/roostctl", out ? out : "build/release"), *silence = xasprintf("%d", SR_SILENCE_MS);
	AUTO(str) char *address = NULL;
	AUTO(buf) struct buf text = BUF_INIT(0);
	AUTO(str) char *conf = xasprintf("%s/nginx.conf", sr_dir), *sock = xasprintf("%s/http.sock", sr_dir);
	char cwd[512];

	assert_non_null(getcwd(cwd, sizeof cwd));
	nginx_port = nginx_port ? nginx_port : free_port();
	address = xasprintf("127.0.0.1:%d", nginx_port);
	buf_printf(&text, "daemon off;\nuser root;\nworker_processes 2;\nworker_shutdown_timeout 1s;\npid %s/nginx.pid;\n"
	    "error_log %s/nginx.log;\nevents { worker_connections 1000; }\nhttp {\naccess_log off;\n", sr_dir, sr_dir);
	for (const char *const *p = (const char *const[]){ "client_body", "fastcgi", "proxy", "uwsgi", "scgi", NULL }; *p; p++)
		buf_printf(&text, "%s_temp_path %s/nginx-%s;\n", *p, sr_dir, *p);
	buf_printf(&text, "include %s/nginx/limits.inc;\nupstream hubs {\n", cwd);
	for (int i = 0; i < SR_HUBS; i++)
		buf_printf(&text, "server unix:%s max_fails=0;\n", hub_socket(i));
	buf_printf(&text, "}\nserver {\nlisten unix:%s;\nlisten %s;\nlocation / {\ninclude %s/nginx/stream.inc;\nfastcgi_pass hubs;\n}\n}\n}\n", sock, address, cwd);
	put_file("nginx.conf", text.data);
	(void)unlink(sock);
	nginx = spawn("nginx", (const char *const[]){ roostctl, "listen", silence, address, "--", "nginx", "-e", "stderr", "-p", sr_dir, "-c", conf,
	    NULL });
	await_socket(sock);
}

void
sr_nginx_reload(void)
{
	kill(nginx, SIGHUP);
}

void
sr_nginx_kill(void)
{
	(void)finish(&nginx, SIGTERM);
}

static void
make_keys(void)
{
	struct apikey_pepper pepper;
	struct err e = ERR_INIT;
	char public_id[APIKEY_PUBLIC_LEN + 1], hash[APIKEY_HEX];

	assert_int_equal(apikey_pepper_load(sr_conf.pepper_file, &pepper, &e), 0);
	sr_sql("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	for (int i = 0; i < 2; i++) {
		sr_sql("INSERT INTO workspace (id, organization_id, name) VALUES ('wrkspc_%d', 'org', 'W')", i + 1);
		apikey_new(&pepper, sr_key[i], public_id);
		apikey_hash(&pepper, sr_key[i], hash);
		sr_sql("INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint)"
		    " VALUES ('apikey_%d', 'org', 'wrkspc_%d', 'k', '%s', '%s', '')", i, i + 1, public_id, hash);
	}
}

static void
configure(int max)
{
	struct err e = ERR_INIT;
	AUTO(str) char *first = xasprintf("%s/stream-0.conf", sr_dir);

	put_file("pepper", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
	for (int n = 0; n < SR_HUBS; n++) {
		AUTO(str) char *text = xasprintf("pg_dsn = host=%s/pg dbname=roost user=roost_stream\nredis_socket = %s/redis.sock\n"
		    "redis_timeout_ms = 500\nlisten_socket = %s\nthreads = 2\npepper_file = %s/pepper\nkey_cache_s = 0\n"
		    "sse_ping_ms = %d\nsse_queue_bytes = 65536\nsse_held_bytes = 50331648\nsse_max = %d\n",
		    sr_dir, sr_dir, hub_socket(n), sr_dir, SR_PING_MS, max);
		AUTO(str) char *name = xasprintf("stream-%d.conf", n);

		put_file(name, text);
	}
	if (conf_load(&sr_conf, first, &e) < 0)
		fail_msg("%s", e.pub);
}

void
sr_start(int max)
{
	snprintf(sr_dir, sizeof sr_dir, "/tmp/roost-stream-XXXXXX");
	assert_non_null(mkdtemp(sr_dir));
	assert_int_equal(chmod(sr_dir, 0755), 0);
	signal(SIGPIPE, SIG_IGN);
	configure(max);
	shell("tests/env/postgres start %s/pg", sr_dir);
	connect_owner();
	own = sr_conf;
	own.redis_timeout_ms = OWN_REDIS_MS;
	sr_bus = bus_open(&own);
	sr_redis_start();
	make_keys();
}

int
sr_stop(void)
{
	AUTO(str) char *cmd = xasprintf("tests/env/postgres stop %s/pg; rm -rf %s", sr_dir, sr_dir);

	for (int i = 0; i < SR_HUBS; i++)
		(void)finish(&sr_hub[i], SIGKILL);
	(void)finish(&nginx, SIGTERM);
	bus_close(&sr_bus);
	PQfinish(sr_owner);
	(void)finish(&redis, SIGKILL);
	return system(cmd);		/* NOLINT: a test's own command */
}

/* --- clients ------------------------------------------------------------------------------------------------------------------- */

static void
record(struct buf *b, int type, const char *data, size_t len)
{
	const unsigned char h[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len, 0, 0 };

	buf_put(b, h, sizeof h);
	buf_put(b, data, len);
}

static void
param(struct buf *b, const char *name, const char *value)
{
	size_t n = strlen(value);

	buf_ch(b, (char)strlen(name));
	if (n < 128)
		buf_ch(b, (char)n);
	else {
		buf_ch(b, (char)(0x80 | n >> 24));
		buf_ch(b, (char)(n >> 16));
		buf_ch(b, (char)(n >> 8));
		buf_ch(b, (char)n);
	}
	buf_str(b, name);
	buf_str(b, value);
}

static const char *
value(const char *given, const char *good)
{
	return given && !*given ? good : given;
}

/* As nginx asks: one request of FastCGI. */
static void
put_fastcgi(struct buf *out, const struct sr_ask *a, const char *last)
{
	static const char begin[8] = { 0, 1 };
	AUTO(buf) struct buf params = BUF_INIT(0);
	AUTO(str) char *bearer = a->bearer ? xasprintf(BEARER, value(a->bearer, sr_key[0])) : NULL;

	param(&params, "REQUEST_METHOD", a->method);
	param(&params, "REQUEST_URI", a->path);
	if (bearer)
		param(&params, "HTTP_AUTHORIZATION", bearer);
	if (a->beta)
		param(&params, "HTTP_ANTHROPIC_BETA", value(a->beta, BETA));
	if (a->version)
		param(&params, "HTTP_ANTHROPIC_VERSION", value(a->version, VERSION));
	if (a->agent)
		param(&params, "HTTP_USER_AGENT", a->agent);
	if (last)
		param(&params, "HTTP_LAST_EVENT_ID", last);
	record(out, 1, begin, sizeof begin);
	record(out, 4, params.data, params.len);
	record(out, 4, "", 0);
	record(out, 5, "", 0);
}

/* HTTP/1.0, because the answer is not in chunks then. */
static void
put_http(struct buf *out, const struct sr_ask *a, const char *last)
{
	buf_printf(out, "%s %s HTTP/1.0\r\nHost: x\r\nAuthorization: " BEARER "\r\nanthropic-beta: " BETA "\r\nanthropic-version: " VERSION "\r\n",
	    a->method, a->path, value(a->bearer, sr_key[0]));
	if (last)
		buf_printf(out, "Last-Event-ID: %s\r\n", last);
	buf_str(out, "\r\n");
}

static bool streams[FDS];	/* the descriptors of clients */

static int
reach_port(int port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0 ? steal_fd(fd) : -1;
}

/* -1: nobody listens. */
static int
open_request(const struct sr_ask *a, int n, const char *last)
{
	AUTO(str) char *http = xasprintf("%s/http.sock", sr_dir);
	AUTO(buf) struct buf out = BUF_INIT(0);
	int fd = n == SR_NGINX_TCP ? reach_port(nginx_port) : reach(n < 0 ? http : hub_socket(n), 0);

	if (fd < 0)
		return -1;
	if (n < 0)
		put_http(&out, a, last);
	else
		put_fastcgi(&out, a, last);
	if (send(fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len || fd >= FDS) {
		close(fd);
		return -1;
	}
	streams[fd] = true;
	return fd;
}

struct sr_client
sr_ask_at(const struct sr_ask *a, int n, const char *last)
{
	struct sr_client c = { .fd = open_request(a, n, last), .last = -1, .http = n < 0 };

	assert_true(c.fd >= 0);
	return c;
}

struct sr_client
sr_ask(const struct sr_ask *a)
{
	return sr_ask_at(a, 0, NULL);
}

/* One whole frame: its number, and whether it is the next one. */
static void
look(struct sr_client *c, const char *frame, const char *end)
{
	static const char id[] = "id: ", ping[] = "event: ping\n";
	const char *line = frame;
	int64_t seq = -1;

	for (; line < end; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1) {
		if (strncmp(line, id, sizeof id - 1) == 0)
			seq = strtoll(line + sizeof id - 1, NULL, 10);
		if (strncmp(line, ping, sizeof ping - 1) == 0) {
			c->last = seq >= 0 ? seq : c->last;
			return;
		}
	}
	if (seq < 0)
		return;
	c->events++;
	c->out_of_order += seq != c->last + 1;
	c->last = seq;
}

static void
scan(struct sr_client *c)
{
	char *end;

	while (c->text.data && c->scanned < c->text.len && (end = strstr(c->text.data + c->scanned, "\n\n"))) {
		look(c, c->text.data + c->scanned, end + 1);
		c->scanned = (size_t)(end + 2 - c->text.data);
	}
	if (c->forget && c->scanned > 1 << 16) {
		buf_shift(&c->text, c->scanned);
		c->scanned = 0;
	}
}

/* Take whole records out of what was read. */
static void
unwrap(struct sr_client *c)
{
	size_t at = 0;

	while (!c->http && c->raw.len - at >= 8) {
		const unsigned char *h = (const unsigned char *)c->raw.data + at;
		size_t len = (size_t)h[4] << 8 | h[5], whole = 8 + len + h[6];

		if (c->raw.len - at < whole)
			break;
		if (h[1] == 6)
			buf_put(&c->text, h + 8, len);
		c->ended = c->ended || h[1] == 3;
		at += whole;
	}
	if (c->http) {
		buf_put(&c->text, c->raw.data, c->raw.len);
		at = c->raw.len;
	}
	if (at > 0)
		buf_shift(&c->raw, at);
	scan(c);
}

void
sr_hear(struct sr_client *c, int ms)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	char part[65536];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return;
	n = recv(c->fd, part, sizeof part, 0);
	if (n <= 0) {
		c->closed = true;
		return;
	}
	buf_put(&c->raw, part, (size_t)n);
	unwrap(c);
}

bool
sr_heard(const struct sr_client *c, const char *what)
{
	return c->text.data && strstr(c->text.data, what);
}

int64_t
sr_expect(struct sr_client *c, const char *what)
{
	int64_t t0 = clock_mono_ms();

	while (!sr_heard(c, what) && !c->closed && clock_mono_ms() - t0 < SR_SOON_MS)
		sr_hear(c, 50);
	if (!sr_heard(c, what))
		fail_msg("no \"%s\" in \"%.600s\"", what, c->text.data ? c->text.data : "");
	return clock_mono_ms() - t0;
}

int64_t
sr_expect_seq(struct sr_client *c, int64_t seq, int ms)
{
	int64_t t0 = clock_mono_ms();

	while (c->last < seq && !c->closed && clock_mono_ms() - t0 < ms)
		sr_hear(c, 50);
	if (c->last < seq || c->out_of_order > 0)
		fail_msg("event %d, not %d; %d out of order; %s", (int)c->last, (int)seq, (int)c->out_of_order, c->closed ? "closed" : "open");
	return clock_mono_ms() - t0;
}

void
sr_expect_closed(struct sr_client *c)
{
	int64_t t0 = clock_mono_ms();

	while (!c->closed && clock_mono_ms() - t0 < SR_SOON_MS)
		sr_hear(c, 50);
	assert_true(c->closed);
}

void
sr_expect_end(struct sr_client *c)
{
	sr_expect_closed(c);
	assert_true(c->ended);
}

int
sr_count(const struct sr_client *c, const char *what)
{
	int n = 0;

	for (const char *p = c->text.data; p && (p = strstr(p, what)); p++)
		n++;
	return n;
}

void
sr_hang_up(struct sr_client *c)
{
	if (c->fd >= 0) {
		close(c->fd);
		streams[c->fd] = false;
	}
	c->fd = -1;
	buf_free(&c->raw);
	buf_free(&c->text);
}

const char *
sr_path(const char *query)
{
	static char path[200];

	snprintf(path, sizeof path, "/v1/sessions/%s/events/stream%s", sr_session, query);
	return path;
}

/* A hub may not have noticed yet that those of the test before have left: it says so, and one comes again. */
static struct sr_client
opened(const char *query, int n, const char *last)
{
	for (int64_t until = clock_mono_ms() + SR_SOON_MS;;) {
		struct sr_client c = sr_ask_at(SR_GET(sr_path(query)), n, last);

		sr_expect(&c, "\r\n\r\n");
		if ((!sr_heard(&c, " 503 ") && !sr_heard(&c, " 429 ")) || clock_mono_ms() > until) {
			sr_expect(&c, " 200 OK\r\n");
			sr_expect(&c, "event: ping\ndata: {}\n\n");
			return c;
		}
		sr_hang_up(&c);
		usleep(20000);
	}
}

struct sr_client
sr_open_stream(const char *query)
{
	return opened(query, 0, NULL);
}

struct sr_client
sr_open_at(int n, int64_t last)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, last);
	return opened("", n, last < 0 ? NULL : text);
}

int
sr_clear(void **state)
{
	for (int fd = 0; fd < FDS; fd++)
		if (streams[fd])
			close(fd);
	memset(streams, 0, sizeof streams);
	return 0;
}

void
sr_come_again(struct sr_client *c, int n)
{
	int64_t until = clock_mono_ms() + START_MS;
	char last[24];

	snprintf(last, sizeof last, "%" PRId64, c->last);
	do {
		sr_hang_up(c);
		c->scanned = 0;
		c->ended = c->closed = false;
		c->http = n < 0;
		c->fd = open_request(SR_GET(sr_path("")), n, last);
		c->closed = c->fd < 0;
		while (!c->closed && !sr_heard(c, "\r\n\r\n") && clock_mono_ms() < until)
			sr_hear(c, 50);
		if (!c->closed && sr_heard(c, " 200 OK\r\n"))
			return;
		usleep(20000);
	} while (clock_mono_ms() < until);
	fail_msg("no stream: %.300s", c->text.data ? c->text.data : "");
}

/* --- a session ----------------------------------------------------------------------------------------------------------------- */

void
sr_new_session(void)
{
	id_new("sesn_", sr_session);
	id_new("sthr_", sr_thread);
	sr_last_seq = 0;
	sr_sql("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at,"
	    " created_at, updated_at) VALUES ('%s', 'org', 'wrkspc_1', 'agent_1', 1, 'env_1', '%s', '{}', now(), now(), now())",
	    sr_session, sr_thread);
}

void
sr_commit_many(const char *type, int n, int size)
{
	sr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)"
	    " SELECT '%s', n, 'sevt_01' || lpad(translate(n::text, '0', 'Z'), 22, 'A'), '%s', '%s', now(),"
	    " '{\"id\":\"sevt_' || n || '\",\"type\":\"%s\",\"n\":' || n || ',\"x\":\"' || repeat('x', %d) || '\"}'"
	    " FROM generate_series(%d, %d) n", sr_session, type, sr_thread, type, size, sr_last_seq + 1, sr_last_seq + n);
	sr_last_seq += n;
	sr_sql("UPDATE session SET last_seq = %d WHERE id = '%s'", sr_last_seq, sr_session);
}

void
sr_commit(const char *type, int size)
{
	sr_commit_many(type, 1, size);
}

static int
publish(const char *type, int seq, const char *body, struct err *e)
{
	char text[160];

	snprintf(text, sizeof text, "{\"id\":\"sevt_%d\",\"type\":\"%s\",\"n\":%d,\"x\":\"\"}", seq, type, seq);
	return bus_publish(sr_bus, sr_session, type, seq, body ? body : text, e);
}

void
sr_publish(const char *type, int seq, const char *body)
{
	struct err e = ERR_INIT;

	assert_int_equal(publish(type, seq, body, &e), 0);
}

void
sr_emit(const char *type)
{
	struct err ignored = ERR_INIT;

	sr_commit(type, 0);
	(void)publish(type, sr_last_seq, NULL, &ignored);
}

void
sr_preview(const char *type, const char *body, const char *number)
{
	shell("redis-cli -s %s XADD sse:0 '*' s %s t %s q '' p '%s' n %s >/dev/null", sr_conf.redis_socket, sr_session, type, body, number);
}
