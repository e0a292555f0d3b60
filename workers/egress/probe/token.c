/*
 * token: see token.h. The client says who it is as it was registered: in the body, in the body with its secret, or by HTTP Basic with both
 * parts form-encoded first (RFC 6749, 2.3.1). A new token must be text that can stand in a header.
 */
#include "token.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static void
encode(struct buf *b, const char *s)
{
	for (; *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			buf_ch(b, *s);
		else
			buf_printf(b, "%%%02X", (unsigned char)*s);
}

static void
field(struct buf *b, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(b, "%s%s=", b->len ? "&" : "", name);
	encode(b, value);
}

/* "Authorization: Basic ..."; the caller frees. */
static char *
basic(const char *id, const char *secret, struct scrub *s)
{
	AUTO(buf) struct buf user = BUF_INIT(0);
	AUTO(buf) struct buf word = BUF_INIT(0);
	AUTO(str) char *pair = NULL;
	AUTO(str) char *text = NULL;
	size_t room;

	encode(&user, id);
	encode(&word, secret);
	scrub_add_basic(s, user.data ? user.data : "", word.data ? word.data : "");
	pair = xasprintf("%s:%s", user.data ? user.data : "", word.data ? word.data : "");
	room = sodium_base64_encoded_len(strlen(pair), sodium_base64_VARIANT_ORIGINAL);
	text = xmalloc(room);
	sodium_bin2base64(text, room, (const unsigned char *)pair, strlen(pair), sodium_base64_VARIANT_ORIGINAL);
	return xasprintf("Authorization: Basic %s", text);
}

/* Visible ASCII, so that it fits into a header line. */
static char *
token_at(const json_t *v, const char *name)
{
	const char *text = jx_str(v, name);
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len > TOKEN_MAX)
		return NULL;
	for (const char *p = text; *p; p++)
		if (*p < 0x21 || *p > 0x7e)
			return NULL;
	return xstrndup(text, len);
}

static int64_t
seconds_at(const json_t *v, const char *name)
{
	const json_t *n = json_object_get(v, name);	/* borrowed */
	const char *text = json_string_value(n);
	double d = json_is_number(n) ? json_number_value(n) : 0;
	int64_t s = json_is_number(n) ? (d >= 1 && d < 1e12 ? (int64_t)d : -1) : text && isdigit((unsigned char)*text) ? strtoll(text, NULL, 10) : -1;

	return s > 0 && s < ((int64_t)1 << 40) ? s : -1;
}

static enum token_outcome
read_answer(struct token_result *out, struct scrub *s)
{
	const struct fetch_reply *r = &out->reply;
	AUTO(json) json_t *v = NULL;
	struct err ignored = ERR_INIT;

	if (r->status == 0)
		return TOKEN_NO_ANSWER;
	if (r->status >= 400 && r->status < 500 && r->status != 429 && r->status != 408)
		return TOKEN_REJECTED;
	if (r->status < 200 || r->status >= 300 || r->body.len == 0 || jx_parse(r->body.data, r->body.len, &v, &ignored) < 0)
		return TOKEN_UNUSABLE;
	out->access_token = token_at(v, "access_token");
	out->refresh_token = token_at(v, "refresh_token");
	out->expires_in = seconds_at(v, "expires_in");
	scrub_add(s, out->access_token);
	scrub_add(s, out->refresh_token);
	if (out->access_token)
		return TOKEN_NEW;
	return jx_str(v, "error") ? TOKEN_REJECTED : TOKEN_UNUSABLE;
}

void
token_refresh(struct fetch *f, const struct token_ask *ask, struct scrub *s, int64_t ms, struct token_result *out)
{
	struct fetch_ask http = { .method = "POST", .url = ask->endpoint, .ms = ms,
	    .headers = { "Content-Type: application/x-www-form-urlencoded", "Accept: application/json" } };
	AUTO(buf) struct buf body = BUF_INIT(0);
	AUTO(str) char *authorization = NULL;
	bool by_header = strcmp(ask->auth, "client_secret_basic") == 0;

	*out = (struct token_result){ .expires_in = -1 };
	field(&body, "grant_type", "refresh_token");
	field(&body, "refresh_token", ask->refresh_token);
	if (!by_header)
		field(&body, "client_id", ask->client_id);
	if (strcmp(ask->auth, "client_secret_post") == 0)
		field(&body, "client_secret", ask->client_secret);
	field(&body, "scope", ask->scope);
	field(&body, "resource", ask->resource);
	if (by_header)
		authorization = basic(ask->client_id, ask->client_secret ? ask->client_secret : "", s);
	http.headers[2] = authorization;
	http.body = body.data;
	fetch_run(f, &http, &out->reply);
	out->outcome = read_answer(out, s);
	sodium_memzero(body.data, body.cap);
}

void
token_result_free(struct token_result *r)
{
	fetch_reply_free(&r->reply);
	free(r->access_token);
	free(r->refresh_token);
	*r = (struct token_result){ 0 };
}
