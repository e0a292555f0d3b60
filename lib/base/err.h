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

struct err {
	enum err_kind kind;
	int sys;		/* errno, or 0 */
	char code[48];		/* error.details.error_code on the wire, or "" */
	char pub[512];		/* may reach the API client */
	char detail[512];	/* log only: context added on the way up */
};

#define ERR_INIT { .kind = EK_NONE }

/* Fill e with a kind, an errno (or 0) and the public text. Always returns -1. */
int err_set(struct err *e, enum err_kind kind, int sys, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A fault of ours: the public text stays the fixed one of INTERNAL/UNAVAILABLE, the cause goes to detail. Always returns -1. */
int err_fault(struct err *e, enum err_kind kind, int sys, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Name the wire's error_code (contract 1.11), e.g. "environment_archived". Always returns -1. */
int err_code(struct err *e, const char *code);

/* Put context before detail on the way up. Always returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forget the error; returns 0. */
int err_clear(struct err *e);

/* Lookups in err.def. err_http(EK_NONE) is 200. */
int err_http(enum err_kind kind);
const char *err_type(enum err_kind kind);
int err_retryable(enum err_kind kind);
const char *err_name(enum err_kind kind);

#endif
