/*
 * drive: see drive.h. A blocking client of the frame protocol, a supervisor for throw-away roost-hands processes, and TAP output.
 */
#include "drive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPLY_MS 60000

struct hands H;
const char *out_dir = "build/release";
int shared = -1;
static int passed, failed, numbered;

int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool
until(bool (*f)(void *ctx), void *ctx, int ms)
{
	int64_t end = now_ms() + ms;

	while (!f(ctx)) {
		if (now_ms() > end)
			return false;
		(void)poll(NULL, 0, 5);
	}
	return true;
}

/* --- TAP --- */

void
check(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%s %d - ", ok ? "ok" : "not ok", passed + failed + 1);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	*(ok ? &passed : &failed) += 1;
}

static void
explain(struct result r)
{
	printf("# got %s: %.600s\n", r.is_error ? "error" : "success", r.text);
}

void
is_text(struct result r, bool error, const char *want, const char *name)
{
	bool ok = r.is_error == error && strcmp(r.text, want) == 0;

	check(ok, "%s", name);
	if (!ok)
		explain(r);
}

void
has_text(struct result r, bool error, const char *want, const char *name)
{
	bool ok = r.is_error == error && strstr(r.text, want) != NULL;

	check(ok, "%s", name);
	if (!ok)
		explain(r);
}

int
summary(void)
{
	printf("1..%d\n%d passed, %d failed\n", passed + failed, passed, failed);
	fflush(stdout);
	return failed ? 1 : 0;
}

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	check(false, "the run could go on");
	hands_remove(&H);
	exit(summary());
}

/* --- roost-hands --- */

/* A blob store as lib/base/blob.h describes it. */
static void
make_store(const char *dir)
{
	char path[300];
	int i;

	for (i = -2; i < 256; i++) {
		if (i < 0)
			snprintf(path, sizeof path, "%s%s", dir, i == -2 ? "" : "/tmp");
		else
			snprintf(path, sizeof path, "%s/%02x", dir, (unsigned)i);
		if (mkdir(path, 0750) < 0)
			give_up("mkdir %s: %s", path, strerror(errno));
	}
}

void
blob_put(const struct hands *h, const char *id, const char *text, size_t len)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%.2s/%s", h->blobs, id, id);
	f = fopen(path, "w");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		give_up("cannot write %s", path);
	chmod(path, 0644);
}

char *
blob_get(const struct hands *h, const char *id, size_t *len)
{
	char path[300], *data = NULL;
	struct stat st;
	FILE *f;

	snprintf(path, sizeof path, "%s/%.2s/%s", h->blobs, id, id);
	f = fopen(path, "r");
	if (f && fstat(fileno(f), &st) == 0) {
		data = malloc((size_t)st.st_size + 1);
		*len = fread(data, 1, (size_t)st.st_size, f);
		data[*len] = '\0';
	}
	if (f)
		fclose(f);
	return data;
}

void
hands_prepare(struct hands *h, const char *tag)
{
	char template[] = "/tmp/roost-sandbox-XXXXXX";

	memset(h, 0, sizeof *h);
	if (!mkdtemp(template))
		give_up("mkdtemp: %s", strerror(errno));
	snprintf(h->instance, sizeof h->instance, "test%d%s", getpid(), tag);
	snprintf(h->dir, sizeof h->dir, "%s", template);
	snprintf(h->sock, sizeof h->sock, "%s/s", h->dir);
	snprintf(h->log, sizeof h->log, "%s/log", h->dir);
	chmod(h->dir, 0711);
	snprintf(h->blobs, sizeof h->blobs, "%s/blobs", h->dir);
	make_store(h->blobs);
}

static void
write_conf(const struct hands *h, const char *path)
{
	char init[4096], *real = NULL;
	FILE *f = fopen(path, "w");

	snprintf(init, sizeof init, "%s/bin/roost-init", out_dir);
	real = realpath(init, NULL);
	fprintf(f, "instance = %s\nrun_dir = %s\nhands_socket = %s\nworker_user = nobody\ninit_path = %s\nsandbox_dir = %s/sandbox\nblob_dir = %s\n%s",
	    h->instance, h->dir, h->sock, real ? real : init, h->dir, h->blobs, h->extra);
	fclose(f);
	free(real);
}

