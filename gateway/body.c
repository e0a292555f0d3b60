/*
 * body: see body.h. libfcgi leaves an unread body in the socket, which breaks the kept connection (performance.md, F9), so a body is
 * read to its end even when it is refused; after DRAIN_MAX more bytes the connection is given up instead.
 */
#include "body.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "jx.h"

#define DRAIN_MAX (64L << 20)
#define CHUNK 65536

/*
 * Some of the next n bytes, 0 at the end. libfcgi keeps what it received in a buffer that it neither clears nor lets go soon: what has been
 * taken out is wiped there. One byte makes it fill the buffer, the rest comes from the same filling.
 */
static int
take(FCGX_Stream *in, char *to, int n)
{
	int c = FCGX_GetChar(in), more;

	if (c == EOF)
		return 0;
	to[0] = (char)c;
	more = (int)(in->stop - in->rdNext) < n - 1 ? (int)(in->stop - in->rdNext) : n - 1;
	if (more > 0)
		more = FCGX_GetStr(to + 1, more, in);
	explicit_bzero(in->rdNext - more - 1, (size_t)more + 1);
	return more + 1;
}

void
body_drain(FCGX_Request *fcgi)
{
	char chunk[16384];
	long total = 0;
	int n;

	while (total < DRAIN_MAX && (n = take(fcgi->in, chunk, sizeof chunk)) > 0)
		total += n;
	explicit_bzero(chunk, sizeof chunk);
	if (total >= DRAIN_MAX)
		fcgi->keepConnection = 0;
}

int
body_read(FCGX_Request *fcgi, size_t cap, struct buf *out, struct err *e)
{
	const char *length = FCGX_GetParam("CONTENT_LENGTH", fcgi->envp);
	long long announced = length && *length ? strtoll(length, NULL, 10) : -1;
	size_t want;
	char *to;
	int n;

	if (announced > (long long)cap)
		return err_set(e, EK_TOO_LARGE, 0, "Request exceeds the maximum allowed number of bytes (%zu).", cap);
	for (;;) {
		want = announced > 0 && (size_t)announced > out->len ? (size_t)announced - out->len : CHUNK;
		if (want > CHUNK * 16)
			want = CHUNK * 16;
		to = buf_reserve(out, want);
		n = take(fcgi->in, to, (int)want);
		if (n <= 0)
			break;
		out->len += (size_t)n;
		if (out->len > cap)
			return err_set(e, EK_TOO_LARGE, 0, "Request exceeds the maximum allowed number of bytes (%zu).", cap);
	}
	if (announced >= 0 && out->len != (size_t)announced)
		return err_set(e, EK_INVALID, 0, "Failed to parse request body: incomplete body");
	return 0;
}

/* The charset parameter of a content type, or NULL. */
static const char *
charset_of(const char *content_type, size_t *len)
{
	const char *p = content_type ? strcasestr(content_type, "charset=") : NULL;

	if (!p)
		return NULL;
	p += 8;
	if (*p == '"')
		p++;
	*len = strcspn(p, "\"; \t");
	return p;
}

static bool
is(const char *p, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(p, name, len) == 0;
}

/* Every byte of ISO-8859-1 is the code point of the same number. */
static void
latin1_to_utf8(struct buf *text)
{
	struct buf out = { .secret = text->secret };

	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->data[i];

		if (c < 0x80) {
			buf_ch(&out, (char)c);
		} else {
			buf_ch(&out, (char)(0xc0 | c >> 6));
			buf_ch(&out, (char)(0x80 | (c & 0x3f)));
		}
	}
	buf_free(text);
	*text = out;
}

