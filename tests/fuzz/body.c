/* link: gateway/body.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c */
/*
 * The decoder of request bodies: content type, gzip, charset, JSON, shape. What is refused has a client's error and no tree; what is
 * accepted is written and read again to the same tree, and is valid JSON for the reader that looks at text (jspan).
 */
#include "fuzz.h"

#include <string.h>

#include "body.h"
#include "jspan.h"
#include "jx.h"

#define CAP (1 << 20)

static const struct shape *const shapes[] = {
#define SHAPE(id, ...) &shape_##id,
#define UNION(...)
#define VALUES(...)
#include "shapes.def"
#undef SHAPE
#undef UNION
#undef VALUES
};
static const char *const content_types[] = {
	NULL, "application/json", "application/json; charset=utf-8", "application/json; charset=\"ISO-8859-1\"", "text/plain", "application/json;charset=",
};
static const char *const encodings[] = { NULL, "", "identity", "gzip", "br" };

static void
same_again(const json_t *v)
{
	AUTO(str) char *text = jx_dump(v);
	AUTO(json) json_t *again = NULL;
	struct err e = ERR_INIT;

	HOLDS(jx_parse_exact(text, strlen(text), &again, &e) == 0);
	HOLDS(json_equal(v, again));
	HOLDS(jspan_check_object(text, strlen(text), JX_DEPTH_MAX));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shape *s = shapes[pick(&data, &size, sizeof shapes / sizeof shapes[0])];
	const char *type = content_types[pick(&data, &size, sizeof content_types / sizeof content_types[0])];
	const char *encoding = encodings[pick(&data, &size, sizeof encodings / sizeof encodings[0])];
	struct buf text = BUF_INIT(0);
	AUTO(json) json_t *v = NULL;
	struct err e = ERR_INIT;
	int rc;

	if (shape_multipart(s))
		return 0;
	buf_put(&text, data, size);
	rc = body_parse(s, type, encoding, CAP, &text, &v, &e);
	HOLDS(rc == 0 || (v == NULL && e.pub[0] && err_http(e.kind) >= 400 && err_http(e.kind) < 500));
	if (rc == 0 && v)
		same_again(v);
	buf_free(&text);
	return 0;
}
