/*
 * http: see http.h. How it works: libcurl asks for descriptors and one timer, the loop serves both, and every call of
 * curl_multi_socket_action() only moves bytes into the transfers' buffers. Afterwards, outside libcurl, drain() hands the bytes and
 * the ends out. That is what makes every callback free to cancel or start transfers: libcurl forbids both inside its own callbacks.
 *
 * Stalls and slow connects are watched by one timer for all transfers instead of by libcurl, whose limits cost a timer each: they all
 * stand in one tree, through which libcurl goes for every piece that comes, of whatever transfer. Easy handles are
 * reused. A crash loses what is under way, nothing else. Header lines with a key are wiped when a transfer ends; libcurl's own copy
 * of a sent request is not in our hands.
 */
#include "http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "clock.h"
#include "xalloc.h"

#define IDLE_HANDLES 64
#define LINGER_MS 2000		/* how long a released transfer may finish */
#define LONGEST_MS 3600000	/* no reply takes an hour */
#define RETRY_AFTER_MS 600000	/* a longer wish is cut to this */
#define SWEEP_MS 250
#define KEEP_CONNECTIONS 256L
#define UPLOAD_BUFFER 16384L	/* the smallest that libcurl takes */
#define READ_BUFFER 2048L	/* thousands of streams of small events */
#define SPARE_MAX 65536

struct http_xfer {
	TAILQ_ENTRY(http_xfer) all;
	TAILQ_ENTRY(http_xfer) dirty;
	struct http *h;
	CURL *easy;
	struct curl_slist *headers;
	const struct http_events *ev;	/* NULL: released */
	void *ctx;
	struct buf head, in;
	struct http_body *body;
	size_t sent, received;
	int status;			/* of who has begun to answer */
	int64_t started, last;		/* last: when a byte was seen to have moved; of a released one, when it was released */
	bool moved;			/* since `last`: the sweep keeps the time */
	bool connected;			/* the request is being sent, or has been */
	bool is_dirty, over;
	bool busy;			/* a callback of it is running */
	bool gone;			/* cancelled or released while busy */
};

struct http {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer, *sweep;
	int64_t connect_ms, stall_ms;
	size_t max_bytes;
	TAILQ_HEAD(, http_xfer) all, dirty;
	CURL *idle[IDLE_HANDLES];
	int nidle;
	struct buf spare;		/* memory for the next piece, whoever's */
};

static void drain(struct http *h);

struct http_body *
http_body_new(void)
{
	struct http_body *b = xcalloc(1, sizeof(*b));

	b->refs = 1;
	return b;
}

struct http_body *
http_body_get(struct http_body *b)
{
	b->refs++;
	return b;
}

void
http_body_put(struct http_body **b)
{
	if (*b && --(*b)->refs == 0) {
		buf_free(&(*b)->bytes);
		free(*b);
	}
	*b = NULL;
}

/* ---- libcurl's wishes, served by the loop ---- */

static void
on_fd(void *ctx, int fd, uint32_t events)
{
	struct http *h = ctx;
	int mask = 0, running;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(h->multi, fd, mask, &running);
	drain(h);
}

static int
want_fd(CURL *easy, curl_socket_t fd, int what, void *ctx, void *assigned)
{
	struct http *h = ctx;

	(void)easy;
	(void)assigned;
	if (what == CURL_POLL_REMOVE)
		loop_unwatch(h->loop, fd);
	else
		loop_watch(h->loop, fd, (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0), on_fd, h);
	return 0;
}

/* libcurl closes idle connections whenever it likes; the loop must not keep a watch on a number that someone else gets next. */
static int
close_fd(void *ctx, curl_socket_t fd)
{
	struct http *h = ctx;

	loop_unwatch(h->loop, fd);
	return close(fd);
}

static void
on_timer(void *ctx)
{
	struct http *h = ctx;
	int running;

	h->timer = NULL;
	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	drain(h);
}

