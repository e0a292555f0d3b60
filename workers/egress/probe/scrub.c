/*
 * scrub: see scrub.h. Two passes: known secrets in the forms that servers send back (plain, url-encoded, JSON-escaped, the Basic header);
 * then values beside names that say secret, for what we do not know, as a token under a name of its own. A server that encodes a secret in
 * yet another way can show it to the owner of the credential; it had it already, and nobody else sees the answer.
 */
#include "scrub.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "jw.h"
#include "xalloc.h"

#define MARK "[redacted]"
#define TINY 4			/* shorter secrets are not looked for */
#define NAME_MAX_BYTES 64
#define FORMS ((int)(sizeof ((struct scrub *)0)->forms / sizeof ((struct scrub *)0)->forms[0]))

static const char *const names[] = { "token", "secret", "password", "passwd", "assertion", "credential", "authorization", "cookie", "jwt",
    "api_key", "apikey", "private_key", "client_assertion" };

/* --- knowing ----------------------------------------------------------------------------------------------------------------- */

static void
add_form(struct scrub *s, const char *p, size_t len)
{
	for (int i = 0; i < s->n; i++)
		if (s->forms[i].len == len && memcmp(s->forms[i].data, p, len) == 0)
			return;
	must(s->n < FORMS);
	buf_put(&s->forms[s->n++], p, len);
}

void
scrub_add(struct scrub *s, const char *secret)
{
	AUTO(buf) struct buf text = BUF_INIT(0);
	size_t len = secret ? strlen(secret) : 0;

	if (len == 0)
		return;
	if (len < TINY) {
		s->tiny = true;
		return;
	}
	add_form(s, secret, len);
	for (const char *p = secret; *p; p++)
		if (isalnum((unsigned char)*p) || strchr("-._~", *p))
			buf_ch(&text, *p);
		else
			buf_printf(&text, "%%%02X", (unsigned char)*p);
	add_form(s, text.data, text.len);
	buf_reset(&text);
	jw_quote(&text, secret, len);
	add_form(s, text.data + 1, text.len - 2);
	buf_reset(&text);
	for (const char *p = secret; *p; p++)
		buf_printf(&text, *p == '/' ? "\\/" : "%c", *p);
	add_form(s, text.data, text.len);
}

void
scrub_add_basic(struct scrub *s, const char *user, const char *password)
{
	AUTO(str) char *pair = xasprintf("%s:%s", user, password);
	size_t room = sodium_base64_encoded_len(strlen(pair), sodium_base64_VARIANT_ORIGINAL);
	AUTO(str) char *text = xmalloc(room);

	sodium_bin2base64(text, room, (const unsigned char *)pair, strlen(pair), sodium_base64_VARIANT_ORIGINAL);
	add_form(s, text, strlen(text));
}

/* --- known secrets ----------------------------------------------------------------------------------------------------------- */

/* The form that stands at p, or that p's rest is the beginning of when the bytes were cut there. Its length in the text, 0: none. */
static size_t
secret_at(const struct scrub *s, const char *p, size_t left, bool cut)
{
	size_t best = 0;

	for (int i = 0; i < s->n; i++) {
		const struct buf *f = &s->forms[i];
		size_t n = f->len < left ? f->len : left;

		if ((n == f->len || cut) && n > best && memcmp(p, f->data, n) == 0)
			best = n;
	}
	return best;
}

static void
hide_known(const struct scrub *s, const char *p, size_t len, bool cut, struct buf *out)
{
	for (size_t i = 0; i < len;) {
		size_t n = secret_at(s, p + i, len - i, cut);

		if (n > 0)
			buf_str(out, MARK);
		else
			buf_ch(out, p[i]);
		i += n > 0 ? n : 1;
	}
}

/* --- names that say secret --------------------------------------------------------------------------------------------------- */

static bool
telling(const char *name, size_t len)
{
	char low[NAME_MAX_BYTES + 1];

	if (len == 0 || len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		low[i] = (char)tolower((unsigned char)name[i]);
	low[len] = '\0';
	if (strcmp(low, "token_type") == 0 || strcmp(low, "token_endpoint") == 0)
		return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strstr(low, names[i]))
			return true;
	return false;
}

static bool
name_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/* Of what stands behind a name at p: where its value begins, and its length; false: no value. `"name" : "value"`, `name=value`. */
static bool
value_behind(const char *p, size_t len, size_t *out_at, size_t *out_len)
{
	bool quoted = len > 0 && p[0] == '"';
	size_t i = quoted ? 1 : 0, end;

	while (i < len && quoted && isspace((unsigned char)p[i]))
		i++;
	if (i >= len || p[i] != (quoted ? ':' : '='))
		return false;
	for (i++; i < len && quoted && isspace((unsigned char)p[i]); i++)
		continue;
	if (quoted && (i >= len || p[i] != '"'))
		return false;
	i += quoted;
	for (end = i; end < len; end++)
		if (quoted ? p[end] == '"' : strchr("&;, \t\r\n\"'<", p[end]) != NULL)
			break;
		else if (quoted && p[end] == '\\')
			end++;
	*out_at = i;
	*out_len = (end < len ? end : len) - i;
	return *out_len > 0;
}

static void
hide_named(const char *p, size_t len, struct buf *out)
{
	size_t name = 0, at, n;

	for (size_t i = 0; i < len; i++) {
		if (name_byte(p[i])) {
			buf_ch(out, p[i]);
			continue;
		}
		for (name = i; name > 0 && name_byte(p[name - 1]); name--)
			continue;
		if (telling(p + name, i - name) && value_behind(p + i, len - i, &at, &n)) {
			buf_put(out, p + i, at);
			buf_str(out, MARK);
			i += at + n - 1;
		} else {
			buf_ch(out, p[i]);
		}
	}
}

/* --- showing ----------------------------------------------------------------------------------------------------------------- */

bool
scrub_show(const struct scrub *s, const char *bytes, size_t len, bool cut, struct buf *out)
{
	AUTO(buf) struct buf known = BUF_INIT(0);
	AUTO(buf) struct buf clean = BUF_INIT(0);
	size_t shown;

	if (s->tiny && len > 0) {
		buf_str(out, MARK);
		return true;
	}
	hide_known(s, bytes, len, cut, &known);
	hide_named(known.data ? known.data : "", known.len, &clean);
	shown = clean.len < SCRUB_SHOWN ? clean.len : SCRUB_SHOWN;
	while (shown > 0 && shown < clean.len && ((unsigned char)clean.data[shown] & 0xc0) == 0x80)
		shown--;
	buf_put(out, clean.data ? clean.data : "", shown);
	return cut || shown < clean.len;
}

void
scrub_free(struct scrub *s)
{
	for (int i = 0; i < s->n; i++) {
		sodium_memzero(s->forms[i].data, s->forms[i].cap);
		buf_free(&s->forms[i]);
	}
	s->n = 0;
}
