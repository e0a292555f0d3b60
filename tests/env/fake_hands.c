/*
 * fake_hands: see fake_hands.h. One thread, poll(2), the frames of lib/base; a mutex guards what the test reads.
 */
#include "fake_hands.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"
#include "id.h"
#include "jw.h"
#include "jx.h"
#include "xalloc.h"

#define CONNS 32		/* workers at a time */

struct held {
	char call[ID_MAX];
	int64_t n;		/* whom to answer; 0: nobody asked */
	struct frame_conn *fc;
	bool done, is_error;
	char *content;
};

struct note {
	char op[16], session[ID_MAX];
};

struct fake_hands {
	pthread_t thread;
	pthread_mutex_t lock;
	char path[108];
	int listener, wake[2];
	struct frame_conn *conns[CONNS];
	struct held *calls;
	int ncalls, capcalls;
	struct note *notes;
	int nnotes, capnotes;
	bool release, quit;
};

static void
reply(struct frame_conn *fc, int64_t n, const char *extra)
{
	AUTO(str) char *json = xasprintf("{\"n\":%lld%s}", (long long)n, extra);
	struct err e = ERR_INIT;

	(void)frame_send(fc, json, strlen(json), &e);
}

static void
answer(struct held *c)
{
	struct buf b = BUF_INIT(0);

	if (c->n == 0 || c->fc == NULL)
		return;
	buf_str(&b, ",\"state\":\"done\",\"call\":");
	jw_quote(&b, c->call, strlen(c->call));
	buf_str(&b, c->is_error ? ",\"is_error\":true,\"spilled\":false,\"content\":" : ",\"is_error\":false,\"spilled\":false,\"content\":");
	jw_quote(&b, c->content, strlen(c->content));
	reply(c->fc, c->n, b.data);
	buf_free(&b);
	c->n = 0;
}

static void
finish(struct held *c, const char *content, bool is_error)
{
	c->done = true;
	c->is_error = is_error;
	c->content = xstrdup(content);
	answer(c);
}

static struct held *
find(struct fake_hands *h, const char *call)
{
	for (int i = 0; i < h->ncalls; i++)
		if (call != NULL && strcmp(h->calls[i].call, call) == 0)
			return &h->calls[i];
	return NULL;
}

static void
start_call(struct fake_hands *h, struct frame_conn *fc, const json_t *doc, int64_t n)
{
	AUTO(str) char *input = jx_dump(json_object_get(doc, "input"));
	AUTO(str) char *content = xasprintf("ran %s %s", jx_str(doc, "tool"), input);
	struct held *c;

	if (h->ncalls == h->capcalls) {
		h->capcalls = h->capcalls > 0 ? 2 * h->capcalls : 64;
		h->calls = xrealloc(h->calls, (size_t)h->capcalls * sizeof(*h->calls));
	}
	c = &h->calls[h->ncalls++];
	memset(c, 0, sizeof(*c));
	strncpy(c->call, jx_str(doc, "call"), sizeof(c->call) - 1);
	c->n = n;
	c->fc = fc;
	if (strstr(input, "hold") == NULL || h->release)
		finish(c, content, strstr(input, "fail") != NULL);
	else
		c->content = NULL;
}

static void
note(struct fake_hands *h, const char *op, const char *session)
{
	struct note *at;

	if (h->nnotes == h->capnotes) {
		h->capnotes = h->capnotes > 0 ? 2 * h->capnotes : 256;
		h->notes = xrealloc(h->notes, (size_t)h->capnotes * sizeof(*h->notes));
	}
	at = &h->notes[h->nnotes++];
	snprintf(at->op, sizeof(at->op), "%s", op);
	snprintf(at->session, sizeof(at->session), "%s", session != NULL ? session : "");
}

static int
on_frame(void *ctx, struct frame_conn *fc, const char *json, size_t len)
{
	struct fake_hands *h = ctx;
	struct err e = ERR_INIT;
	AUTO(json) json_t *doc = NULL;
	const char *op, *call;
	struct held *c;
	int64_t n;

	must(jx_parse(json, len, &doc, &e) == 0);
	op = jx_str(doc, "op");
	call = jx_str(doc, "call");
	n = jx_int(doc, "n", 0);
	must(op != NULL && n > 0);
	note(h, op, jx_str(doc, "session"));
	c = find(h, call);
	if (strcmp(op, "call") == 0) {
		start_call(h, fc, doc, n);
	} else if (strcmp(op, "result") == 0 && c == NULL) {
		reply(fc, n, ",\"state\":\"unknown\"");
	} else if (strcmp(op, "result") == 0) {
		c->n = n;
		c->fc = fc;
		if (c->done)
			answer(c);
	} else {
		if (strcmp(op, "cancel") == 0 && c != NULL && !c->done)
			finish(c, "Tool execution was interrupted before completion. Please retry.", true);
		reply(fc, n, ",\"ok\":true,\"fresh\":true");
	}
	return 0;
}

