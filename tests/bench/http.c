/*
 * http: see http.h. OpenSSL on non-blocking sockets; writes are small and wait, reads never do unless said so. Knows Content-Length and
 * chunked bodies.
 */
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "xalloc.h"

#define WAIT_MS 20000

struct http {
	SSL *ssl;
	int fd;
	struct buf raw;
	size_t used;			/* of raw, by the reply handed out last */
	struct buf body;		/* of a chunked reply */
	bool streaming;
	size_t chunk_left;		/* of the stream's present chunk, its CRLF included */
};

static SSL_CTX *ctx;
static const char *api_key;
static int base_port;
static char why[400];			/* the last connection that was found closed */

void
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static const char *
setting(const char *name)
{
	const char *v = getenv(name);

	if (!v || !*v)
		die("%s is not set: source dev.env", name);
	return v;
}

void
http_init(void)
{
	const char *url = setting("ROOST_BASE_URL"), *colon = strrchr(url, ':');

	api_key = setting("ROOST_API_KEY");
	if (strncmp(url, "https://localhost:", 18) != 0)
		die("ROOST_BASE_URL is not on this machine: %s", url);
	base_port = atoi(colon + 1);
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx || SSL_CTX_load_verify_locations(ctx, setting("ROOST_CA_FILE"), NULL) != 1)
		die("cannot load ROOST_CA_FILE");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
}

static void
wait_for(const struct http *h, short events)
{
	struct pollfd p = { .fd = h->fd, .events = events };

	int n = poll(&p, 1, WAIT_MS);

	if (n <= 0)
		die("descriptor %d: no answer within %d ms%s%s", h->fd, WAIT_MS, n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
}

struct http *
http_open(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(port ? port : base_port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct http *h = xcalloc(1, sizeof *h);
	int one = 1;

	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->fd < 0 || connect(h->fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		die("connect to port %d: %s", ntohs(sa.sin_port), strerror(errno));
	setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	h->ssl = SSL_new(ctx);
	SSL_set_fd(h->ssl, h->fd);
	SSL_set_tlsext_host_name(h->ssl, "localhost");
	if (SSL_connect(h->ssl) != 1)
		die("TLS: %s", ERR_error_string(ERR_get_error(), NULL));
	fcntl(h->fd, F_SETFL, O_NONBLOCK);
	return h;
}

void
http_close(struct http *h)
{
	SSL_free(h->ssl);
	close(h->fd);
	buf_free(&h->raw);
	buf_free(&h->body);
	free(h);
}

int
http_fd(const struct http *h)
{
	return h->fd;
}

void
http_send(struct http *h, const char *method, const char *path, const char *body, const char *key)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	int n;

	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nanthropic-version: 2026-10-21\r\n"
	    "anthropic-beta: managed-agents-2026-04-01\r\nAccept: application/json\r\n", method, path, key ? key : api_key);
	if (body)
		buf_printf(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
	buf_str(&b, "\r\n");
	if (body)
		buf_str(&b, body);
	while ((n = SSL_write(h->ssl, b.data, (int)b.len)) <= 0) {
		if (SSL_get_error(h->ssl, n) != SSL_ERROR_WANT_WRITE)
			die("the connection was closed while sending");
		wait_for(h, POLLOUT);
	}
}

/* Read what is there. False: closed; `why` says how. */
static bool
fill(struct http *h)
{
	char part[16384];
	int n;

	ERR_clear_error();
	errno = 0;
	while ((n = SSL_read(h->ssl, part, sizeof part)) > 0)
		buf_put(&h->raw, part, (size_t)n);
	n = SSL_get_error(h->ssl, n);
	if (n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE)
		return true;
	snprintf(why, sizeof why, "%s, %s", n == SSL_ERROR_ZERO_RETURN ? "by TLS" : n == SSL_ERROR_SYSCALL ? strerror(errno) : "in TLS",
	    ERR_error_string(ERR_peek_error(), NULL));
	return false;
}

static const char *
header(const char *head, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = head; p && p < head + len; p = (p = strstr(p, "\r\n")) ? p + 2 : NULL)
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, " ");
	return NULL;
}

