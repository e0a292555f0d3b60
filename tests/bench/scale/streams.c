/*
 * Idle subscribers (default 9,500, as many as one hub and one nginx worker's descriptors allow on a machine with 20,000) of 100 sessions,
 * over TLS: memory per stream in the hub and in nginx, what the heartbeats cost, and that all of one session's still hear a turn.
 * The environment is an instance's dev.env with ROOST_RUN.
 */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../http.h"
#include "xalloc.h"

enum { SESSIONS = 100, WARM = 500, IDLE_S = 15 };

static int
pid_of(const char *service)
{
	AUTO(str) char *path = xasprintf("%s/supervise/%s/pid", getenv("ROOST_RUN"), service);
	FILE *f = fopen(path, "r");
	int pid = 0;

	if (f == NULL || fscanf(f, "%d", &pid) != 1)
		die("%s: no pid", path);
	fclose(f);
	return pid;
}

struct cost {
	double rss_kb, cpu_us;
};

/* Of a process: and its parent. */
static int
cost_one(int pid, struct cost *c)
{
	AUTO(str) char *path = xasprintf("/proc/%d/stat", pid), *text = xcalloc(1, 4096);
	FILE *f = fopen(path, "r");
	unsigned long user, sys;
	long rss;
	int parent;
	const char *p;

	*c = (struct cost){ 0 };
	if (f == NULL)
		return 0;
	p = fgets(text, 4096, f);
	fclose(f);
	if (p == NULL || sscanf(strrchr(text, ')'), ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld", &parent,
	    &user, &sys, &rss) != 4)
		return 0;
	c->rss_kb = (double)rss * (double)sysconf(_SC_PAGESIZE) / 1024;
	c->cpu_us = (double)(user + sys) * 1e6 / (double)sysconf(_SC_CLK_TCK);
	return parent;
}

/* A service's process and its children. */
static struct cost
cost(const char *service)
{
	int pid = pid_of(service);
	struct cost all, c;
	DIR *d = opendir("/proc");

	must(d != NULL);
	(void)cost_one(pid, &all);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (atoi(e->d_name) > 0 && cost_one(atoi(e->d_name), &c) == pid) {
			all.rss_kb += c.rss_kb;
			all.cpu_us += c.cpu_us;
		}
	closedir(d);
	return all;
}

static char *
created(struct http *h, const char *path, const char *body)
{
	AUTO(str) char *reply = http_call(h, "POST", path, body);
	char *at = strstr(reply, "\"id\":\"");

	if (at == NULL)
		die("%s: %s", path, reply);
	at += 6;
	return xstrndup(at, strcspn(at, "\""));
}

static void
turn_heard(struct http *h, const char *session, struct http **s, int n)
{
	AUTO(str) char *path = xasprintf("/v1/sessions/%s/events", session);
	struct buf *text = xcalloc((size_t)n, sizeof(*text));
	double began = now_us();
	int heard = 0, total = 0;

	free(http_call(h, "POST", path, "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]}"));
	for (int i = 0; i < n; i += SESSIONS)
		total++;
	while (heard < total && now_us() - began < 20e6)
		for (int i = 0; i < n; i += SESSIONS) {
			struct pollfd p = { http_fd(s[i]), POLLIN, 0 };

			if (text[i].max == 1 || poll(&p, 1, 1) <= 0)
				continue;
			http_hear(s[i], &text[i]);
			if (text[i].data != NULL && strstr(text[i].data, "event: session.status_idle") != NULL) {
				buf_free(&text[i]);
				text[i].max = 1;	/* done */
				heard++;
			}
		}
	printf("a turn of a session with %d of them: heard by %d within %.0f ms of the request\n", total, heard, (now_us() - began) / 1000);
	free(text);
}

int
main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 9500;
	struct http **s = xcalloc((size_t)n, sizeof(struct http *)), *h;	/* NOLINT(bugprone-sizeof-expression): pointers it is */
	struct cost hub = { 0 }, nginx = { 0 }, hub2, nginx2;
	char *session[SESSIONS];
	double began;

	http_init();
	h = http_open(0);
	AUTO(str) char *named = xasprintf("{\"name\":\"idle streams %d\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"unrestricted\"}}}",
	    (int)getpid());
	AUTO(str) char *env = created(h, "/v1/environments", named);
	AUTO(str) char *agent = created(h, "/v1/agents", "{\"name\":\"idle\",\"model\":\"roost-scripted\"}");
	AUTO(str) char *body = xasprintf("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, env);
	for (int i = 0; i < SESSIONS; i++)
		session[i] = created(h, "/v1/sessions", body);
	began = now_us();
	for (int i = 0; i < n; i++) {
		AUTO(str) char *path = xasprintf("/v1/sessions/%s/events/stream", session[i % SESSIONS]);

		if (i == WARM) {
			hub = cost("stream-0");
			nginx = cost("nginx");
		}
		s[i] = http_stream(path);
	}
	hub2 = cost("stream-0");
	nginx2 = cost("nginx");
	printf("%d idle streams opened in %.1f s; hub %.0f B, nginx %.1f kB each (RSS from the %dth on); hub CPU %.0f us to open one\n", n,
	    (now_us() - began) / 1e6, (hub2.rss_kb - hub.rss_kb) * 1024 / (n - WARM), (nginx2.rss_kb - nginx.rss_kb) / (n - WARM), WARM,
	    (hub2.cpu_us - hub.cpu_us) / (n - WARM));
	hub = hub2;
	nginx = nginx2;
	sleep(IDLE_S);
	hub2 = cost("stream-0");
	nginx2 = cost("nginx");
	printf("idle for %d s: hub %.2f %%, nginx %.2f %% of a core\n", IDLE_S, (hub2.cpu_us - hub.cpu_us) / (IDLE_S * 1e4),
	    (nginx2.cpu_us - nginx.cpu_us) / (IDLE_S * 1e4));
	turn_heard(h, session[0], s, n);
	return 0;
}
