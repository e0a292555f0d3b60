/*
 * hands: see hands.h. Requests live in one list in the order they were made; a reply finds its request by number. The list is short
 * (calls in flight of this worker), and a linear search of it is cheaper than the JSON of one frame.
 *
 * A frame that is not a JSON object, or a reply to an unknown number, is ignored: the first cannot be answered, the second is a reply
 * that nobody waits for any more.
 */
#include "hands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"
#include "frame.h"
#include "id.h"
#include "jw.h"
#include "jx.h"
#include "log.h"
#include "xalloc.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 1000

struct req {
	struct req *next;
	int64_t n;
	char *json;		/* until sent */
	size_t len;
	int64_t give_up_ms;	/* while unsent */
	char call[ID_MAX];
	hands_done_fn *done;
	void *owner;
};

struct hands {
	struct loop *loop;
	char *path;
	struct frame_conn *fc;
	struct req *reqs, **tail;
	int64_t last_n;
	int64_t backoff_ms;
	struct loop_timer *retry, *expire;
	bool told_down;
};

static void connect_now(void *ctx);
static void on_socket(void *ctx, int fd, uint32_t events);

static void
req_free(struct req *r)
{
	free(r->json);
	free(r);
}

static void
unlink_req(struct hands *h, struct req **at)
{
	struct req *r = *at;

	*at = r->next;
	if (h->tail == &r->next)
		h->tail = at;
	r->next = NULL;
}

static void
finish(struct req *r, enum hands_outcome outcome, const json_t *doc)
{
	if (r->done != NULL)
		r->done(r->owner, r->call, outcome, doc);
	req_free(r);
}

/* Answer every request that `pick` chooses. Callbacks may add requests: they go to the end of the list and are not chosen. */
static void
finish_all(struct hands *h, bool (*pick)(const struct hands *, const struct req *), enum hands_outcome outcome)
{
	struct req *chosen = NULL, **last = &chosen, **at = &h->reqs;

	while (*at != NULL) {
		struct req *r = *at;

		if (!pick(h, r)) {
			at = &r->next;
			continue;
		}
		unlink_req(h, at);
		*last = r;
		last = &r->next;
	}
	while (chosen != NULL) {
		struct req *r = chosen;

		chosen = r->next;
		finish(r, outcome, NULL);
	}
}

static bool
was_sent(const struct hands *h, const struct req *r)
{
	(void)h;
	return r->json == NULL;
}

static bool
has_expired(const struct hands *h, const struct req *r)
{
	return h->fc == NULL && r->json != NULL && clock_mono_ms() >= r->give_up_ms;
}

static void
on_expire(void *ctx)
{
	struct hands *h = ctx;

	h->expire = NULL;
	finish_all(h, has_expired, HANDS_DOWN);
	if (h->reqs != NULL && h->fc == NULL && h->expire == NULL)
		h->expire = loop_after(h->loop, 100, on_expire, h);
}

static void
disconnected(struct hands *h, const char *why)
{
	if (h->fc != NULL) {
		loop_unwatch(h->loop, frame_fd(h->fc));
		frame_free(&h->fc);
	}
	if (!h->told_down)
		log_warn("hands_down", "why", why, NULL);
	h->told_down = true;
	if (h->retry == NULL)
		h->retry = loop_after(h->loop, h->backoff_ms, connect_now, h);
	h->backoff_ms = h->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : h->backoff_ms * 2;
	finish_all(h, was_sent, HANDS_LOST);
	if (h->reqs != NULL && h->expire == NULL)
		h->expire = loop_after(h->loop, 100, on_expire, h);
}

static int
on_frame(void *ctx, struct frame_conn *fc, const char *json, size_t len)
{
	struct hands *h = ctx;
	struct err e = ERR_INIT;
	AUTO(json) json_t *doc = NULL;
	int64_t n;

	(void)fc;
	if (jx_parse(json, len, &doc, &e) < 0) {
		log_err("hands_frame", &e, NULL);
		return 0;
	}
	n = jx_int(doc, "n", 0);
	for (struct req **at = &h->reqs; *at != NULL; at = &(*at)->next) {
		struct req *r = *at;

		if (r->n != n || r->json != NULL)
			continue;
		unlink_req(h, at);
		finish(r, json_object_get(doc, "error") != NULL ? HANDS_REFUSED : HANDS_OK, doc);
		break;
	}
	return 0;
}

/*
 * Send what waits, as far as the connection has room: the rest goes when hands has read some. The list keeps order, so a session's
 * provision stays ahead of its calls.
 */
