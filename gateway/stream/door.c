/*
 * door: one stream request from FastCGI parameters to the hub.
 *
 * Order of checks (contract 1.2): route 404, method 405, key 401, beta 404, version 400, ids and query 400, session 404 (another
 * workspace's too). The subscriber is registered before last_seq is read, and the response header is written by the hub when it starts
 * the subscriber, so that nothing emitted after the 200 is lost, previews included. A number to resume at that the log has not reached
 * says nothing: the stream is live from the log's end. The connection is taken from libfcgi before anything was written (performance.md
 * F7): steal the descriptor, free libfcgi's state without closing.
 * A thread serves one request at a time and blocks only on Postgres (bounded by statement_timeout) and the hub's mailbox.
 * Fails by an error envelope; when nothing can be written, nginx answers for us.
 */
#include "door.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "db.h"
#include "head.h"
#include "hub_frame.h"
#include "id.h"
#include "failpoint.h"
#include "log.h"
#include "refusal.h"
#include "target.h"
#include "xalloc.h"

#define BODY_SCRAP_MAX (1 << 20)	/* of a body that a GET should not have */

struct doors {
	const struct conf *conf;
	struct auth *auth;
	struct hub *hub;
	int listen_fd;
	atomic_bool shut;
};

/* One request as it goes through the checks. */
struct visit {
	struct doors *d;
	struct db *db;
	FCGX_Request *r;
	char request_id[ID_MAX];
	struct target target;
	struct tenant_key key;		/* zero until it is known */
};

static const char *
param(const struct visit *v, const char *name)
{
	const char *value = FCGX_GetParam(name, v->r->envp);

	return value ? value : "";
}

