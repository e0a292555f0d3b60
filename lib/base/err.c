/*
 * err: see err.h. Everything lives in fixed buffers; a text that does not fit is cut, never allocated. The kinds come from err.def, the
 * only place where a kind meets an HTTP status.
 */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *type;
	int http;
	enum err_retry retry;
} kinds[EK_COUNT] = {
	[EK_NONE] = { "NONE", "", 200, RETRY_FINAL },
#define ERR(name, http, type, retry) [EK_##name] = { #name, type, http, RETRY_##retry },
#include "err.def"
#undef ERR
};

static const struct {
	const char *text;
	enum err_kind kind;
	enum err_retry retry;
} codes[EC_COUNT] = {
	[EC_NONE] = { "", EK_NONE, RETRY_KIND },
#define CODE(name, text, kind, retry) [EC_##name] = { text, EK_##kind, RETRY_##retry },
#include "errcode.def"
#undef CODE
};

int
err_set(struct err *e, enum err_kind kind, int sys, const char *fmt, ...)
{
	va_list ap;

	e->kind = kind;
	e->sys = sys;
	e->code = EC_NONE;
	e->detail[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->pub, sizeof e->pub, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_fault(struct err *e, enum err_kind kind, int sys, const char *fmt, ...)
{
	va_list ap;

	e->kind = kind;
	e->sys = sys;
	e->code = EC_NONE;
	snprintf(e->pub, sizeof e->pub, "%s",
	    kind == EK_INTERNAL ? "Internal server error" : "The service is temporarily unavailable. Please retry.");
	va_start(ap, fmt);
	vsnprintf(e->detail, sizeof e->detail, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_coded(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	e->sys = 0;
	e->detail[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->pub, sizeof e->pub, fmt, ap);
	va_end(ap);
	return err_code(e, code);
}

int
err_code(struct err *e, enum err_code code)
{
	e->kind = codes[code].kind;
	e->code = code;
	return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char head[sizeof e->detail], old[sizeof e->detail];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(head, sizeof head, fmt, ap);
	va_end(ap);
	memcpy(old, e->detail, sizeof old);
	snprintf(e->detail, sizeof e->detail, "%.*s%s%.*s", (int)sizeof head - 64, head, old[0] ? ": " : "", (int)sizeof old - 1, old);
	return -1;
}

int
err_clear(struct err *e)
{
	memset(e, 0, sizeof *e);
	return 0;
}

int err_http(enum err_kind kind) { return kinds[kind].http; }
const char *err_type(enum err_kind kind) { return kinds[kind].type; }
const char *err_name(enum err_kind kind) { return kinds[kind].name; }
const char *err_code_name(enum err_code code) { return codes[code].text; }
enum err_kind err_code_kind(enum err_code code) { return codes[code].kind; }

enum err_retry
err_retry(const struct err *e)
{
	return codes[e->code].retry != RETRY_KIND ? codes[e->code].retry : kinds[e->kind].retry;
}