static int
want_timer(CURLM *multi, long ms, void *ctx)
{
	struct http *h = ctx;

	(void)multi;
	loop_cancel(h->loop, &h->timer);
	if (ms >= 0)
		h->timer = loop_after(h->loop, ms, on_timer, h);
	return 0;
}

/* ---- bytes ---- */

static size_t
on_write(char *bytes, size_t size, size_t count, void *ctx)
{
	struct http_xfer *x = ctx;
	size_t len = size * count;

	x->moved = true;
	x->received += len;
	if (x->status == 0)
		x->status = http_status(x);
	if (x->body && x->sent >= x->head.len + x->body->bytes.len)
		http_body_put(&x->body);	/* answered: it is not sent again, and may be a long conversation */
	if (x->received > x->h->max_bytes) {
		x->over = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (!x->ev || x->gone)
		return len;
	if (!x->in.data) {
		x->in = x->h->spare;
		x->h->spare = (struct buf){ 0 };
	}
	buf_put(&x->in, bytes, len);
	if (!x->is_dirty) {
		TAILQ_INSERT_TAIL(&x->h->dirty, x, dirty);
		x->is_dirty = true;
	}
	return len;
}

static size_t
on_read(char *to, size_t size, size_t count, void *ctx)
{
	struct http_xfer *x = ctx;
	size_t room = size * count, n = 0;
	const struct buf *body = x->body ? &x->body->bytes : NULL;

	x->moved = true;
	if (!body)
		return 0;
	if (x->sent < x->head.len) {
		n = x->head.len - x->sent < room ? x->head.len - x->sent : room;
		memcpy(to, x->head.data + x->sent, n);
	} else if (x->sent - x->head.len < body->len) {
		size_t at = x->sent - x->head.len;

		n = body->len - at < room ? body->len - at : room;
		memcpy(to, body->data + at, n);
	}
	x->sent += n;
	return n;
}

/* The connection stands, a new one or a kept one. */
static int
on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct http_xfer *x = ctx;

	(void)ip, (void)local_ip, (void)port, (void)local_port;
	x->connected = true;
	return CURL_PREREQFUNC_OK;
}

/* A kept connection turned out to be dead: libcurl sends again from the start. */
static int
on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct http_xfer *x = ctx;

	if (origin != SEEK_SET || offset < 0 || !x->body)
		return CURL_SEEKFUNC_FAIL;
	x->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- life ---- */

static void
wipe_headers(struct http_xfer *x)
{
	for (struct curl_slist *s = x->headers; s; s = s->next)
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(x->headers);
	x->headers = NULL;
}

/* Both are refused while the handle has such a buffer. */
static bool
sized(CURL *easy)
{
	return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, READ_BUFFER) == CURLE_OK &&
	    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER) == CURLE_OK;
}

/*
 * A handle may be used again when libcurl lets its buffers be sized. That of a transfer which was cut keeps them, small as they were;
 * curl_easy_reset() sets the sizes back to the defaults all the same, and the next transfer would go past their ends.
 */
static void
easy_put(struct http *h, CURL *easy)
{
	curl_easy_reset(easy);
	if (h->nidle < IDLE_HANDLES && sized(easy))
		h->idle[h->nidle++] = easy;
	else
		curl_easy_cleanup(easy);
}

static void
xfer_free(struct http_xfer *x)
{
	struct http *h = x->h;

	if (x->is_dirty)
		TAILQ_REMOVE(&h->dirty, x, dirty);
	TAILQ_REMOVE(&h->all, x, all);
	curl_multi_remove_handle(h->multi, x->easy);
	easy_put(h, x->easy);
	wipe_headers(x);
	buf_free(&x->head);
	buf_free(&x->in);
	http_body_put(&x->body);
	free(x);
}

