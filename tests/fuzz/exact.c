/* link: */
/*
 * JSON whose numbers keep their text. What jansson reads is read here too, with the same meaning but for such numbers; what is written
 * and read again is the same, byte for byte after the first time; and the reader of spans walks it without leaving it.
 */
#include "fuzz.h"

#include <string.h>

#include "jspan.h"
#include "jx.h"
#include "xalloc.h"

static void
walk(struct jspan v, int depth)
{
	struct jspan_iter it;
	struct jspan key, item;
	int64_t n;
	struct buf b = BUF_INIT(1 << 16);

	(void)jspan_int(v, &n);
	(void)jspan_blank(v);
	jspan_unquote(&b, v);
	buf_free(&b);
	if (depth > JX_DEPTH_MAX)
		return;
	for (it = jspan_object(v); jspan_member(&it, &key, &item);)
		walk(item, depth + 1);
	for (it = jspan_array(v); jspan_next(&it, &item);)
		walk(item, depth + 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(str) char *text = xstrndup((const char *)data, size), *once = NULL, *twice = NULL;
	AUTO(json) json_t *v = NULL, *plain = NULL, *again = NULL;
	struct err e = ERR_INIT, plain_e = ERR_INIT;
	size_t len = strlen(text);
	int rc = jx_parse_exact(text, len, &v, &e), plain_rc = jx_parse(text, len, &plain, &plain_e);

	walk((struct jspan){ text, len }, 0);
	HOLDS(rc == 0 || plain_rc != 0);
	if (rc < 0)
		return 0;
	once = jx_dump(v);
	HOLDS(jx_parse_exact(once, strlen(once), &again, &e) == 0 && json_equal(v, again));
	twice = jx_dump(again);
	HOLDS(strcmp(once, twice) == 0);
	if (json_is_object(v))
		HOLDS(jspan_check_object(text, len, JX_DEPTH_MAX) && jspan_check_object(once, strlen(once), JX_DEPTH_MAX));
	return 0;
}