void
put_text(const char *dir, const char *file, const char *text)
{
	char path[600];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, file);
	f = fopen(path, "w");
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

struct starting { struct hands *h; bool ended; };

static bool
listens(void *ctx)
{
	struct starting *s = ctx;
	int fd;

	if (waitpid(s->h->pid, NULL, WNOHANG) == s->h->pid) {
		s->ended = true;
		return true;
	}
	if ((fd = dial(s->h)) < 0)
		return false;
	close(fd);
	return true;
}

bool
hands_start(struct hands *h)
{
	char conf[200], bin[4096];
	struct starting s = { .h = h };

	snprintf(conf, sizeof conf, "%s/conf", h->dir);
	snprintf(bin, sizeof bin, "%s/bin/roost-hands", out_dir);
	write_conf(h, conf);
	unlink(h->sock);
	h->pid = fork();
	if (h->pid == 0) {
		int log = open(h->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
		dup2(log, 2);
		if (h->cgroup)
			put_text(h->cgroup, "cgroup.procs", "0");
		execl(bin, "roost-hands", "-c", conf, (char *)NULL);
		_exit(127);
	}
	if (!until(listens, &s, 30000))
		give_up("roost-hands does not listen");
	if (s.ended)
		h->pid = 0;
	return !s.ended;
}

void
hands_must_start(struct hands *h, const char *name)
{
	char cmd[200];
	bool ok = hands_start(h);

	check(ok, "%s", name);
	if (ok)
		return;
	snprintf(cmd, sizeof cmd, "sed 's/^/# /' '%s'", h->log);
	fflush(stdout);
	(void)!system(cmd);
}

int
hands_stop(struct hands *h, int sig)
{
	int status = 0;

	if (h->pid <= 0)
		return 0;
	kill(h->pid, sig);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
	return status;
}

bool
hands_logged(const struct hands *h, const char *text)
{
	static char data[65536];
	FILE *f = fopen(h->log, "r");
	size_t n = f ? fread(data, 1, sizeof data - 1, f) : 0;

	if (f)
		fclose(f);
	data[n] = '\0';
	return strstr(data, text) != NULL;
}

void
hands_remove(struct hands *h)
{
	char cmd[300];

	hands_stop(h, SIGTERM);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", h->dir);
	if (system(cmd) != 0)
		printf("# cannot remove %s\n", h->dir);
}

/* --- frames --- */

int
dial(const struct hands *h)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = REPLY_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", h->sock);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	return fd;
}

int
send_req(int fd, json_t *req)
{
	unsigned char head[4];
	char *text;
	size_t len, at = 0;

	json_object_set_new(req, "n", json_integer(++numbered));
	text = json_dumps(req, JSON_COMPACT);
	len = strlen(text);
	head[0] = (unsigned char)(len >> 24), head[1] = (unsigned char)(len >> 16), head[2] = (unsigned char)(len >> 8);
	head[3] = (unsigned char)len;
	if (send(fd, head, 4, MSG_NOSIGNAL) != 4)
		len = 0;
	while (at < len) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	free(text);
	json_decref(req);
	return numbered;
}