static void
finish(struct http_xfer *x, enum http_how how, const char *detail)
{
	struct http_end end = { .how = how, .status = http_status(x), .detail = detail };
	struct curl_header *header;
	curl_off_t seconds = 0;
	int64_t wish;

	if (!x->ev || x->gone) {
		xfer_free(x);
		return;
	}
	curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &seconds);
	wish = seconds > 0 ? seconds * 1000 : 0;
	if (curl_easy_header(x->easy, "retry-after-ms", 0, CURLH_HEADER, -1, &header) == CURLHE_OK) {
		char *rest;
		long ms = strtol(header->value, &rest, 10);

		if (rest != header->value && ms > 0)
			wish = ms;
	}
	end.retry_after_ms = wish < RETRY_AFTER_MS ? wish : RETRY_AFTER_MS;
	x->busy = true;
	x->ev->end(x->ctx, &end);
	xfer_free(x);
}

/* Hand out what the last round of libcurl brought: first all bytes, then the ends. */
static void
drain(struct http *h)
{
	struct http_xfer *x;
	CURLMsg *msg;
	int left;

	while ((x = TAILQ_FIRST(&h->dirty))) {
		struct buf in = x->in;

		TAILQ_REMOVE(&h->dirty, x, dirty);
		x->is_dirty = false;
		x->in = (struct buf){ 0 };
		x->busy = true;
		if (x->ev)
			x->ev->data(x->ctx, in.data, in.len);
		x->busy = false;
		buf_free(&h->spare);
		if (in.cap <= SPARE_MAX)
			h->spare = in;
		else
			buf_free(&in);
		buf_reset(&h->spare);
		if (x->gone)
			xfer_free(x);
	}
	while ((msg = curl_multi_info_read(h->multi, &left))) {
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&x);
		finish(x, x->over ? HTTP_TOO_LARGE : code == CURLE_OK ? HTTP_COMPLETE : HTTP_BROKEN,
		    code == CURLE_OK ? "" : curl_easy_strerror(code));
	}
}

static bool
unconnected(const struct http_xfer *x, int64_t now)
{
	return !x->connected && now - x->started > x->h->connect_ms;
}

static bool
expired(const struct http_xfer *x, int64_t now)
{
	if (!x->ev)
		return now - x->last > LINGER_MS;
	return unconnected(x, now) || now - x->last > x->h->stall_ms || now - x->started > LONGEST_MS;
}

static struct http_xfer *
first_expired(struct http *h, int64_t now)
{
	struct http_xfer *x;

	TAILQ_FOREACH(x, &h->all, all) {
		if (x->moved && x->ev)	/* NOLINT(clang-analyzer-unix.Malloc): what is freed has left the list */
			x->last = now;
		x->moved = false;
		if (expired(x, now))
			return x;
	}
	return NULL;
}

/* One look at all transfers; ends may change the list, so it is read from the start after each. */
static void
on_sweep(void *ctx)
{
	struct http *h = ctx;
	struct http_xfer *x;
	int64_t now = clock_mono_ms();

	h->sweep = NULL;
	while ((x = first_expired(h, now)))
		finish(x, unconnected(x, now) ? HTTP_BROKEN : HTTP_STALLED,
		    unconnected(x, now) ? curl_easy_strerror(CURLE_OPERATION_TIMEDOUT) : "");
	if (!TAILQ_EMPTY(&h->all) && !h->sweep)
		h->sweep = loop_after(h->loop, SWEEP_MS, on_sweep, h);
}

static void
set_options(struct http_xfer *x, const char *url)
{
	CURL *e = x->easy;

	curl_easy_setopt(e, CURLOPT_URL, url);
	curl_easy_setopt(e, CURLOPT_PRIVATE, x);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);	/* cancelling must not wait for a resolver thread */
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers);
	curl_easy_setopt(e, CURLOPT_POST, 1L);
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(x->head.len + (x->body ? x->body->bytes.len : 0)));
	if (!x->body)
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, x->head.data);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(e, CURLOPT_READDATA, x);
	curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(e, CURLOPT_SEEKDATA, x);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_fd);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, x->h);
	must(sized(e));
}

