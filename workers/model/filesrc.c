/*
 * filesrc: see filesrc.h. The size is known from the source and checked before anything is read or allocated; a file whose size is another
 * is not what was meant. Reading blocks the loop for as long as the page cache takes: 24 MB are 10 ms and their base64 15 ms, in requests
 * that carry them.
 */
#include "filesrc.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blob.h"
#include "cleanup.h"
#include "context.h"
#include "err.h"
#include "jw.h"
#include "log.h"
#include "xalloc.h"

#define MARK "\"type\":\"blob\""

bool
filesrc_maybe(const char *text, size_t len)
{
	return memmem(text, len, MARK, sizeof MARK - 1) != NULL;
}

/* The decoded string is short and plain: compare it without its quotes. */
static bool
starts(struct jspan string, const char *with)
{
	size_t n = strlen(with);

	return string.n >= n + 2 && memcmp(string.p + 1, with, n) == 0;
}

static enum filesrc_kind
kind_of(struct jspan type)
{
	static const char *const texts[] = { "application/json", "application/xml", "application/javascript", "application/x-sh",
		"application/x-yaml", "application/yaml", "application/toml", "application/sql" };
	static const char *const images[] = { "image/png", "image/jpeg", "image/gif", "image/webp" };
	size_t i;

	for (i = 0; i < sizeof images / sizeof *images; i++)
		if (jspan_is(type, images[i]))
			return FILESRC_IMAGE;
	if (jspan_is(type, "application/pdf"))
		return FILESRC_PDF;
	for (i = 0; i < sizeof texts / sizeof *texts; i++)
		if (jspan_is(type, texts[i]))
			return FILESRC_TEXT;
	return starts(type, "text/") ? FILESRC_TEXT : FILESRC_OTHER;
}

static bool
is_string(struct jspan v)
{
	return v.n >= 2 && *v.p == '"';
}

/* The source's members. */
static bool
read_source(struct jspan source, struct filesrc *out)
{
	struct jspan v;

	if (!jspan_get(source, "type", &v) || !jspan_is(v, "blob") || !jspan_get(source, "blob", &v) || v.n != sizeof out->blob + 1)
		return false;
	memcpy(out->blob, v.p + 1, sizeof out->blob - 1);
	out->blob[sizeof out->blob - 1] = '\0';
	if (!blob_id_ok(out->blob) || !jspan_get(source, "size", &v) || !jspan_int(v, &out->size) || out->size < 0 ||
	    !jspan_get(source, "media_type", &out->media_type) || !jspan_get(source, "file_id", &out->file_id) ||
	    !jspan_get(source, "name", &out->name) || !is_string(out->media_type) || !is_string(out->file_id) || !is_string(out->name))
		return false;
	out->kind = kind_of(out->media_type);
	return true;
}

bool
filesrc_of(struct jspan block, struct filesrc *out)
{
	struct jspan type, source;

	if (!jspan_get(block, "type", &type) || (!jspan_is(type, "image") && !jspan_is(type, "document")))
		return false;
	if (!jspan_get(block, "source", &source) || source.n == 0 || *source.p != '{' || !read_source(source, out))
		return false;
	if (jspan_is(type, "image") != (out->kind == FILESRC_IMAGE))
		out->kind = FILESRC_OTHER;	/* a picture that is none, or a document that is one */
	return true;
}

/* Has nobody deleted it? A copy of it may keep its bytes. */
static bool
is_there(const char *there, const struct filesrc *f)
{
	char id[64];
	size_t n = f->file_id.n - 2;

	if (there == NULL)
		return true;
	if (n + 3 > sizeof id)
		return false;
	id[0] = id[n + 1] = ',';
	memcpy(id + 1, f->file_id.p + 1, n);
	id[n + 2] = '\0';
	return strstr(there, id) != NULL;
}

struct sizes {
	const char *there;
	int64_t *of;
	size_t n, cap;
};

static void
note_size(struct sizes *s, struct jspan block)
{
	struct filesrc f;

	if (!filesrc_of(block, &f) || f.kind == FILESRC_OTHER || f.size == 0 || !is_there(s->there, &f))
		return;		/* never read */
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->of = xrealloc(s->of, s->cap * sizeof *s->of);
	}
	s->of[s->n++] = f.size;
}