static bool
read_all(int fd, void *to, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = recv(fd, (char *)to + at, len - at, 0);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* Replies that came while another was waited for. */
static struct { int fd; json_t *doc; } early[256];

json_t *
wait_reply(int fd, int n)
{
	size_t i;

	for (i = 0; i < sizeof early / sizeof *early; i++)
		if (early[i].doc && early[i].fd == fd && json_integer_value(json_object_get(early[i].doc, "n")) == n) {
			json_t *doc = early[i].doc;

			early[i].doc = NULL;
			return doc;
		}
	for (;;) {
		unsigned char head[4];
		json_t *doc;
		size_t len;
		char *text;

		if (!read_all(fd, head, 4))
			return NULL;
		len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
		text = malloc(len + 1);
		if (!read_all(fd, text, len))
			return free(text), NULL;
		doc = json_loadb(text, len, 0, NULL);
		free(text);
		if (!doc)
			give_up("a reply is not JSON");
		if (json_integer_value(json_object_get(doc, "n")) == n)
			return doc;
		for (i = 0; i < sizeof early / sizeof *early && early[i].doc; i++)
			;
		if (i == sizeof early / sizeof *early)
			give_up("too many replies wait");
		early[i].fd = fd;
		early[i].doc = doc;
	}
}

json_t *
ask(int fd, json_t *req)
{
	return wait_reply(fd, send_req(fd, req));
}

json_t *
req_of(const char *op, const char *session, int epoch)
{
	return json_pack("{s:s,s:s,s:i}", "op", op, "session", session, "epoch", epoch);
}

json_t *
req_call(const char *session, int epoch, const char *call, const char *name, json_t *input)
{
	return json_pack("{s:s,s:s,s:i,s:s,s:s,s:o}", "op", "call", "session", session, "epoch", epoch, "call", call, "tool", name,
	    "input", input);
}

const char *
fresh_call(void)
{
	static char id[8][48];
	static int n;

	n++;
	snprintf(id[n % 8], sizeof id[0], "sevt_%d", n);
	return id[n % 8];
}

void
shared_dial(void)
{
	if (shared >= 0)
		close(shared);
	shared = dial(&H);
	if (shared < 0)
		give_up("cannot connect");
}

struct result
tool(const char *session, const char *name, json_t *input)
{
	static json_t *last;
	const char *call = fresh_call();
	struct result r = { 0 };
	json_t *ack;

	json_decref(last);
	last = ask(shared, req_call(session, 1, call, name, input));
	if (!last)
		give_up("the connection closed during a %s call", name);
	r.text = json_string_value(json_object_get(last, "content"));
	if (!r.text) {
		char *dump = json_dumps(last, 0);

		give_up("no content in the reply: %s", dump);
	}
	r.len = json_string_length(json_object_get(last, "content"));
	r.is_error = json_is_true(json_object_get(last, "is_error"));
	r.spilled = json_is_true(json_object_get(last, "spilled"));
	ack = req_of("ack", session, 1);
	json_object_set_new(ack, "call", json_string(call));
	json_decref(ask(shared, ack));
	return r;
}

struct result
sh(const char *session, const char *command)
{
	return tool(session, "bash", json_pack("{s:s}", "command", command));
}

struct result
sh_within(const char *session, const char *command, int timeout_ms)
{
	return tool(session, "bash", json_pack("{s:s,s:i}", "command", command, "timeout_ms", timeout_ms));
}

void
put_file(const char *session, const char *path, const char *text)
{
	struct result r = tool(session, "write", json_pack("{s:s,s:s}", "file_path", path, "content", text));

	if (r.is_error)
		give_up("cannot write %s: %s", path, r.text);
}

/* --- the host's view --- */

const char *
cgroup2_mount(void)
{
	static char point[256];
	char line[1024], type[32];
	FILE *f = point[0] ? NULL : fopen("/proc/self/mounts", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%*s %255s %31s", point, type) == 2 && strcmp(type, "cgroup2") == 0)
			break;
	if (f)
		fclose(f);
	return point;
}

int
boxes(const struct hands *h, char paths[][300], int max)
{
	char dir[300];
	struct dirent *d;
	DIR *dp;
	int n = 0;

	snprintf(dir, sizeof dir, "%s/roost-%s", cgroup2_mount(), h->instance);
	dp = opendir(dir);
	while (dp && n < max && (d = readdir(dp)) != NULL)
		if (strncmp(d->d_name, "sb-", 3) == 0)
			snprintf(paths[n++], 300, "%s/%.40s", dir, d->d_name);
	if (dp)
		closedir(dp);
	return n;
}

pid_t
box_init(const char *path)
{
	char file[340];
	int pid = 0;
	FILE *f;

	snprintf(file, sizeof file, "%s/cgroup.procs", path);
	f = fopen(file, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}