/* libcurl holds its upload buffer until the end of the reply: a request that is smaller goes in one piece without it. */
static void
join_small(struct http_xfer *x)
{
	if (x->head.len + x->body->bytes.len > UPLOAD_BUFFER)
		return;
	buf_put(&x->head, x->body->bytes.data, x->body->bytes.len);
	http_body_put(&x->body);
}

struct http_xfer *
http_start(struct http *h, const struct http_post *p, const struct http_events *ev, void *ctx)
{
	struct http_xfer *x = xcalloc(1, sizeof(*x));

	x->h = h;
	x->ev = ev;
	x->ctx = ctx;
	x->head = *p->head;
	*p->head = (struct buf){ 0 };
	x->body = http_body_get(p->body);
	join_small(x);
	x->started = x->last = clock_mono_ms();
	x->easy = h->nidle ? h->idle[--h->nidle] : curl_easy_init();
	must(x->easy);
	x->headers = curl_slist_append(NULL, "Expect:");
	x->headers = curl_slist_append(x->headers, "Content-Type: application/json");
	x->headers = curl_slist_append(x->headers, "Accept: text/event-stream, application/json");
	x->headers = curl_slist_append(x->headers, "User-Agent: roost/1");
	for (int i = 0; i < HTTP_HEADERS_MAX && p->headers[i]; i++)
		x->headers = curl_slist_append(x->headers, p->headers[i]);
	set_options(x, p->url);
	TAILQ_INSERT_TAIL(&h->all, x, all);
	must(curl_multi_add_handle(h->multi, x->easy) == CURLM_OK);
	if (!h->sweep)
		h->sweep = loop_after(h->loop, SWEEP_MS, on_sweep, h);
	return x;
}

int
http_status(const struct http_xfer *x)
{
	long status = x->status;

	if (status == 0)
		curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

void
http_request_id(const struct http_xfer *x, char *out, size_t size)
{
	static const char *const names[] = { "request-id", "x-request-id", "x-generation-id" };
	struct curl_header *header;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (curl_easy_header(x->easy, names[i], 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
			continue;
		for (const char *p = header->value; *p && n + 1 < size; p++) {
			if (*p > 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
				out[n++] = *p;
		}
		break;
	}
	out[n] = '\0';
}

void
http_cancel(struct http_xfer **x)
{
	struct http_xfer *old = *x;

	*x = NULL;
	if (!old)
		return;
	if (old->busy)
		old->gone = true;
	else
		xfer_free(old);
}

void
http_release(struct http_xfer **x)
{
	struct http_xfer *old = *x;

	*x = NULL;
	if (!old)
		return;
	old->ev = NULL;
	old->last = clock_mono_ms();
}

struct http *
http_new(struct loop *loop, int64_t connect_ms, int64_t stall_ms, size_t max_bytes)
{
	static bool global;
	struct http *h = xcalloc(1, sizeof(*h));

	if (!global)
		must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	global = true;
	h->loop = loop;
	h->connect_ms = connect_ms;
	h->stall_ms = stall_ms;
	h->max_bytes = max_bytes;
	TAILQ_INIT(&h->all);
	TAILQ_INIT(&h->dirty);
	h->multi = curl_multi_init();
	must(h->multi);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, want_fd);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, KEEP_CONNECTIONS);
	return h;
}

void
http_free(struct http **hp)
{
	struct http *h = *hp;

	*hp = NULL;
	if (!h)
		return;
	while (!TAILQ_EMPTY(&h->all))
		xfer_free(TAILQ_FIRST(&h->all));	/* NOLINT(clang-analyzer-unix.Malloc): what is freed has left the list */
	for (int i = 0; i < h->nidle; i++)
		curl_easy_cleanup(h->idle[i]);
	curl_multi_cleanup(h->multi);
	loop_cancel(h->loop, &h->timer);
	loop_cancel(h->loop, &h->sweep);
	buf_free(&h->spare);
	free(h);
}