static void
send_waiting(struct hands *h)
{
	struct err e = ERR_INIT;

	for (struct req **at = &h->reqs; *at != NULL && h->fc != NULL;) {
		struct req *r = *at;

		if (r->json == NULL) {
			at = &r->next;
			continue;
		}
		if (r->len > frame_room(h->fc) && r->len <= FRAME_MAX)
			break;
		if (frame_send(h->fc, r->json, r->len, &e) < 0) {
			/* the reason may be this frame alone; it must not block those behind it */
			unlink_req(h, at);
			finish(r, HANDS_DOWN, NULL);
			continue;
		}
		free(r->json);
		r->json = NULL;
		if (r->done == NULL) {
			unlink_req(h, at);
			req_free(r);
		} else {
			at = &r->next;
		}
	}
	if (h->fc != NULL)
		loop_watch(h->loop, frame_fd(h->fc), frame_wants(h->fc), on_socket, h);
}

static void
on_socket(void *ctx, int fd, uint32_t events)
{
	struct hands *h = ctx;

	(void)fd;
	if (frame_on_event(h->fc, events) < 0) {
		disconnected(h, "connection lost");
		return;
	}
	send_waiting(h);
}

static void
connect_now(void *ctx)
{
	struct hands *h = ctx;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	h->retry = NULL;
	strncpy(sa.sun_path, h->path, sizeof(sa.sun_path) - 1);
	/* a unix socket connects or fails at once; a full backlog is the only wait, and shorter than a tool call */
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		disconnected(h, "cannot connect");
		return;
	}
	h->fc = frame_new(steal_fd(fd), on_frame, h);
	h->backoff_ms = BACKOFF_FIRST_MS;
	if (h->told_down)
		log_info("hands_up", NULL);
	h->told_down = false;
	send_waiting(h);
}

struct hands *
hands_new(struct loop *loop, const char *socket_path)
{
	struct hands *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->path = xstrdup(socket_path);
	h->tail = &h->reqs;
	h->backoff_ms = BACKOFF_FIRST_MS;
	h->retry = loop_after(loop, 0, connect_now, h);
	return h;
}

void
hands_free(struct hands **hp)
{
	struct hands *h = *hp;

	if (h == NULL)
		return;
	loop_cancel(h->loop, &h->retry);
	loop_cancel(h->loop, &h->expire);
	if (h->fc != NULL) {
		loop_unwatch(h->loop, frame_fd(h->fc));
		frame_free(&h->fc);
	}
	while (h->reqs != NULL) {
		struct req *r = h->reqs;

		h->reqs = r->next;
		req_free(r);
	}
	free(h->path);
	free(h);
	*hp = NULL;
}

bool
hands_up(const struct hands *h)
{
	return h->fc != NULL;
}

static void
encode(struct req *r, const struct hands_request *rq)
{
	struct buf b = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &b);
	jw_obj(&w);
	jw_kstr(&w, "op", rq->op);
	jw_kint(&w, "n", r->n);
	if (rq->session != NULL)
		jw_kstr(&w, "session", rq->session);
	if (rq->epoch >= 0)
		jw_kint(&w, "epoch", rq->epoch);
	if (rq->call != NULL)
		jw_kstr(&w, "call", rq->call);
	if (rq->tool != NULL) {
		jw_kstr(&w, "tool", rq->tool);
		jw_kraw(&w, "input", rq->input);
	}
	if (rq->files != NULL)
		jw_kraw(&w, "files", rq->files);
	jw_obj_end(&w);
	jw_end(&w);
	if (rq->more != NULL) {
		b.len--;		/* the closing brace: further members follow */
		buf_ch(&b, ',');
		buf_str(&b, rq->more + 1);
	}
	r->len = b.len;
	r->json = buf_steal(&b);
}

/* The flush happens in the loop's next round, so that a callback never runs inside a request. */
void
hands_send(struct hands *h, const struct hands_request *rq)
{
	struct req *r;

	if (rq->done == NULL && h->fc == NULL)
		return;
	r = xcalloc(1, sizeof(*r));
	r->n = ++h->last_n;
	r->done = rq->done;
	r->owner = rq->owner;
	r->give_up_ms = clock_mono_ms() + HANDS_WAIT_MS;
	if (rq->call != NULL)
		strncpy(r->call, rq->call, sizeof(r->call) - 1);
	encode(r, rq);
	*h->tail = r;
	h->tail = &r->next;
	if (h->fc != NULL)
		loop_watch(h->loop, frame_fd(h->fc), EPOLLIN | EPOLLOUT, on_socket, h);
	else if (h->expire == NULL)
		h->expire = loop_after(h->loop, 100, on_expire, h);
}

static void
ignore(void *owner, const char *call, enum hands_outcome outcome, const json_t *doc)
{
	(void)owner, (void)call, (void)outcome, (void)doc;
}

/* What was not sent is dropped; the reply of what was finds nobody. */
void
hands_forget(struct hands *h, const void *owner)
{
	for (struct req **at = &h->reqs; *at != NULL;) {
		struct req *r = *at;

		if (r->owner == owner && r->json != NULL) {
			unlink_req(h, at);
			req_free(r);
			continue;
		}
		if (r->owner == owner)
			r->done = ignore;
		at = &r->next;
	}
}
