/*
 * drive: see drive.h. One thread, poll(2); replies are looked for in the bytes that came, because a measurement knows what it asked for.
 */
#include "drive.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xalloc.h"

struct http *api;
char environment[64], agent[64], tool_agent[64];

/* The first id in a reply. */
static void
id_of(const char *reply, char out[64])
{
	const char *p = strstr(reply, "\"id\":\"");

	if (!p || sscanf(p, "\"id\":\"%63[^\"]", out) != 1)
		die("no id in %.200s", reply);
}

void
create(const char *path, const char *body, char out[64])
{
	AUTO(str) char *reply = http_call(api, "POST", path, body);

	id_of(reply, out);
}

char *
agent_body(const char *model, bool tools)
{
	return xasprintf("{\"name\":\"bench\",\"model\":\"%s\"%s}", model, tools ? ",\"tools\":[{\"type\":\"agent_toolset_20260401\"}]" : "");
}

char *
session_body(const char *of)
{
	return xasprintf("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", of, environment);
}

void
new_session(const char *of, char out[64])
{
	AUTO(str) char *body = session_body(of);

	create("/v1/sessions", body, out);
}

void
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


void
drive_open(struct drive *d, const char *of, int turns, const char *query)
{
	char id[64], path[256];

	new_session(of, id);
	snprintf(d->path, sizeof d->path, "/v1/sessions/%s/events", id);
	snprintf(path, sizeof path, "%s/stream%s", d->path, query ? query : "");
	d->stream = http_stream(path);
	d->post = http_open(0);
	d->text = (struct buf)BUF_INIT(0);
	d->left = turns;
}

void
drive_close(struct drive *d)
{
	http_close(d->stream);
	http_close(d->post);
	buf_free(&d->text);
}

void
drive_send(struct drive *d, const char *text)
{
	AUTO(str) char *body = xasprintf("{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}", text);

	buf_reset(&d->text);
	d->acked = 0;
	d->sent = now_us();
	http_send(d->post, "POST", d->path, body, NULL);
}

bool
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

void
drive_wait(struct drive *d)
{
	struct pollfd p[2] = { { http_fd(d->post), POLLIN, 0 }, { http_fd(d->stream), POLLIN, 0 } };

	while (!drive_look(d))
		if (poll(p, 2, 20000) <= 0)
			die("%s: the turn does not end: %.300s", d->path, d->text.data ? d->text.data : "");
}

double
drive_until(struct drive *d, const char *text)
{
	struct pollfd p[2] = { { http_fd(d->post), POLLIN, 0 }, { http_fd(d->stream), POLLIN, 0 } };

	for (;;) {
		(void)drive_look(d);
		if (d->text.data && strstr(d->text.data, text))
			return now_us();
		if (poll(p, 2, 20000) <= 0)
			die("%s: no %s: %.300s", d->path, text, d->text.data ? d->text.data : "");
	}
}

double
drive_many(struct drive *d, int n, int turns, const char *of, const char *text, struct samples *each)
{
	struct pollfd *p = xcalloc((size_t)n * 2, sizeof *p);
	int open = n;
	double t0;

	for (int i = 0; i < n; i++) {
		drive_open(&d[i], of, turns, NULL);
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
