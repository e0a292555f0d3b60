/*
 * result: see result.h. Wording follows contract 4.3: a command's output as it was, the last 100 KiB of it when it had over 100,000
 * characters (all of it is then in a file); a failing command is an
 * error with its output, or `exit N` when it was silent; nothing at all reads "(no output)". The output memfd was written inside the
 * sandbox: its bytes and its length are not believed.
 */
#include "result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"
#include "utf8.h"
#include "xalloc.h"

/* Up to max bytes of the memfd; the caller frees. */
static char *
read_output(int fd, size_t max, size_t *out_len)
{
	char *data = xmalloc(max);
	size_t at = 0;
	ssize_t n;

	while (at < max && (n = pread(fd, data + at, max - at, (off_t)at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		at += (size_t)n;
	}
	*out_len = at;
	return data;
}

/* What the model is told above the end of a command's long output. */
static void
put_mark(struct buf *b, struct call *c, const struct sb_msg *m)
{
	buf_str(b, "[output truncated");
	if (m->flags & SB_F_SPILLED) {
		c->spilled = true;
		buf_printf(b, m->flags & SB_F_PART ? ": %llu bytes in all; their beginning is in " SB_SPILL_BASH :
		    ": %llu bytes in all; the full output is in " SB_SPILL_BASH, (unsigned long long)m->bytes, c->num);
	}
	buf_str(b, "]\n");
}

/* A command's output as it was, or its end below a mark; a file tool's text, which it has cut itself. */
static void
put_output(struct buf *b, struct call *c, const struct sb_msg *m)
{
	const bool shell = c->in.tool == SB_TOOL_bash;
	AUTO(str) char *data = NULL;
	AUTO(buf) struct buf text = { 0 };
	AUTO(buf) struct buf mark = { 0 };
	size_t len = 0;

	if (c->out >= 0)
		data = read_output(c->out, SB_KEEP, &len);
	if (shell && (m->bytes > SB_KEEP || utf8_count(data ? data : "", len) > SB_SPILL_CHARS)) {
		put_mark(&mark, c, m);
		(void)text_clean(&text, data, len, SB_BASH_TAIL - mark.len, true);
		buf_put(b, mark.data, mark.len);
	} else {
		(void)text_clean(&text, data ? data : "", len, 3 * SB_KEEP, false);
	}
	buf_put(b, text.data ? text.data : "", text.len);
}

/* Start a line of our own after what is there. */
static void
new_line(struct buf *b)
{
	if (b->len > 0 && b->data[b->len - 1] != '\n')
		buf_ch(b, '\n');
}

static void
not_started(struct buf *b, int sys)
{
	if (sys == EAGAIN)
		buf_str(b, "The sandbox has too many processes to start this. Restart the shell (bash with restart: true) to end them.");
	else if (sys == ENOMEM)
		buf_str(b, "The sandbox has no memory left to start this.");
	else
		buf_printf(b, "The tool could not be started in the sandbox: %s.", strerror(sys));
}

static void
compose_bash(struct call *c, const struct sb_msg *m, struct buf *b)
{
	int st = m->status;

	if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
		return;
	c->is_error = true;
	if (WIFSIGNALED(st)) {
		new_line(b);
		buf_printf(b, "The shell was killed by signal %d (%s). The next bash call gets a new one.", WTERMSIG(st),
		    strsignal(WTERMSIG(st)));
	} else if (b->len == 0) {
		buf_printf(b, "exit %d", WEXITSTATUS(st));
	}
}

static void
compose_tool(struct call *c, const struct sb_msg *m, struct buf *b)
{
	int st = m->status;

	if (WIFEXITED(st) && WEXITSTATUS(st) == SB_EXIT_OK)
		return;
	if (WIFEXITED(st) && WEXITSTATUS(st) == SB_EXIT_SPILLED) {
		c->spilled = true;
		return;
	}
	c->is_error = true;
	if (WIFEXITED(st) && WEXITSTATUS(st) == SB_EXIT_ERROR && b->len > 0)
		return;
	buf_reset(b);
	if (WIFSIGNALED(st))
		buf_printf(b, "The tool was killed by signal %d (%s).", WTERMSIG(st), strsignal(WTERMSIG(st)));
	else
		buf_printf(b, "The tool failed in the sandbox (status %d).", WEXITSTATUS(st));
}

/* The model believes in files and processes that are gone: the first result of the new sandbox says so. */
static void
tell_replaced(struct call *c, struct buf *b)
{
	struct buf told = { 0 };

	buf_str(&told, "[The sandbox was lost since the last call and a fresh one was started: earlier files and processes are gone.]\n");
	buf_put(&told, b->data, b->len);
	buf_free(b);
	*b = told;
	c->s->replaced = false;
}

/* Put a remark before the result, once. */
static void
tell_first(struct buf *b, char **text)
{
	struct buf told = { 0 };

	buf_str(&told, *text);
	buf_put(&told, b->data, b->len);
	buf_free(b);
	*b = told;
	free(*text);
	*text = NULL;
}

void
result_compose(struct call *c, const struct sb_msg *m)
{
	const bool shell = c->in.tool == SB_TOOL_bash;
	struct buf b = { 0 };

	if (c->why == CALL_CANCELLED) {
		c->is_error = true;
		buf_str(&b, CALL_INTERRUPTED);
	} else if (c->why == CALL_TIMED_OUT) {
		c->is_error = true;
		put_output(&b, c, m);
		new_line(&b);
		buf_printf(&b, "The %s timed out after %lld ms and was killed%s.", shell ? "command" : "tool", (long long)c->timeout_ms,
		    shell ? ", with the shell; the next bash call gets a new one" : "");
	} else if (m->flags & SB_F_FAILED) {
		c->is_error = true;
		not_started(&b, m->status);
	} else {
		put_output(&b, c, m);
		if (shell)
			compose_bash(c, m, &b);
		else
			compose_tool(c, m, &b);
	}
	if (b.len == 0)
		buf_str(&b, "(no output)");
	if (c->s->replaced && c->why == CALL_ENDED)
		tell_replaced(c, &b);
	if (c->s->outputs.note && c->why == CALL_ENDED)
		tell_first(&b, &c->s->outputs.note);
	c->len = b.len;
	c->text = buf_steal(&b);
}
