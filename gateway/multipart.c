/*
 * multipart: see multipart.h. The buffer begins with an invented CR LF, so that the first delimiter looks like all others. Data is handed
 * out up to where a delimiter could begin; the rest waits for more bytes. A delimiter that goes on with anything but "--" or a line's end
 * is refused: an honest writer picks a boundary that its data does not have.
 *
 * Names are read as browsers write them (WHATWG: quote, CR and LF as %22, %0D and %0A, a backslash as itself) and as RFC 2183 and 5987 do
 * (backslash before a quote; filename*=UTF-8''percent-encoded, which wins).
 */
#include "multipart.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mime.h"
#include "percent.h"

#define LINES 16

static int
malformed(struct err *e, const char *why)
{
	return err_set(e, EK_INVALID, 0, "Failed to parse request body: multipart: %s", why);
}

/* --- parameters of a header value: ; name=value ; name="value" -------------------------------------------------------------- */

/* The three characters that browsers escape. */
static bool
escaped(const char *p, char *out)
{
	if (strncasecmp(p, "%22", 3) == 0)
		*out = '"';
	else if (strncasecmp(p, "%0d", 3) == 0)
		*out = '\r';
	else if (strncasecmp(p, "%0a", 3) == 0)
		*out = '\n';
	else
		return false;
	return true;
}

/* A quoted string behind its opening quote; returns behind its closing one, NULL when it has none or is too long. */
static const char *
quoted(const char *p, char *out, size_t max)
{
	size_t n = 0;

	for (; *p && *p != '"'; p++) {
		char c = *p;

		if (c == '\\' && p[1] == '"')
			c = *++p;
		else if (c == '%' && escaped(p, &c))
			p += 2;
		if (n + 1 >= max)
			return NULL;
		out[n++] = c;
	}
	out[n] = '\0';
	return *p == '"' ? p + 1 : NULL;
}

/* The next parameter; *pp behind it. 1, 0 when there is none, -1 when it is malformed or too long. */
static int
param(const char **pp, char name[32], char *value, size_t max)
{
	const char *p = *pp + strspn(*pp, " \t;");
	size_t n = strcspn(p, "=; \t"), len;

	if (!*p)
		return 0;
	if (n == 0 || n >= 32 || p[n] != '=')
		return -1;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)tolower((unsigned char)p[i]);
	name[n] = '\0';
	p += n + 1;
	if (*p == '"') {
		p = quoted(p + 1, value, max);
		if (!p)
			return -1;
	} else {
		len = strcspn(p, "; \t");
		if (len >= max)
			return -1;
		memcpy(value, p, len);
		value[len] = '\0';
		p += len;
	}
	p += strspn(p, " \t");
	if (*p && *p != ';')
		return -1;
	*pp = p;
	return 1;
}

/* charset'language'percent-encoded (RFC 8187) to UTF-8, in place. */
static bool
extended(char *value)
{
	char *first = strchr(value, '\''), *second = first ? strchr(first + 1, '\'') : NULL, *to = value;
	bool latin1;

	if (!second)
		return false;
	*first = '\0';
	latin1 = strcasecmp(value, "iso-8859-1") == 0;
	if (!latin1 && strcasecmp(value, "utf-8") != 0)
		return false;
	for (const char *p = second + 1; *p; p++) {
		int c = (unsigned char)*p;

		if (c >= 0x80)
			return false;
		if (c == '%') {
			c = percent_byte(p, strnlen(p, 3));
			if (c < 0)
				return false;
			p += 2;
		}
		if (latin1 && c >= 0x80) {	/* two bytes for what took three */
			*to++ = (char)(0xc0 | c >> 6);
			c = 0x80 | (c & 0x3f);
		}
		*to++ = (char)c;
	}
	*to = '\0';
	return true;
}

/* --- the source ------------------------------------------------------------------------------------------------------------- */

/* More bytes behind those in the buffer, which is moved to make room. 1, 0 at the end, -1. */
static int
fill(struct multipart *m, struct err *e)
{
	ssize_t n;

	if (m->ended)
		return 0;
	if (m->at > 0) {
		memmove(m->buf, m->buf + m->at, m->len - m->at);
		m->len -= m->at;
		m->at = 0;
	}
	n = m->read(m->arg, m->buf + m->len, sizeof m->buf - m->len, e);
	if (n < 0)
		return -1;
	m->ended = n == 0;
	m->len += (size_t)n;
	return n > 0;
}

