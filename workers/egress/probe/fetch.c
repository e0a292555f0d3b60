/*
 * fetch: see fetch.h. One libcurl handle, reused so that a probe's requests share a connection. Each address is checked when its socket is
 * made, which is the address that is connected to: names are resolved once per connection, and what the resolver says is not trusted. A
 * connection that turns out to lead to this machine itself carries no request.
 *
 * The reply's header block and body are bounded; a longer body is cut there and the transfer ended. No answer says why in a word for the
 * log; who asked for the validation learns only that there was none, so that it is no scanner of our network.
 */
#include "fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard.h"
#include "xalloc.h"

#define HEAD_MAX (64u << 10)
#define CONNECT_MS 8000L
#define PORT_LOW 1024		/* of the ports below only the protocol's own: no mail, no shell */

struct fetch {
	const struct conf *conf;
	struct guard guard;
	CURL *easy;
	/* of the request under way */
	const struct fetch_ask *ask;
	struct fetch_reply *out;
	size_t head;
	bool done;
};

/* --- what libcurl asks ------------------------------------------------------------------------------------------------------- */

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct fetch *f = arg;

	if (purpose != CURLSOCKTYPE_IPCXN || !guard_allows(&f->guard, &addr->addr)) {
		f->out->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* Before anything of the request leaves. */
static int
on_connected(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct fetch *f = arg;

	(void)peer_port;
	(void)own_port;
	if (guard_allows_peer(&f->guard, peer, own))
		return CURL_PREREQFUNC_OK;
	f->out->refused = true;
	return CURL_PREREQFUNC_ABORT;
}

static void
header_value(const char *line, size_t len, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return;
	for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
		continue;
	while (len > n && strchr("\r\n \t", line[len - 1]))
		len--;
	snprintf(out, size, "%.*s", (int)(len - n), line + n);
}

static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
	struct fetch *f = arg;
	size_t len = size * count;

	f->head += len;
	if (f->head > HEAD_MAX)
		return 0;
	if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {	/* of the last reply, not of a 100 before it */
		f->out->type[0] = f->out->session[0] = '\0';
		return len;
	}
	header_value(line, len, "content-type", f->out->type, sizeof f->out->type);
	header_value(line, len, "mcp-session-id", f->out->session, sizeof f->out->session);
	return len;
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct fetch *f = arg;
	struct fetch_reply *r = f->out;
	size_t len = size * count, room = FETCH_BODY - r->body.len;

	buf_put(&r->body, bytes, len < room ? len : room);
	if (len > room) {
		r->cut = f->done = true;
		return 0;
	}
	if (f->ask->enough && fetch_is(r, "text/event-stream") && f->ask->enough(f->ask->arg, &r->body)) {
		f->done = true;
		return 0;
	}
	return len;
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

struct fetch *
fetch_open(const struct conf *c, struct err *e)
{
	struct fetch *f = xcalloc(1, sizeof *f);

	f->conf = c;
	must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	f->easy = curl_easy_init();
	must(f->easy != NULL);
	if (guard_parse(c->egress_allow, &f->guard, e) < 0)
		fetch_close(&f);
	return f;
}

void
fetch_close(struct fetch **f)
{
	if (!*f)
		return;
	curl_easy_cleanup((*f)->easy);
	free(*f);
	*f = NULL;
}

void
fetch_reply_free(struct fetch_reply *r)
{
	buf_free(&r->body);
}

bool
fetch_is(const struct fetch_reply *r, const char *essence)
{
	size_t n = strlen(essence);

	return strncasecmp(r->type, essence, n) == 0 && (r->type[n] == '\0' || strchr("; \t", r->type[n]) != NULL);
}

/* --- one request ------------------------------------------------------------------------------------------------------------- */

/* What of a URL can be refused without a look at its address. */
static bool
url_allowed(const struct fetch *f, const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *user = NULL, *port = NULL;
	bool ok = false, https;
	long n;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
		https = strcmp(scheme, "https") == 0;
		n = strtol(port, NULL, 10);
		ok = (https || (f->conf->egress_http && strcmp(scheme, "http") == 0)) && (n >= PORT_LOW || n == (https ? 443 : 80)) &&
		    curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;
	}
	curl_free(scheme);
	curl_free(user);
	curl_free(port);
	curl_url_cleanup(u);
	return ok;
}

static void
prepare(struct fetch *f, const struct fetch_ask *ask, struct curl_slist *headers)
{
	CURL *c = f->easy;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, ask->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, f->conf->egress_http ? "https,http" : "https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);	/* a name server that does not answer is not waited for beyond the deadline */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "roost/" ROOST_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(ask->ms > 1 ? ask->ms : 1));
	if (f->conf->egress_ca_file[0])
		curl_easy_setopt(c, CURLOPT_CAINFO, f->conf->egress_ca_file);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, f);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, ask->method);
	if (ask->body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(ask->body));
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, ask->body);
	}
}

void
fetch_run(struct fetch *f, const struct fetch_ask *ask, struct fetch_reply *out)
{
	struct curl_slist *headers = NULL;
	long status = 0, sent = 0;
	CURLcode rc;

	fetch_reply_free(out);
	*out = (struct fetch_reply){ .body = BUF_INIT(0) };
	if (!url_allowed(f, ask->url)) {
		out->refused = true;
		snprintf(out->why, sizeof out->why, "a URL that may not be reached");
		return;
	}
	f->ask = ask;
	f->out = out;
	f->head = 0;
	f->done = false;
	headers = curl_slist_append(NULL, "Expect:");
	for (int i = 0; i < FETCH_HEADERS && ask->headers[i]; i++)
		headers = curl_slist_append(headers, ask->headers[i]);
	prepare(f, ask, headers);
	rc = curl_easy_perform(f->easy);
	(void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &sent);
	curl_slist_free_all(headers);
	out->sent = sent > 0;
	if (rc == CURLE_OK || f->done || (status >= 300 && rc != CURLE_WRITE_ERROR))	/* an error's status counts, its body may be cut */
		out->status = (int)status;
	else
		snprintf(out->why, sizeof out->why, "%s", out->refused ? "an address that may not be reached" : curl_easy_strerror(rc));
	out->cut |= out->status != 0 && rc != CURLE_OK && !f->done;
	if (out->status == 0)
		buf_reset(&out->body);
}
