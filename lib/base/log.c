/*
 * log: see log.h. A line is written by one write(2), so lines of several threads do not mix and a crash loses at most the line being built.
 * When stderr blocks the process blocks with it: the supervisor's logger reads at once.
 *
 * A process that says so gathers lines below `warn` and writes many at once: each write wakes the logger, which costs more than a request's
 * line is worth. What is gathered is lost when the process is killed, as the last second of nginx's access log is. At level debug nothing
 * is gathered: who looks for a cause has every line at once, the last one too.
 */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "jw.h"

#define VALUE_MAX 400
#define LINE_ROOM 512		/* of most lines */

static const char *proc_name = "roost";
static enum log_level lowest_level = LOG_INFO_LEVEL;
static struct {
	pthread_mutex_t lock;
	bool on;
	size_t len;
	int64_t since_ms;	/* of the oldest line */
	char text[16384];
} gathered = { .lock = PTHREAD_MUTEX_INITIALIZER };

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
put_out(const char *text, size_t len)
{
	ssize_t n;

	for (; len > 0 && (n = write(STDERR_FILENO, text, len)) > 0; text += n, len -= (size_t)n)
		;
}

static void
put_gathered(void)
{
	put_out(gathered.text, gathered.len);
	gathered.len = 0;
}

void
log_flush(int64_t age_ms)
{
	if (pthread_mutex_trylock(&gathered.lock) != 0)
		return;
	if (gathered.len > 0 && clock_mono_ms() - gathered.since_ms >= age_ms)
		put_gathered();
	pthread_mutex_unlock(&gathered.lock);
}

static void
flush_all(void)
{
	log_flush(0);
}

void
log_gather(void)
{
	if (lowest_level == LOG_DEBUG_LEVEL)
		return;
	gathered.on = true;
	(void)atexit(flush_all);
}

static void
emit(enum log_level level, const char *text, size_t len)
{
	if (!gathered.on) {
		put_out(text, len);
		return;
	}
	pthread_mutex_lock(&gathered.lock);
	if (gathered.len + len > sizeof gathered.text)
		put_gathered();
	if (gathered.len == 0)
		gathered.since_ms = clock_mono_ms();
	if (len > sizeof gathered.text) {
		put_out(text, len);
	} else {
		memcpy(gathered.text + gathered.len, text, len);
		gathered.len += len;
	}
	if (level >= LOG_WARN_LEVEL)
		put_gathered();
	pthread_mutex_unlock(&gathered.lock);
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

	(void)buf_reserve(b, LINE_ROOM);
	jw_begin(w, b);
	jw_obj(w);
	pair(w, "at", clock_format(clock_wall_us(), stamp));
	pair(w, "level", level_names[level]);
	pair(w, "proc", proc_name);
	pair(w, "event", event);
}

static void
finish(struct jw *w, struct buf *b, enum log_level level, va_list ap)
{
	const char *key;

	while ((key = va_arg(ap, const char *)) != NULL)
		pair(w, key, va_arg(ap, const char *));
	jw_obj_end(w);
	jw_end(w);
	buf_ch(b, '\n');
	emit(level, b->data, b->len);
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
	finish(&w, &b, level, ap);
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
	finish(&w, &b, LOG_WARN_LEVEL, ap);
	va_end(ap);
}