/* Have n bytes in the buffer. */
static int
need(struct multipart *m, size_t n, struct err *e)
{
	while (m->len - m->at < n) {
		int rc = fill(m, e);

		if (rc <= 0)
			return rc < 0 ? -1 : malformed(e, "the body ends before its closing boundary");
	}
	return 0;
}

static int
boundary_of(const char *content_type, char out[MULTIPART_BOUNDARY + 1], struct err *e)
{
	const char *p = content_type + strcspn(content_type, ";");
	char name[32], value[1024];
	bool found = false;
	int rc;

	while ((rc = param(&p, name, value, sizeof value)) > 0) {
		if (strcmp(name, "boundary") != 0)
			continue;
		if (found || strlen(value) < 1 || strlen(value) > MULTIPART_BOUNDARY)
			return malformed(e, "boundary: must be given once, with 1 to 70 characters");
		memcpy(out, value, strlen(value) + 1);
		found = true;
	}
	if (rc < 0 || !found)
		return malformed(e, "the content-type has no boundary");
	for (p = out; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("'()+_,-./:=? ", *p))
			return malformed(e, "boundary: has a character that is not allowed");
	return p[-1] == ' ' ? malformed(e, "boundary: ends in a space") : 0;
}

int
multipart_begin(struct multipart *m, const char *content_type, multipart_read *read, void *arg, struct err *e)
{
	char type[MIME_MAX], boundary[MULTIPART_BOUNDARY + 1];

	if (!content_type || !mime_essence(content_type, type) || strcmp(type, "multipart/form-data") != 0)
		return err_set(e, EK_MEDIA_TYPE, 0, "content-type: expected multipart/form-data");
	if (boundary_of(content_type, boundary, e) < 0)
		return -1;
	m->read = read;
	m->arg = arg;
	m->delim_len = (size_t)snprintf(m->delim, sizeof m->delim, "\r\n--%s", boundary);
	memcpy(m->buf, "\r\n", 2);
	m->at = 0;
	m->len = 2;
	m->ended = false;
	m->in_part = true;	/* what stands before the first delimiter is skipped like a part */
	m->parts = 0;
	return 0;
}

ssize_t
multipart_data(struct multipart *m, const char **out, struct err *e)
{
	while (m->in_part) {
		const char *from = m->buf + m->at, *hit = memmem(from, m->len - m->at, m->delim, m->delim_len);
		size_t n = m->len - m->at;

		if (hit == from) {
			m->at += m->delim_len;
			m->in_part = false;
			break;
		}
		n = hit ? (size_t)(hit - from) : n >= m->delim_len ? n - m->delim_len + 1 : 0;
		if (n > 0) {
			*out = from;
			m->at += n;
			return (ssize_t)n;
		}
		if (need(m, m->len - m->at + 1, e) < 0)
			return -1;
	}
	return 0;
}

/* --- headers ---------------------------------------------------------------------------------------------------------------- */

static int
disposition(struct multipart_part *out, const char *value, struct err *e)
{
	const char *p = value + strcspn(value, "; \t");
	char name[32], text[MULTIPART_NAME];
	bool extended_name = false;
	int rc;

	if (strncasecmp(value, "form-data", 9) != 0 || p != value + 9)
		return malformed(e, "content-disposition: expected form-data");
	while ((rc = param(&p, name, text, sizeof text)) > 0) {
		if (strcmp(name, "name") == 0) {
			if (out->name[0] || strlen(text) >= sizeof out->name)
				return malformed(e, "content-disposition: name: given twice or too long");
			memcpy(out->name, text, strlen(text) + 1);
		} else if (strcmp(name, "filename*") == 0) {
			if (extended_name || !extended(text))
				return malformed(e, "content-disposition: filename*: given twice or not well-formed");
			extended_name = out->named = true;
			memcpy(out->filename, text, strlen(text) + 1);
		} else if (strcmp(name, "filename") == 0 && !extended_name) {
			if (out->named)
				return malformed(e, "content-disposition: filename: given twice");
			out->named = true;
			memcpy(out->filename, text, strlen(text) + 1);
		}
	}
	return rc < 0 ? malformed(e, "content-disposition: not well-formed, or longer than 4096 bytes") : 0;
}

