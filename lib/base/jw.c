/*
 * jw: see jw.h. Writes straight into the buffer; the only state is the nesting, which turns a forgotten key or close into an abort in
 * the first test that runs the encoder instead of a malformed reply.
 */
#include "jw.h"

#include <string.h>

#include "jx.h"
#include "xalloc.h"

/* Bytes of the UTF-8 sequence at s, or 0 when it is not a legal one (overlong, surrogate, over U+10FFFF, cut). */
static size_t
utf8_len(const unsigned char *s, size_t left)
{
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void
jw_quote(struct buf *out, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	static const bool plain[256] = { [' ' ... '!'] = true, ['#' ... '['] = true, [']' ... 0x7f] = true };
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0, from = 0;

	buf_ch(out, '"');
	while (i < len) {
		if (plain[p[i]]) {
			i++;
			continue;
		}

		char esc[7] = { '\\', 0, 0, 0, 0, 0, 0 };
		const char *put = esc;
		size_t n = 1, putlen = 2;

		if (p[i] == '"' || p[i] == '\\')
			esc[1] = (char)p[i];
		else if (p[i] < 0x20) {
			static const char shorts[] = "\bb\ff\nn\rr\tt";	/* pairs: byte, letter */
			const char *at = p[i] ? strchr(shorts, p[i]) : NULL;

			if (at)
				esc[1] = at[1];
			else {
				memcpy(esc + 1, "u00", 3);
				esc[4] = hex[p[i] >> 4];
				esc[5] = hex[p[i] & 15];
				putlen = 6;
			}
		} else if ((n = utf8_len(p + i, len - i)) == 0) {
			n = 1;
			put = "\xef\xbf\xbd";
			putlen = 3;
		} else {
			i += n;
			continue;
		}
		buf_put(out, s + from, i - from);
		buf_put(out, put, putlen);
		i += n;
		from = i;
	}
	buf_put(out, s + from, len - from);
	buf_ch(out, '"');
}

void
jw_begin(struct jw *w, struct buf *out)
{
	memset(w, 0, sizeof *w);
	w->out = out;
}

void
jw_end(struct jw *w)
{
	must(w->depth == 0 && !w->keyed && w->started[0]);
}

/* Called before every value: the comma, and the proof that a value may stand here. */
static void
value(struct jw *w)
{
	if (w->depth == 0) {
		must(!w->started[0]);
	} else if (w->kind[w->depth] == '{') {
		must(w->keyed);
	} else if (w->started[w->depth]) {
		buf_ch(w->out, ',');
	}
	w->started[w->depth] = true;
	w->keyed = false;
}

static void
open_nest(struct jw *w, char kind)
{
	value(w);
	must(w->depth + 1 < JW_DEPTH);
	w->depth++;
	w->kind[w->depth] = kind;
	w->started[w->depth] = false;
	buf_ch(w->out, kind);
}

static void
close_nest(struct jw *w, char kind, char mark)
{
	must(w->depth > 0 && w->kind[w->depth] == kind && !w->keyed);
	w->depth--;
	buf_ch(w->out, mark);
}

void jw_obj(struct jw *w) { open_nest(w, '{'); }
void jw_obj_end(struct jw *w) { close_nest(w, '{', '}'); }
void jw_arr(struct jw *w) { open_nest(w, '['); }
void jw_arr_end(struct jw *w) { close_nest(w, '[', ']'); }

void
jw_key(struct jw *w, const char *key)
{
	must(w->depth > 0 && w->kind[w->depth] == '{' && !w->keyed);
	if (w->started[w->depth])
		buf_ch(w->out, ',');
	w->started[w->depth] = true;
	jw_quote(w->out, key, strlen(key));
	buf_ch(w->out, ':');
	w->keyed = true;
}

void
jw_strn(struct jw *w, const char *s, size_t len)
{
	value(w);
	jw_quote(w->out, s, len);
}

void
jw_str(struct jw *w, const char *s)
{
	if (s)
		jw_strn(w, s, strlen(s));
	else
		jw_null(w);
}

void
jw_int(struct jw *w, int64_t v)
{
	value(w);
	buf_int(w->out, v);
}

void
jw_bool(struct jw *w, bool v)
{
	value(w);
	buf_str(w->out, v ? "true" : "false");
}

void
jw_null(struct jw *w)
{
	value(w);
	buf_str(w->out, "null");
}

void
jw_seconds(struct jw *w, int64_t ms)
{
	value(w);
	buf_printf(w->out, "%s%lld.%03lld", ms < 0 ? "-" : "", (long long)(ms < 0 ? -ms : ms) / 1000, (long long)(ms < 0 ? -ms : ms) % 1000);
}

void
jw_raw(struct jw *w, const char *json, size_t len)
{
	must(len > 0);
	value(w);
	buf_put(w->out, json, len);
}

void
jw_json(struct jw *w, const json_t *v)
{
	value(w);
	jx_write(w->out, v);
}

void jw_kstr(struct jw *w, const char *key, const char *s) { jw_key(w, key); jw_str(w, s); }
void jw_kint(struct jw *w, const char *key, int64_t v) { jw_key(w, key); jw_int(w, v); }
void jw_kbool(struct jw *w, const char *key, bool v) { jw_key(w, key); jw_bool(w, v); }
void jw_knull(struct jw *w, const char *key) { jw_key(w, key); jw_null(w); }
void jw_kjson(struct jw *w, const char *key, const json_t *v) { jw_key(w, key); jw_json(w, v); }

void
jw_kraw(struct jw *w, const char *key, const char *json)
{
	jw_key(w, key);
	if (json)
		jw_raw(w, json, strlen(json));
	else
		jw_null(w);
}
