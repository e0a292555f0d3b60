/*
 * log: one JSON line per happening on stderr, for the supervisor's logger.
 *
 *   log_info("turn_done", "session", s->id, "ms", log_num(buf, ms), NULL)
 *
 * Keys and values are strings in pairs, closed by NULL; a NULL value is skipped. Values are escaped (no line or JSON break gets in)
 * and cut at 400 bytes. Never pass bodies, prompts, headers or secrets. Safe from several threads.
 */
#ifndef ROOST_BASE_LOG_H
#define ROOST_BASE_LOG_H

#include <stdint.h>

#include "err.h"

enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };

/* Name of the process in each line, and the lowest level written. proc is borrowed (a literal). */
void log_open(const char *proc, enum log_level lowest);
/* The level of a setting's text; LOG_INFO_LEVEL when it names none. */
enum log_level log_level_of(const char *name);

/*
 * From now on lines below `warn` may wait for others: the process calls log_flush(age) now and then, which writes them when the oldest has
 * waited so long; 0: at once. A line of `warn` or above takes all with it, exit() too; kill -9 loses what waits. Not at the level debug
 * (log_open comes before): there each line is written at once.
 */
void log_gather(void);
void log_flush(int64_t age_ms);

void log_line(enum log_level level, const char *event, ...) __attribute__((sentinel));
#define log_debug(...) log_line(LOG_DEBUG_LEVEL, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO_LEVEL, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN_LEVEL, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR_LEVEL, __VA_ARGS__)

/* The error's kind, detail (or pub) as one warn line under `event`; more pairs may follow. */
void log_err(const char *event, const struct err *e, ...) __attribute__((sentinel));

struct log_num { char text[24]; };
/* v as text, for a pair's value: log_num(&(struct log_num){ 0 }, v). */
const char *log_num(struct log_num *n, int64_t v);
#define LOGN(v) log_num(&(struct log_num){ { 0 } }, (v))

#endif