/* Collect a chunked body from `at`. Returns the end of it in raw, or 0 when it is not whole. */
static size_t
unchunk(struct http *h, size_t at)
{
	buf_reset(&h->body);
	for (;;) {
		const char *line = h->raw.data + at, *end = at < h->raw.len ? strstr(line, "\r\n") : NULL;
		size_t len;

		if (!end)
			return 0;
		len = strtoul(line, NULL, 16);
		at = (size_t)(end - h->raw.data) + 2;
		if (at + len + 2 > h->raw.len)
			return 0;
		buf_put(&h->body, h->raw.data + at, len);
		at += len + 2;
		if (len == 0)
			return at;
	}
}

int
http_take(struct http *h, const char **out_body)
{
	const char *end, *value;
	size_t head, size;

	if (h->used) {
		buf_shift(&h->raw, h->used);
		h->used = 0;
	}
	if (!fill(h))
		die("the connection was closed (%s): %.300s", why, h->raw.data ? h->raw.data : "");
	if (!h->raw.len || !(end = strstr(h->raw.data, "\r\n\r\n")))
		return 0;
	head = (size_t)(end - h->raw.data) + 4;
	value = header(h->raw.data, head, "content-length");
	if (value) {
		size = strtoul(value, NULL, 10);
		if (h->raw.len < head + size)
			return 0;
		*out_body = h->raw.data + head;
		h->used = head + size;
	} else {
		h->used = unchunk(h, head);
		if (!h->used)
			return 0;
		*out_body = h->body.data ? h->body.data : "";
	}
	return atoi(h->raw.data + 9);
}

char *
http_call(struct http *h, const char *method, const char *path, const char *body)
{
	const char *reply;
	int status;

	http_send(h, method, path, body, NULL);
	while (!(status = http_take(h, &reply)))
		wait_for(h, POLLIN);
	if (status != 200)
		die("%s %s: %d %.300s", method, path, status, reply);
	return xstrdup(reply);
}

struct http *
http_stream(const char *path)
{
	return http_stream_at(0, path);
}

struct http *
http_stream_at(int port, const char *path)
{
	struct http *h = http_open(port);
	const char *end;

	http_send(h, "GET", path, NULL, NULL);
	while (!h->raw.len || !(end = strstr(h->raw.data, "\r\n\r\n"))) {
		wait_for(h, POLLIN);
		if (!fill(h))
			die("stream %s: closed before its answer (%s): %.300s", path, why, h->raw.data ? h->raw.data : "");
	}
	if (atoi(h->raw.data + 9) != 200)
		die("stream %s: %.300s", path, h->raw.data);
	buf_shift(&h->raw, (size_t)(end - h->raw.data) + 4);
	h->streaming = true;
	return h;
}

void
http_hear(struct http *h, struct buf *text)
{
	const char *end;

	if (!fill(h))
		die("a stream ended (%s); its last words: %.300s", why, text->data ? text->data : "");
	while (h->raw.len > 0) {
		size_t n = h->raw.len < h->chunk_left ? h->raw.len : h->chunk_left;

		if (h->chunk_left == 0) {
			if (!(end = strstr(h->raw.data, "\r\n")))
				return;
			h->chunk_left = strtoul(h->raw.data, NULL, 16) + 2;
			buf_shift(&h->raw, (size_t)(end - h->raw.data) + 2);
			continue;
		}
		/* the last two bytes of a chunk are its line end, not text */
		if (h->chunk_left > 2)
			buf_put(text, h->raw.data, n < h->chunk_left - 2 ? n : h->chunk_left - 2);
		buf_shift(&h->raw, n);
		h->chunk_left -= n;
	}
}
