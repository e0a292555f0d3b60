/*
 * server: see server.h. One connection per worker process, any number of requests under way on each; replies carry the request's
 * number and come as things finish. A peer is believed to be a worker by its user id (SO_PEERCRED); a frame that is not a request
 * closes its connection, and calls that it started go on: their results wait for `result`.
 */
#include "server.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "call.h"
#include "failpoint.h"
#include "frame.h"
#include "jw.h"
#include "jx.h"
#include "log.h"
#include "request.h"
#include "session.h"
#include "xalloc.h"

#define CONNS_MAX 256

/* A worker that does not read what it asked for: closed when this much waits beside what the connection buffers. */
#define WAITING_MAX (64u << 20)

struct reply {
	STAILQ_ENTRY(reply) link;
	struct buf json;
};

struct conn {
	LIST_ENTRY(conn) link;
	struct hands *h;
	uint64_t id;
	struct frame_conn *fc;
	STAILQ_HEAD(, reply) waiting;	/* replies that the connection had no room for, oldest first */
	size_t nwaiting;		/* their bytes */
	uid_t uid;
	bool broken;		/* closed at the end of the round, never inside a callback of frame.c */
};

static LIST_HEAD(, conn) conns = LIST_HEAD_INITIALIZER(conns);
static struct { struct hands *h; int fd, nconns; uint64_t next; uid_t worker; char path[sizeof(struct sockaddr_un)]; } srv = { .fd = -1 };

/* --- replies --- */

static void
on_conn(void *ctx, int fd, uint32_t events);

static void
wait_for_room(struct conn *c, struct buf *b)
{
	struct reply *r = xcalloc(1, sizeof *r);

	r->json = *b;
	*b = (struct buf){ 0 };
	STAILQ_INSERT_TAIL(&c->waiting, r, link);
	c->nwaiting += r->json.len;
	if (c->nwaiting > WAITING_MAX) {
		log_warn("worker_does_not_read", "bytes", LOGN((int64_t)c->nwaiting), NULL);
		c->broken = true;
	}
}

static void
put(struct conn *c, const struct buf *b)
{
	struct err e = ERR_INIT;

	if (frame_send(c->fc, b->data, b->len, &e) < 0) {
		log_err("worker_connection", &e, NULL);
		c->broken = true;
	}
}

/* As many of the waiting replies as there is room for. */
static void
put_waiting(struct conn *c)
{
	struct reply *r;

	while (!c->broken && (r = STAILQ_FIRST(&c->waiting)) != NULL && r->json.len <= frame_room(c->fc)) {
		put(c, &r->json);
		STAILQ_REMOVE_HEAD(&c->waiting, link);
		c->nwaiting -= r->json.len;
		buf_free(&r->json);
		free(r);
	}
}

static void
send_reply(struct hands *h, uint64_t id, struct buf *b)
{
	struct conn *c;

	LIST_FOREACH(c, &conns, link)
		if (c->id == id && !c->broken) {
			FAILPOINT(HANDS_REPLY);
			if (STAILQ_EMPTY(&c->waiting) && b->len <= frame_room(c->fc))
				put(c, b);
			else
				wait_for_room(c, b);
			/* a broken one is woken by its own hangup */
			if (c->broken)
				shutdown(frame_fd(c->fc), SHUT_RDWR);
			loop_watch(h->loop, frame_fd(c->fc), frame_wants(c->fc), on_conn, c);
			break;
		}
	buf_free(b);
}

static void
begin(struct jw *w, struct buf *b, int64_t n)
{
	jw_begin(w, b);
	jw_obj(w);
	jw_kint(w, "n", n);
}

static void
end(struct jw *w)
{
	jw_obj_end(w);
	jw_end(w);
}

void
server_ok(struct hands *h, uint64_t conn, int64_t n)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_kbool(&w, "ok", true);
	end(&w);
	send_reply(h, conn, &b);
}

void
server_error(struct hands *h, uint64_t conn, int64_t n, const char *kind, const char *message)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "kind", kind);
	jw_kstr(&w, "message", message);
	jw_obj_end(&w);
	end(&w);
	send_reply(h, conn, &b);
}

void
server_unknown(struct hands *h, uint64_t conn, int64_t n)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_kstr(&w, "state", "unknown");
	end(&w);
	send_reply(h, conn, &b);
}

void
server_status(struct hands *h, uint64_t conn, int64_t n)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_kbool(&w, "ok", true);
	jw_kint(&w, "sandboxes", h->boxes);
	jw_kstr(&w, "backend", cg_backend(h->cg));
	end(&w);
	send_reply(h, conn, &b);
}

