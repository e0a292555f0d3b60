/*
 * events: see events.h. Only data counts: names, ids, comments and retry times are skipped, and so are events without data.
 */
#include "events.h"

#include <string.h>

static void
take_line(struct events *s, const char *line, size_t len)
{
	size_t skip = len > 5 && line[5] == ' ' ? 6 : 5;

	if (len < 5 || memcmp(line, "data:", 5) != 0)
		return;
	buf_put(&s->data, line + skip, len - skip);
	s->any = true;
}

bool
events_next(struct events *s, const struct buf *body)
{
	const char *end;

	if (s->told)
		buf_reset(&s->data);
	s->told = false;
	while (s->seen < body->len && (end = memchr(body->data + s->seen, '\n', body->len - s->seen)) != NULL) {
		const char *line = body->data + s->line;
		size_t len = (size_t)(end - line);

		s->line = s->seen = (size_t)(end - body->data) + 1;
		if (len > 0 && line[len - 1] == '\r')
			len--;
		if (len > 0) {
			take_line(s, line, len);
		} else if (s->any) {
			s->any = false;
			return s->told = true;
		}
	}
	s->seen = body->len;
	return false;
}

void
events_free(struct events *s)
{
	buf_free(&s->data);
	*s = (struct events){ 0 };
}