static const char *
reason(int status)
{
	static const struct { int status; const char *text; } reasons[] = {
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 414, "URI Too Long" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Error";
}

static void
refuse(struct visit *v, const struct err *e)
{
	AUTO(buf) struct buf out = BUF_INIT(0);
	int status = err_http(e->kind);

	buf_printf(&out, "Status: %d %s\r\nContent-Type: application/json\r\n", status, reason(status));
	reply_headers(&out, v->request_id, &v->key);
	refusal_headers(&out, e);
	if (e->kind == EK_METHOD)
		buf_str(&out, "Allow: GET\r\n");
	buf_str(&out, "\r\n");
	if (strcmp(param(v, "REQUEST_METHOD"), "HEAD") != 0)
		refusal_body(&out, e, v->request_id);
	FCGX_PutStr(out.data, (int)out.len, v->r->out);
	if (status >= 500)
		log_err("stream_refused", e, "request_id", v->request_id, "session", v->target.session, NULL);
	else
		log_info("stream_refused", "request_id", v->request_id, "session", v->target.session, "status", LOGN(status), NULL);
}

/* Empty headers come from fastcgi_param lines of absent ones. */
static void
headers(const struct visit *v, struct auth_headers *h)
{
	auth_headers_read(h, v->r->envp);
	if (h->authorization && !*h->authorization)
		h->authorization = NULL;
	if (h->api_key && !*h->api_key)
		h->api_key = NULL;
}

static int
check(struct visit *v, struct err *e)
{
	const char *uri = param(v, "REQUEST_URI");
	size_t len = strcspn(uri, "?");
	AUTO(str) char *path = xstrndup(uri, len);
	struct auth_headers h;

	if (head_check(v->r->envp, e) < 0 || target_route(path, &v->target, e) < 0)
		return -1;
	if (strcmp(param(v, "REQUEST_METHOD"), "GET") != 0)
		return err_set(e, EK_METHOD, 0, "Method not allowed");
	headers(v, &h);
	if (auth_check(v->d->auth, v->db, &h, AUTH_WORKSPACE, AUTH_BETA_MANAGED, &v->key, e) < 0)
		return -1;
	if (target_ids(&v->target, e) < 0 || target_query(uri[len] ? uri + len + 1 : NULL, &v->target, e) < 0)
		return -1;
	if (!*param(v, "HTTP_LAST_EVENT_ID"))
		return 0;
	return target_resume("Last-Event-ID", param(v, "HTTP_LAST_EVENT_ID"), &v->target, e);
}

/* A number of before a restore is good up to where the log of then and that of now part; what followed there is no more. */
static int
fork_point(struct visit *v, int64_t *seq, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	int64_t fork;

	if (DB_RUN(v->db, STMT_STREAM_FORK, &res, e, v->target.session, DBN(v->target.timeline)) < 0)
		return err_wrap(e, "look up restore");
	fork = PQntuples(res) > 0 ? pg_int(res, 0, 0) : *seq;
	*seq = *seq < fork ? *seq : fork;
	return 0;
}

/* Where the stream begins. */
static int
resume(struct visit *v, int64_t last_seq, int64_t timeline, int64_t *out_seq, struct err *e)
{
	const struct target *t = &v->target;
	AUTO(pgres) PGresult *res = NULL;

	if (!t->resume || (!t->after_id[0] && t->after > last_seq && t->timeline >= timeline)) {
		*out_seq = last_seq;
		return 0;
	}
	if (!t->after_id[0]) {
		*out_seq = t->after;
		return t->timeline < timeline ? fork_point(v, out_seq, e) : 0;
	}
	if (DB_RUN(v->db, STMT_STREAM_EVENT_SEQ, &res, e, t->session, t->after_id) < 0)
		return err_wrap(e, "look up event");
	if (PQntuples(res) == 0)
		return err_set(e, EK_INVALID, 0, "%s: no event %s in the log of this session", t->resume, t->after_id);
	*out_seq = pg_int(res, 0, 0);
	return 0;
}

/* The session's last_seq, if it is of this workspace and the thread is its own, and where the stream begins. */
static int
baseline(struct visit *v, struct hub_start *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(v->db, STMT_STREAM_SESSION, &res, e, v->key.workspace_id, v->target.session) < 0)
		return err_wrap(e, "look up session");
	if (PQntuples(res) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Session not found.");
	if (v->target.thread[0] && strcmp(v->target.thread, pg_str(res, 0, 1)) != 0)
		return err_set(e, EK_NOT_FOUND, 0, "Thread not found: %s", v->target.thread);
	out->known = pg_int(res, 0, 0);
	hub_frame_timeline(pg_int(res, 0, 2));
	return resume(v, out->known, pg_int(res, 0, 2), &out->seen, e);
}

/*
 * The response header and a first ping, which says where the stream begins, so that a client which loses it before the first event can
 * resume. Together, because nginx sends a header only with the first bytes of a body when the record that holds the header is padded.
 */
static void
put_head(const struct visit *v, int64_t seen, struct buf *out)
{
	AUTO(buf) struct buf text = BUF_INIT(0);

	buf_str(&text, "Status: 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
	reply_headers(&text, v->request_id, &v->key);
	buf_str(&text, "\r\n");
	hub_frame_place(&text, seen);
	buf_str(&text, HUB_PING);
	hub_frame_text(out, text.data, text.len);
}

/* Take the connection from libfcgi, which has written nothing. */
static int
take_over(FCGX_Request *r)
{
	int fd = r->ipcFd;

	r->ipcFd = -1;
	FCGX_Free(r, 0);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

/* A GET's body is nobody's; unread it would spoil the connection's end (performance.md F9). */
static void
drain(FCGX_Request *r)
{
	char scrap[4096];
	int n, sum = 0;

	while (sum < BODY_SCRAP_MAX && (n = FCGX_GetStr(scrap, sizeof scrap, r->in)) > 0)
		sum += n;
}

static int
admit(struct visit *v, struct err *e)
{
	const struct hub_guest guest = { v->target.session, v->key.organization_id, v->key.key_id };
	struct hub_start with = { .request = (unsigned)v->r->requestId, .wants = v->target.deltas, .head = BUF_INIT(0) };
	struct hub_sub *sub = hub_join(v->d->hub, &guest, e);

	if (!sub)
		return -1;
	if (baseline(v, &with, e) < 0) {
		hub_leave(v->d->hub, sub);
		return -1;
	}
	with.as_message = strstr(param(v, "HTTP_USER_AGENT"), "Anthropic/JS 0.86") != NULL;
	put_head(v, with.seen, &with.head);
	with.fd = take_over(v->r);
	log_info("stream_open", "request_id", v->request_id, "workspace", v->key.workspace_id, "session", v->target.session,
	    "after", LOGN(with.seen), "last", LOGN(with.known), NULL);
	FAILPOINT(HUB_DOOR);
	hub_start(v->d->hub, sub, &with);
	return 0;
}

static void
serve(struct doors *d, struct db *db, FCGX_Request *r)
{
	struct visit v = { .d = d, .db = db, .r = r };
	struct err e = ERR_INIT;

	id_new("req_", v.request_id);
	drain(r);
	if (check(&v, &e) < 0 || admit(&v, &e) < 0)
		refuse(&v, &e);
	if (r->ipcFd >= 0) {
		r->keepConnection = 0;	/* one request per connection, whatever nginx is configured to ask: a kept one pins this thread */
		FCGX_Finish_r(r);
	}
}

static void *
door_main(void *arg)
{
	struct doors *d = arg;
	struct db *db = db_open(d->conf->pg_dsn, DB_STREAM, (int)d->conf->pg_timeout_ms);
	FCGX_Request r;

	FCGX_InitRequest(&r, d->listen_fd, 0);
	while (!d->shut) {
		if (FCGX_Accept_r(&r) == 0)
			serve(d, db, &r);
		else if (!d->shut)	/* out of descriptors, or a peer that speaks nonsense: not in a tight loop (F6) */
			nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	db_close(&db);
	return NULL;
}

struct doors *
doors_open(const struct conf *c, struct auth *auth, struct hub *hub, int listen_fd)
{
	struct doors *d = xcalloc(1, sizeof *d);
	pthread_attr_t attr;
	pthread_t t;

	d->conf = c;
	d->auth = auth;
	d->hub = hub;
	d->listen_fd = listen_fd;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int64_t i = 0; i < c->threads; i++)
		must(pthread_create(&t, &attr, door_main, d) == 0);
	pthread_attr_destroy(&attr);
	return d;
}

void
doors_shut(struct doors *d)
{
	d->shut = true;
	(void)shutdown(d->listen_fd, SHUT_RDWR);	/* wakes the accepting threads */
}