/* One header line, NUL-terminated. */
static int
header(struct multipart_part *out, char *line, bool *disposed, struct err *e)
{
	char *colon = strchr(line, ':'), *value = colon ? colon + 1 : NULL;

	for (const unsigned char *p = (const unsigned char *)line; *p; p++)
		if ((*p < ' ' && *p != '\t') || *p == 0x7f)
			return malformed(e, "a part's header has a control character");
	if (!colon || colon == line || isspace((unsigned char)line[0]))
		return malformed(e, "a part's header is not `name: value`");
	*colon = '\0';
	value += strspn(value, " \t");
	if (strcasecmp(line, "content-disposition") == 0) {
		if (*disposed)
			return malformed(e, "a part has two content-dispositions");
		*disposed = true;
		return disposition(out, value, e);
	}
	if (strcasecmp(line, "content-type") == 0)
		snprintf(out->type, sizeof out->type, "%s", value);
	else if (strcasecmp(line, "content-transfer-encoding") == 0 && strcasecmp(value, "binary") != 0 && strcasecmp(value, "8bit") != 0 &&
	    strcasecmp(value, "7bit") != 0)
		return malformed(e, "content-transfer-encoding: only binary, 8bit and 7bit are supported");
	return 0;
}

/* Length of the headers at `at`, the empty line behind them included. */
static int
head_len(struct multipart *m, size_t *out, struct err *e)
{
	for (size_t want = 2;;) {
		const char *from, *end;

		if (need(m, want, e) < 0)
			return -1;
		from = m->buf + m->at;
		if (memcmp(from, "\r\n", 2) == 0) {
			*out = 2;
			return 0;
		}
		end = memmem(from, m->len - m->at, "\r\n\r\n", 4);
		if (end && end - from + 4 <= MULTIPART_HEAD) {
			*out = (size_t)(end - from) + 4;
			return 0;
		}
		if (end || m->len - m->at >= MULTIPART_HEAD)
			return malformed(e, "a part's headers are larger than 8192 bytes");
		want = m->len - m->at + 1;
	}
}

static int
head(struct multipart *m, struct multipart_part *out, struct err *e)
{
	bool disposed = false;
	size_t len = 0;
	char *p, *end;
	int lines = 0;

	memset(out, 0, sizeof *out);
	if (head_len(m, &len, e) < 0)
		return -1;
	p = m->buf + m->at;
	m->at += len;
	if (memchr(p, '\0', len))
		return malformed(e, "a part's header has a control character");
	for (; len > 2 && *p != '\r'; p = end + 2) {
		end = memmem(p, (size_t)(m->buf + m->at - p), "\r\n", 2);
		*end = '\0';
		if (++lines > LINES)
			return malformed(e, "a part has more than 16 headers");
		if (header(out, p, &disposed, e) < 0)
			return -1;
	}
	return disposed && out->name[0] ? 0 : malformed(e, "a part has no content-disposition with a name");
}

/* What stands behind the last delimiter means nothing, but it is the request's: read it away. */
static int
epilogue(struct multipart *m, struct err *e)
{
	int rc;

	do
		m->at = m->len;
	while ((rc = fill(m, e)) > 0);
	return rc;
}

int
multipart_next(struct multipart *m, struct multipart_part *out, struct err *e)
{
	const char *skipped;
	ssize_t n;

	while ((n = multipart_data(m, &skipped, e)) > 0)
		continue;
	if (n < 0 || need(m, 2, e) < 0)
		return -1;
	if (memcmp(m->buf + m->at, "--", 2) == 0)
		return epilogue(m, e);
	for (n = 0; m->buf[m->at] == ' ' || m->buf[m->at] == '\t'; n++) {
		m->at++;
		if (n > 64 || need(m, 2, e) < 0)
			return n > 64 ? malformed(e, "a boundary is followed by something else") : -1;
	}
	if (memcmp(m->buf + m->at, "\r\n", 2) != 0)
		return malformed(e, "a boundary is followed by something else");
	m->at += 2;
	if (++m->parts > MULTIPART_PARTS)
		return malformed(e, "more than 100 parts");
	if (head(m, out, e) < 0)
		return -1;
	/* An empty part's delimiter takes the CR LF that ended the headers. */
	m->at -= 2;
	m->in_part = true;
	if (need(m, m->delim_len, e) < 0)
		return -1;
	if (memcmp(m->buf + m->at, m->delim, m->delim_len) != 0)
		m->at += 2;
	return 1;
}
