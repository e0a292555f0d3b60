/*
 * xalloc: see xalloc.h. Limits are checked before memory is asked for, so running out is the machine's end, not a request's: the process
 * exits and the supervisor starts a fresh one; whatever it was doing is decided by Postgres.
 */
#include "xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static void
die_of_memory(void)
{
	static const char text[] = "{\"level\":\"error\",\"event\":\"out_of_memory\"}\n";

	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	_exit(70);
}

static void *
checked(void *p)
{
	if (!p)
		die_of_memory();
	return p;
}

void *xmalloc(size_t size) { return checked(malloc(size ? size : 1)); }
void *xcalloc(size_t count, size_t size) { return checked(calloc(count ? count : 1, size ? size : 1)); }
void *xrealloc(void *p, size_t size) { return checked(realloc(p, size ? size : 1)); }
char *xstrdup(const char *s) { return checked(strdup(s)); }
char *xstrdup_opt(const char *s) { return s ? xstrdup(s) : NULL; }
char *xstrndup(const char *s, size_t len) { return checked(strndup(s, len)); }

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *out = NULL;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	if (n < 0)
		die_of_memory();
	return out;
}

void
must_fail(const char *file, int line, const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof text, "{\"level\":\"error\",\"event\":\"invariant_broken\",\"at\":\"%s:%d\"}\n", file, line);

	log_flush(0);
	(void)!write(STDERR_FILENO, text, (size_t)n);
	fprintf(stderr, "must: %s\n", what);
	abort();
}
