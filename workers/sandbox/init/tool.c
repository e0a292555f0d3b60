/*
 * tool: see tool.h. What all file tools share: dispatch, paths, error texts, and the rule for long results (contract 4.3): more than
 * 100,000 characters go to a file in the sandbox, and the model gets the beginning and the path. A crash here costs one
 * call: pid 1 reports the wait status and hands words it.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"
#include "utf8.h"
#include "wire.h"

#define OUT_CEILING (16u << 20)
#define PREVIEW 16000u

static tool_fn *const tools[SB_TOOLS] = {
	[SB_TOOL_read] = tool_read, [SB_TOOL_write] = tool_write, [SB_TOOL_edit] = tool_edit,
	[SB_TOOL_glob] = tool_glob, [SB_TOOL_grep] = tool_grep,
};

int
tool_fail(struct buf *out, int sys, const char *fmt, ...)
{
	char text[PATH_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_reset(out);
	buf_str(out, text);
	if (sys)
		buf_printf(out, ": %s", strerror(sys));
	return -1;
}

int
tool_path(const char *given, char path[PATH_MAX], struct buf *out)
{
	int n;

	if (!*given)
		return tool_fail(out, 0, "the path is empty");
	n = given[0] == '/' ? snprintf(path, PATH_MAX, "%s", given) : snprintf(path, PATH_MAX, SB_WORKDIR "/%s", given);
	if (n >= PATH_MAX)
		return tool_fail(out, ENAMETOOLONG, "the path is refused");
	return 0;
}

/* Save the whole text under the call's name and leave its beginning with a pointer to the file. */
static void
spill(struct buf *out, const char *call)
{
	char path[256];
	size_t chars = utf8_count(out->data, out->len), cut = PREVIEW;
	int fd = -1, saved;

	snprintf(path, sizeof path, SB_SPILL_DIR "/%s.txt", call ? call : "output");
	if (mkdir(SB_SPILL_DIR, 0755) == 0 || errno == EEXIST)
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	saved = fd >= 0 && fdio_write(fd, out->data, out->len) == out->len;
	if (fd >= 0)
		close(fd);
	while (cut > 0 && ((unsigned char)out->data[cut] & 0xc0) == 0x80)
		cut--;
	out->len = cut;
	out->data[cut] = '\0';
	if (saved)
		buf_printf(out, "\n[output truncated: %zu characters in all; the full text is in %s]", chars, path);
	else
		buf_printf(out, "\n[output truncated: %zu characters in all; the rest could not be saved: %s]", chars, strerror(errno));
}

int
tool_main(uint32_t tool, int args_fd, int out_fd)
{
	struct buf out = BUF_INIT(OUT_CEILING);
	struct args a = { 0 };
	int rc, spilled = 0;

	if (tool >= SB_TOOLS || !tools[tool])
		rc = tool_fail(&out, 0, "no such tool");
	else if (args_load(&a, args_fd) < 0)
		rc = tool_fail(&out, errno, "cannot read the arguments");
	else
		rc = tools[tool](&a, &out);
	if (rc == 0 && out.len > SB_SPILL_CHARS && utf8_count(out.data, out.len) > SB_SPILL_CHARS) {
		spill(&out, args_get(&a, "call"));
		spilled = 1;
	}
	if (out.len > 0 && fdio_write(out_fd, out.data, out.len) < out.len)
		return SB_EXIT_ERROR;
	return rc < 0 ? SB_EXIT_ERROR : spilled ? SB_EXIT_SPILLED : SB_EXIT_OK;
}
