/*
 * told: see told.h. A head of fixed size, then the texts, each with its NUL; a text's length counts it, and 0 stands for no text. The head
 * begins with a mark that is changed with it: processes of two releases may meet on one machine, and what is not known is read instead.
 */
#include "told.h"

#include <string.h>

#include "id.h"
#include "inbox.h"

#define MARK 0x32646c74u	/* "tld2" */

enum { T_ID, T_STEM, T_FRAGMENT, T_COUNT };

struct head {
	uint32_t mark, prior;
	int64_t wake_gen, inbox_seq, catalogue, opened_us;
	uint32_t size[T_COUNT];
};

bool
told_encode(const struct inbox_sent *sent, const struct inbox_item *it, struct buf *out)
{
	const char *const texts[T_COUNT] = { it->id, it->stem, it->fragment };
	struct head h = { MARK, sent->prior, sent->wake_gen, sent->inbox_seq, sent->catalogue, sent->opened_us, { 0 } };
	size_t total = sizeof h;

	if (!sent->facts || strcmp(it->type, "user.message") != 0 || !it->wakes || it->on_receipt || !it->stem ||
	    (it->role && strcmp(it->role, "u") != 0))
		return false;
	for (int i = 0; i < T_COUNT; i++) {
		size_t size = texts[i] ? strlen(texts[i]) + 1 : 0;

		if (size > TOLD_MAX || total + size > TOLD_MAX)
			return false;
		h.size[i] = (uint32_t)size;
		total += size;
	}
	buf_put(out, &h, sizeof h);
	for (int i = 0; i < T_COUNT; i++)
		buf_put(out, texts[i], h.size[i]);
	return !out->over;
}

bool
told_decode(const void *bytes, size_t len, struct told *out)
{
	const char *texts[T_COUNT], *at = (const char *)bytes + sizeof(struct head), *end = (const char *)bytes + len;
	struct head h;

	if (len < sizeof h || len > TOLD_MAX)
		return false;
	memcpy(&h, bytes, sizeof h);
	if (h.mark != MARK)
		return false;
	for (int i = 0; i < T_COUNT; i++) {
		texts[i] = h.size[i] > 0 ? at : NULL;
		if (h.size[i] > (size_t)(end - at) || (h.size[i] > 0 && strnlen(at, h.size[i]) != h.size[i] - 1))
			return false;
		at += h.size[i];
	}
	if (at != end || h.size[T_ID] < 2 || h.size[T_ID] > ID_MAX || h.size[T_STEM] == 0)
		return false;
	*out = (struct told){ h.prior, h.wake_gen, h.inbox_seq, h.catalogue, h.opened_us, texts[T_ID], texts[T_STEM], texts[T_FRAGMENT] };
	return true;
}
