/*
 * log: see log.h. A line is built on the stack and written by one write(2), so lines of several threads do not mix and a crash loses
 * at most the line being built. When stderr blocks the process blocks with it: the supervisor's logger reads at once.
 */
#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "jw.h"

#define VALUE_MAX 400

static const char *proc_name = "roost";
static enum log_level lowest_level = LOG_INFO_LEVEL;
static const char *const level_names[] = { "debug", "info", "warn", "error" };

void
log_open(const char *proc, enum log_level lowest)
{
	proc_name = proc;
	lowest_level = lowest;
}

enum log_level
log_level_of(const char *name)
{
	for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
		if (strcmp(name, level_names[i]) == 0)
			return (enum log_level)i;
	return LOG_INFO_LEVEL;
}

const char *
log_num(struct log_num *n, int64_t v)
{
	snprintf(n->text, sizeof n->text, "%lld", (long long)v);
	return n->text;
}

static void
pair(struct jw *w, const char *key, const char *val)
{
	size_t len;

	if (!val)
		return;
	len = strnlen(val, VALUE_MAX);
	jw_key(w, key);
	jw_strn(w, val, len);
}

static void
begin(struct jw *w, struct buf *b, enum log_level level, const char *event)
{
	char stamp[CLOCK_TEXT];

	jw_begin(w, b);
	jw_obj(w);
	pair(w, "at", clock_format(clock_wall_us(), stamp));
	pair(w, "level", level_names[level]);
	pair(w, "proc", proc_name);
	pair(w, "event", event);
}

static void
finish(struct jw *w, struct buf *b, va_list ap)
{
	const char *key;

	while ((key = va_arg(ap, const char *)) != NULL)
		pair(w, key, va_arg(ap, const char *));
	jw_obj_end(w);
	jw_end(w);
	buf_ch(b, '\n');
	(void)!write(STDERR_FILENO, b->data, b->len);
}

void
log_line(enum log_level level, const char *event, ...)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;
	va_list ap;

	if (level < lowest_level)
		return;
	begin(&w, &b, level, event);
	va_start(ap, event);
	finish(&w, &b, ap);
	va_end(ap);
}

void
log_err(const char *event, const struct err *e, ...)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;
	va_list ap;

	if (LOG_WARN_LEVEL < lowest_level)
		return;
	begin(&w, &b, LOG_WARN_LEVEL, event);
	pair(&w, "kind", err_name(e->kind));
	pair(&w, "why", e->detail[0] ? e->detail : e->pub);
	if (e->sys)
		pair(&w, "errno", strerrordesc_np(e->sys));
	va_start(ap, e);
	finish(&w, &b, ap);
	va_end(ap);
}