static void
accept_one(struct fake_hands *h)
{
	int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;		/* whoever knocked is gone */
	for (int i = 0; i < CONNS; i++)
		if (h->conns[i] == NULL) {
			h->conns[i] = frame_new(fd, on_frame, h);
			return;
		}
	close(fd);
}

static void
drop(struct fake_hands *h, int i)
{
	for (int k = 0; k < h->ncalls; k++)
		if (h->calls[k].fc == h->conns[i])
			h->calls[k].fc = NULL;
	frame_free(&h->conns[i]);
}

static void *
run(void *arg)
{
	struct fake_hands *h = arg;

	for (;;) {
		struct pollfd p[2 + CONNS] = { { .fd = h->listener, .events = POLLIN }, { .fd = h->wake[0], .events = POLLIN } };
		char byte;

		for (int i = 0; i < CONNS; i++)
			p[2 + i] = (struct pollfd){ .fd = h->conns[i] != NULL ? frame_fd(h->conns[i]) : -1, .events = POLLIN };
		(void)poll(p, 2 + CONNS, -1);
		pthread_mutex_lock(&h->lock);
		if ((p[1].revents & POLLIN) && read(h->wake[0], &byte, 1) == 1 && h->quit) {
			pthread_mutex_unlock(&h->lock);
			return NULL;
		}
		for (int i = 0; i < h->ncalls && h->release; i++)
			if (!h->calls[i].done)
				finish(&h->calls[i], "released", false);
		for (int i = 0; i < CONNS; i++)
			if (h->conns[i] != NULL && p[2 + i].revents != 0 && frame_on_event(h->conns[i], EPOLLIN) < 0)
				drop(h, i);
		if (p[0].revents & POLLIN)
			accept_one(h);
		pthread_mutex_unlock(&h->lock);
	}
}

struct fake_hands *
fake_hands_start(const char *path)
{
	struct fake_hands *h = xcalloc(1, sizeof(*h));
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strncpy(h->path, path, sizeof(h->path) - 1);
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	(void)unlink(path);
	h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(h->listener >= 0 && bind(h->listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(h->listener, 8) == 0);
	must(pipe2(h->wake, O_CLOEXEC) == 0);
	pthread_mutex_init(&h->lock, NULL);
	must(pthread_create(&h->thread, NULL, run, h) == 0);
	return h;
}

static void
kick(struct fake_hands *h)
{
	must(write(h->wake[1], "x", 1) == 1);
}

void
fake_hands_stop(struct fake_hands **hp)
{
	struct fake_hands *h = *hp;

	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->quit = true;
	pthread_mutex_unlock(&h->lock);
	kick(h);
	pthread_join(h->thread, NULL);
	for (int i = 0; i < CONNS; i++)
		frame_free(&h->conns[i]);
	for (int i = 0; i < h->ncalls; i++)
		free(h->calls[i].content);
	free(h->calls);
	free(h->notes);
	close(h->listener);
	close(h->wake[0]);
	close(h->wake[1]);
	(void)unlink(h->path);
	free(h);
	*hp = NULL;
}

void
fake_hands_release(struct fake_hands *h)
{
	pthread_mutex_lock(&h->lock);
	h->release = true;
	pthread_mutex_unlock(&h->lock);
	kick(h);
}

void
fake_hands_amnesia(struct fake_hands *h)
{
	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < h->ncalls; i++)
		free(h->calls[i].content);
	h->ncalls = 0;
	h->release = false;
	pthread_mutex_unlock(&h->lock);
}

int
fake_hands_count(struct fake_hands *h, const char *op, const char *session)
{
	int n = 0;

	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < h->nnotes; i++)
		n += strcmp(h->notes[i].op, op) == 0 && (session == NULL || strcmp(h->notes[i].session, session) == 0);
	pthread_mutex_unlock(&h->lock);
	return n;
}
