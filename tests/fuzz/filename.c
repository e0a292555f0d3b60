/* link: gateway/filename.c */
/*
 * Names of files, as they are kept and as a download's header shows them: one component of a path, and one line of a header whose quotes
 * close.
 */
#include "fuzz.h"

#include <string.h>

#include "buf.h"
#include "filename.h"
#include "xalloc.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(str) char *sent = xstrndup((const char *)data, size);
	AUTO(buf) struct buf head = BUF_INIT(0);
	struct err e = ERR_INIT;
	char name[FILENAME_BYTES];
	size_t quotes = 0;

	if (filename_clean(sent, "text/plain", name, &e) < 0) {
		HOLDS(e.kind == EK_INVALID && e.pub[0]);
		return 0;
	}
	HOLDS(name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strpbrk(name, "/\\<>:\"|?*"));
	for (const char *p = name; *p; p++)
		HOLDS((unsigned char)*p >= 0x20 && *p != 0x7f);
	filename_disposition(&head, name);
	HOLDS(strstr(head.data, "\r\n") == head.data + head.len - 2);
	for (size_t i = 0; i + 2 < head.len; i++) {
		HOLDS(head.data[i] >= 0x20 && head.data[i] < 0x7f);
		quotes += head.data[i] == '"';
	}
	HOLDS(quotes == 2);
	return 0;
}
