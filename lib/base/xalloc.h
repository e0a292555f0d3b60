/* xalloc: allocation that cannot fail. Out of memory exits the process: the supervisor restarts it, Postgres holds the truth. */
#ifndef ROOST_BASE_XALLOC_H
#define ROOST_BASE_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrdup_opt(const char *s);	/* NULL for NULL */
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A broken invariant aborts with its place; never used for bad input. */
#define must(cond) ((cond) ? (void)0 : must_fail(__FILE__, __LINE__, #cond))
void must_fail(const char *file, int line, const char *what) __attribute__((noreturn));

#endif
