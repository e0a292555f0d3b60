/*
 * answer: see answer.h. Of server-sent events only `data` matters; its lines are joined as the standard says. A carriage return alone does not
 * end a line here: no MCP server writes that, and one that does is waited for in vain.
 */
#include "answer.h"

#include <string.h>

json_t *
answer_text(const char *text, size_t len, int id)
{
	struct err ignored = ERR_INIT;
	json_t *v = NULL;

	if (len == 0 || jx_parse(text, len, &v, &ignored) < 0)
		return NULL;
	if (jx_int(v, "id", -1) == id && (json_object_get(v, "result") || json_object_get(v, "error")))
		return v;
	json_decref(v);
	return NULL;
}

/* One line without its end. true: it ended an event that is the answer. */
static bool
take_line(struct answer_scan *s, const char *line, size_t len)
{
	size_t skip = len > 5 && line[5] == ' ' ? 6 : 5;

	if (len >= 5 && memcmp(line, "data:", 5) == 0) {
		if (s->any)
			buf_ch(&s->data, '\n');
		buf_put(&s->data, line + skip, len - skip);
		s->any = true;
	} else if (len == 0) {
		if (s->any)
			s->found = answer_text(s->data.data ? s->data.data : "", s->data.len, s->id);
		buf_reset(&s->data);
		s->any = false;
	}
	return s->found != NULL;
}

bool
answer_more(struct answer_scan *s, const struct buf *stream)
{
	const char *end;

	while (!s->found && s->seen < stream->len &&
	    (end = memchr(stream->data + s->seen, '\n', stream->len - s->seen)) != NULL) {
		size_t at = s->line, len = (size_t)(end - stream->data) - at;

		s->line = s->seen = at + len + 1;
		if (len > 0 && stream->data[at + len - 1] == '\r')
			len--;
		if (take_line(s, stream->data + at, len))
			return true;
	}
	if (!s->found)
		s->seen = stream->len;
	return s->found != NULL;
}

void
answer_scan_free(struct answer_scan *s)
{
	json_decref(s->found);
	s->found = NULL;
	buf_free(&s->data);
}
