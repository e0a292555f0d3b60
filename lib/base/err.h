/*
 * err: the one error value of every layer.
 *
 * A function that can fail takes `struct err *e` last and returns 0 or -1 (or NULL). On success e is untouched. Buffers are fixed,
 * so failing never allocates. `pub` may reach an API client; `detail` is for the log only and grows on the way up by err_wrap().
 */
#ifndef ROOST_BASE_ERR_H
#define ROOST_BASE_ERR_H

enum err_kind {
	EK_NONE,
#define ERR(name, http, type, retry) EK_##name,
#include "err.def"
#undef ERR
	EK_COUNT
};

/* error.details.error_code of the wire: EC_ENVIRONMENT_ARCHIVED ... of errcode.def. */
enum err_code {
	EC_NONE,
#define CODE(name, text, kind, retry) EC_##name,
#include "errcode.def"
#undef CODE
	EC_COUNT
};

/* What a client is told about trying again. */
enum err_retry {
	RETRY_KIND,		/* of a code: what its kind says */
	RETRY_FINAL,		/* nothing: no client repeats such a status by itself */
	RETRY_NEVER,		/* x-should-retry: false */
	RETRY_OPEN,		/* nothing: it may try again as it likes */
	RETRY_AFTER,		/* retry-after */
	RETRY_AGAIN		/* x-should-retry: true, retry-after */
};

struct err {
	enum err_kind kind;
	int sys;		/* errno, or 0 */
	enum err_code code;	/* EC_NONE: the error has no details */
	char pub[512];		/* may reach the API client */
	char detail[512];	/* log only: context added on the way up */
};

#define ERR_INIT { .kind = EK_NONE }

/* Fill e with a kind, an errno (or 0) and the public text. Always returns -1. */
int err_set(struct err *e, enum err_kind kind, int sys, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A fault of ours: the public text stays the fixed one of INTERNAL/UNAVAILABLE, the cause goes to detail. Always returns -1. */
int err_fault(struct err *e, enum err_kind kind, int sys, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* An error with a code; its kind is the code's. Always returns -1. */
int err_coded(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Give an error that is set a code; its kind becomes the code's. Always returns -1. */
int err_code(struct err *e, enum err_code code);

/* Put context before detail on the way up. Always returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forget the error; returns 0. */
int err_clear(struct err *e);

/* Lookups in err.def. err_http(EK_NONE) is 200. */
int err_http(enum err_kind kind);
const char *err_type(enum err_kind kind);
const char *err_name(enum err_kind kind);
/* The code's text on the wire, "" for EC_NONE, and the kind it belongs to. */
const char *err_code_name(enum err_code code);
enum err_kind err_code_kind(enum err_code code);
/* By code and kind; never RETRY_KIND. */
enum err_retry err_retry(const struct err *e);

#endif