void
server_provisioned(struct hands *h, uint64_t conn, int64_t n, bool fresh)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_kbool(&w, "ok", true);
	jw_kbool(&w, "fresh", fresh);
	end(&w);
	send_reply(h, conn, &b);
}

void
server_outputs(struct hands *h, uint64_t conn, int64_t n, struct session *s)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	jw_kbool(&w, "ok", true);
	if (s->outputs.npending > 0)
		outputs_write(s, &w);
	end(&w);
	send_reply(h, conn, &b);
}

void
server_result(struct hands *h, uint64_t conn, int64_t n, bool attach, const struct call *c)
{
	struct buf b = { 0 };
	struct jw w;

	begin(&w, &b, n);
	if (attach)
		jw_kstr(&w, "state", "done");
	jw_kstr(&w, "call", c->id);
	jw_kbool(&w, "is_error", c->is_error);
	jw_key(&w, "content");
	jw_strn(&w, c->text, c->len);
	jw_kbool(&w, "spilled", c->spilled);
	end(&w);
	send_reply(h, conn, &b);
}

static int
on_frame(void *ctx, struct frame_conn *fc, const char *json, size_t len)
{
	struct conn *c = ctx;
	struct err e = ERR_INIT;
	AUTO(json) json_t *doc = NULL;

	(void)fc;
	if (jx_parse(json, len, &doc, &e) < 0 || !json_is_object(doc)) {
		log_warn("bad_frame", "why", e.pub, NULL);
		return -1;
	}
	request_run(c->h, c->id, doc);
	return c->broken ? -1 : 0;
}

/* --- connections --- */

static void
conn_close(struct conn *c)
{
	loop_unwatch(c->h->loop, frame_fd(c->fc));
	LIST_REMOVE(c, link);
	srv.nconns--;
	while (!STAILQ_EMPTY(&c->waiting)) {
		struct reply *r = STAILQ_FIRST(&c->waiting);

		STAILQ_REMOVE_HEAD(&c->waiting, link);
		buf_free(&r->json);
		free(r);
	}
	frame_free(&c->fc);
	free(c);
}

static void
on_conn(void *ctx, int fd, uint32_t events)
{
	struct conn *c = ctx;

	(void)fd;
	if (frame_on_event(c->fc, events) < 0 || (put_waiting(c), c->broken))
		conn_close(c);
	else
		loop_watch(c->h->loop, frame_fd(c->fc), frame_wants(c->fc), on_conn, c);
}

static void
on_accept(void *ctx, int fd, uint32_t events)
{
	struct hands *h = ctx;
	struct ucred who;
	socklen_t len = sizeof who;
	struct conn *c;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (peer < 0)
		return;
	if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || (who.uid != 0 && who.uid != srv.worker) ||
	    srv.nconns == CONNS_MAX) {
		log_warn("connection_refused", "uid", LOGN(who.uid), NULL);
		close(peer);
		return;
	}
	c = xcalloc(1, sizeof *c);
	c->h = h;
	c->id = ++srv.next;
	c->uid = who.uid;
	STAILQ_INIT(&c->waiting);
	c->fc = frame_new(peer, on_frame, c);
	LIST_INSERT_HEAD(&conns, c, link);
	srv.nconns++;
	loop_watch(h->loop, peer, frame_wants(c->fc), on_conn, c);
}

/* Open to root and to the group that workers are in; SO_PEERCRED decides in the end. */
static int
open_to_group(const char *path, const char *group)
{
	struct group *g = getgrnam(group[0] ? group : "roost-hands");

	if (g && lchown(path, 0, g->gr_gid) < 0)
		return -1;
	return chmod(path, 0660);
}

int
server_start(struct hands *h, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct passwd *pw = getpwnam(h->conf.worker_user);
	const char *path = h->conf.hands_socket;

	if (strlen(path) >= sizeof sa.sun_path)
		return err_fault(e, EK_UNAVAILABLE, 0, "hands_socket is too long for a socket path: %s", path);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	srv.h = h;
	srv.worker = pw ? pw->pw_uid : 0;
	srv.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(path);
	if (srv.fd < 0 || bind(srv.fd, (struct sockaddr *)&sa, sizeof sa) < 0 || open_to_group(path,
	    h->conf.listen_group) < 0 || listen(srv.fd, 64) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot listen on %s", path);
	snprintf(srv.path, sizeof srv.path, "%s", path);
	loop_watch(h->loop, srv.fd, EPOLLIN, on_accept, h);
	return 0;
}

void
server_stop(void)
{
	while (!LIST_EMPTY(&conns))
		conn_close(LIST_FIRST(&conns));
	if (srv.fd < 0)
		return;
	loop_unwatch(srv.h->loop, srv.fd);
	close(srv.fd);
	srv.fd = -1;
	(void)unlink(srv.path);
}
