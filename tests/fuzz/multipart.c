/* link: gateway/multipart.c */
/*
 * Multipart bodies, in whatever pieces they come: the parts are the same, or the refusal is. No control characters but those that a
 * browser writes, and no limit is passed.
 */
#include "fuzz.h"

#include <string.h>

#include "buf.h"
#include "multipart.h"

struct source {
	const uint8_t *data;
	size_t size, piece;
};

static ssize_t
give(void *arg, char *to, size_t len, struct err *e)
{
	struct source *s = arg;
	size_t n = s->size < s->piece ? s->size : s->piece;

	n = n < len ? n : len;
	memcpy(to, s->data, n);
	s->data += n;
	s->size -= n;
	return (ssize_t)n;
}

static void
clean(const char *text, const char *besides)
{
	for (; *text; text++)
		HOLDS(((unsigned char)*text >= 0x20 && *text != 0x7f) || strchr(besides, *text));
}

/* Everything that a reader of the body sees. */
static void
read_all(const char *type, struct source s, bool skip, struct buf *out)
{
	static struct multipart m;
	static struct multipart_part part;
	struct err e = ERR_INIT;
	const char *bytes;
	int parts = 0, rc = multipart_begin(&m, type, give, &s, &e);
	ssize_t n;

	while (rc == 0 && (rc = multipart_next(&m, &part, &e)) > 0) {
		clean(part.name, "\t\r\n");		/* line breaks come as %0D and %0A; a name is checked by who keeps it */
		clean(part.filename, "\t\r\n");
		clean(part.type, "\t");
		HOLDS(++parts <= MULTIPART_PARTS);
		buf_printf(out, "part %s|%d|%s|%s\n", part.name, part.named, part.filename, part.type);
		for (rc = 0; !skip && (n = multipart_data(&m, &bytes, &e)) != 0;) {
			if (n < 0) {
				rc = -1;
				break;
			}
			buf_put(out, bytes, (size_t)n);
		}
	}
	if (rc < 0) {
		HOLDS(err_http(e.kind) >= 400 && err_http(e.kind) < 500 && e.pub[0]);
		buf_printf(out, "refused %s\n", e.pub);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { "multipart/form-data; boundary=b", "multipart/form-data; boundary=\"--a b\"", NULL };
	const char *type = types[pick(&data, &size, 3)];
	unsigned piece = 1 + pick(&data, &size, 64);
	AUTO(buf) struct buf whole = BUF_INIT(0), pieces = BUF_INIT(0), skipped = BUF_INIT(0);
	char own[128] = "";

	if (!type) {	/* the content type comes from the input, up to a NUL or line break */
		size_t n = 0;

		while (n < size && n < sizeof own - 1 && data[n] && data[n] != '\n')
			n++;
		memcpy(own, data, n);
		data += n;
		size -= n;
		type = own;
	}
	read_all(type, (struct source){ data, size, size }, false, &whole);
	read_all(type, (struct source){ data, size, piece }, false, &pieces);
	HOLDS(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
	read_all(type, (struct source){ data, size, piece }, true, &skipped);
	return 0;
}