void
filesrc_room_init(struct filesrc_room *room, const char *dir, const char *there, const struct context_block *blocks, size_t n)
{
	struct sizes s = { .there = there };
	int64_t left = FILESRC_REQUEST_MAX;
	struct jspan content, part;
	struct jspan_iter it;

	for (size_t i = 0; i < n; i++) {
		if (!blocks[i].files)
			continue;
		note_size(&s, blocks[i].text);
		if (blocks[i].kind == CONTEXT_TOOL_RESULT && jspan_get(blocks[i].text, "content", &content))
			for (it = jspan_array(content); jspan_next(&it, &part);)
				note_size(&s, part);
	}
	while (s.n > 0 && (s.of[s.n - 1] > FILESRC_REQUEST_MAX || s.of[s.n - 1] <= left)) {
		left -= s.of[s.n - 1] <= left ? s.of[s.n - 1] : 0;
		s.n--;
	}
	*room = (struct filesrc_room){ .dir = dir, .there = there, .left = FILESRC_REQUEST_MAX, .skip = s.n };
	free(s.of);
}

/* All of it, or NULL. The caller frees. */
static char *
read_all(const char *dir, const struct filesrc *f)
{
	struct err e = ERR_INIT;
	int64_t size = 0;
	AUTO(fd) int fd = blob_open(dir, f->blob, &size, &e);
	AUTO(str) char *data = NULL;
	int64_t at = 0;
	ssize_t n;

	if (fd < 0 || size != f->size) {
		log_warn("file_not_readable", "blob", f->blob, "why", fd < 0 ? e.detail : "another size", NULL);
		return NULL;
	}
	data = xmalloc((size_t)size + 1);
	while (at < size && (n = read(fd, data + at, (size_t)(size - at))) > 0)
		at += n;
	return at == size ? steal(data) : NULL;
}

static void
put_base64(struct buf *out, const char *data, size_t len)
{
	size_t need = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	char *to = buf_reserve(out, need);

	if (!to)
		return;
	sodium_bin2base64(to, need, (const unsigned char *)data, len, sodium_base64_VARIANT_ORIGINAL);
	out->len += need - 1;
}

bool
filesrc_put(struct buf *out, struct filesrc_room *room, const struct filesrc *f, bool encode, const char **why)
{
	AUTO(str) char *data = NULL;
	size_t from = out->len;

	if (!is_there(room->there, f)) {
		*why = "is no longer available";
		return false;
	}
	if (room->skip > 0 || f->size > room->left) {
		room->skip -= room->skip > 0;
		*why = "is too large for this request";
		return false;
	}
	data = room->dir && room->dir[0] ? read_all(room->dir, f) : NULL;
	if (!data) {
		*why = "is no longer available";
		return false;
	}
	room->left -= f->size;
	if (encode) {
		put_base64(out, data, (size_t)f->size);
	} else {
		jw_quote(out, data, (size_t)f->size);
		out->len--;			/* without its quotes */
		memmove(out->data + from, out->data + from + 1, out->len - from - 1);
		out->len--;
		out->data[out->len] = '\0';
	}
	return true;
}

void
filesrc_put_note(struct buf *out, const struct filesrc *f, const char *why)
{
	buf_str(out, "[The file ");
	buf_put(out, f->name.p + 1, f->name.n - 2);
	buf_str(out, " (");
	buf_put(out, f->file_id.p + 1, f->file_id.n - 2);
	buf_printf(out, ") %s.]", why);
}

#define IMAGE_TOKENS 1600
#define PDF_BYTES 18		/* that make a token: as DOCUMENT_BYTES of context.c, before the encoding */

static int64_t
tokens_of(const struct filesrc *f)
{
	switch (f->kind) {
	case FILESRC_IMAGE:
		return IMAGE_TOKENS;
	case FILESRC_PDF:
		return f->size / PDF_BYTES;
	case FILESRC_TEXT:
		return f->size / 4;
	default:
		return 0;
	}
}

/* The next source in [*at, end) of text, wherever it stands; *at behind its mark. */
static bool
next_source(const char *text, const char **at, const char *end, struct filesrc *out)
{
	const char *mark;

	while ((mark = memmem(*at, (size_t)(end - *at), MARK, sizeof MARK - 1)) != NULL) {
		struct jspan_iter it = jspan_list(mark - 1, (size_t)(end - mark) + 1);
		struct jspan source;

		*at = mark + sizeof MARK - 1;
		if (mark > text && mark[-1] == '{' && jspan_next(&it, &source) && read_source(source, out))
			return true;
	}
	return false;
}

void
filesrc_ids(const char *text, size_t len, void (*one)(void *ctx, struct jspan file_id), void *ctx)
{
	const char *at = text;
	struct filesrc f;

	while (next_source(text, &at, text + len, &f))
		one(ctx, f.file_id);
}

int64_t
filesrc_tokens(const char *text, size_t len)
{
	const char *at = text;
	struct filesrc f;
	int64_t tokens = 0;

	while (next_source(text, &at, text + len, &f))
		tokens += f.size <= FILESRC_REQUEST_MAX ? tokens_of(&f) : 0;
	return tokens;
}