/* The body of a gzip file of one member, at most cap bytes of it. */
static int
gunzip(struct buf *text, size_t cap, struct err *e)
{
	struct buf out = { .secret = text->secret };
	z_stream z = { .next_in = (unsigned char *)text->data, .avail_in = (unsigned)text->len };
	int rc = inflateInit2(&z, 16 + MAX_WBITS);

	while (rc == Z_OK && out.len <= cap) {
		z.next_out = (unsigned char *)buf_reserve(&out, CHUNK);
		z.avail_out = CHUNK;
		rc = inflate(&z, Z_NO_FLUSH);
		out.len += CHUNK - z.avail_out;
	}
	inflateEnd(&z);
	buf_free(text);
	*text = out;
	if (out.len > cap)
		return err_coded(e, EC_BODY_TOO_LARGE_DECODED, "Request exceeds the maximum allowed number of bytes (%zu) after decoding.", cap);
	if (rc != Z_STREAM_END || z.avail_in > 0)
		return err_coded(e, EC_BODY_ENCODING_INVALID, "The body is not valid gzip");
	return 0;
}

static int
decode(const char *encoding, size_t cap, struct buf *text, struct err *e)
{
	if (!encoding || !*encoding || strcasecmp(encoding, "identity") == 0)
		return 0;
	if (strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "x-gzip") == 0)
		return gunzip(text, cap, e);
	return err_coded(e, EC_BODY_ENCODING_UNSUPPORTED, "Content-Encoding \"%.40s\" is not supported; use gzip or none", encoding);
}

/* An absent type is taken for JSON. */
static int
check_type(const char *content_type, struct err *e)
{
	size_t len = content_type ? strcspn(content_type, "; \t") : 0;

	if (len == 0 || is(content_type, len, "application/json") || (len > 5 && strncasecmp(content_type + len - 5, "+json", 5) == 0))
		return 0;
	return err_set(e, EK_MEDIA_TYPE, 0, "Content-Type \"%.*s\" is not supported; use application/json", len > 80 ? 80 : (int)len, content_type);
}

static int
to_utf8(const char *content_type, struct buf *text, struct err *e)
{
	size_t len = 0;
	const char *charset = charset_of(content_type, &len);

	if (!charset || is(charset, len, "utf-8") || is(charset, len, "utf8") || is(charset, len, "us-ascii"))
		return 0;
	if (is(charset, len, "iso-8859-1")) {
		latin1_to_utf8(text);
		return 0;
	}
	return err_coded(e, EC_UNSUPPORTED_CHARSET, "Unsupported charset \"%.*s\"; use UTF-8", len > 40 ? 40 : (int)len, charset);
}

/* How many values a text can hold at most: separators outside strings. */
static size_t
values_of(const char *text, size_t len)
{
	size_t n = 1;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			i = jx_string_end(text, len, i) - 1;
		else if (text[i] == ',' || text[i] == ':' || text[i] == '[' || text[i] == '{')
			n++;
	}
	return n;
}

static bool
blank(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!strchr(" \t\r\n", b->data[i]) || !b->data[i])
			return false;
	return true;
}

/* jansson ends its words with what stood at the place: not where that may be a secret. */
static int
unquoted(struct err *e)
{
	char *near = strstr(e->pub, " near '");

	if (near)
		*near = '\0';
	return -1;
}

/* A body with secrets has no numbers whose text matters, and no further copy of it is made. */
static int
parse(const struct shape *s, const struct buf *text, json_t **out, struct err *e)
{
	if (!shape_secret(s))
		return jx_parse_exact(text->data, text->len, out, e);
	return jx_parse(text->data, text->len, out, e) < 0 ? unquoted(e) : 0;
}

int
body_parse(const struct shape *s, const char *content_type, const char *content_encoding, size_t cap, struct buf *text, json_t **out,
    struct err *e)
{
	AUTO(json) json_t *v = NULL;

	*out = NULL;
	if (s == &shape_none)
		return 0;
	if (text->len > 0 && (check_type(content_type, e) < 0 || decode(content_encoding, cap, text, e) < 0 || to_utf8(content_type, text, e) < 0))
		return -1;
	if (blank(text)) {
		if (s == &shape_empty)
			return 0;
		return err_set(e, EK_INVALID, 0, "Failed to parse request body: the body is empty");
	}
	if (values_of(text->data, text->len) > BODY_VALUES)
		return err_set(e, EK_INVALID, 0, "Failed to parse request body: more than %d values", BODY_VALUES);
	if (parse(s, text, &v, e) < 0 || shape_check(s, v, e) < 0)
		return -1;
	*out = steal(v);
	return 0;
}
