/*
 * failure: the table of what providers answer when they do not answer.
 *
 * What it promises: every status gives a type of contract 3.7, a retry rule and a sentence for the client. 401 and 403 never show the
 * provider's words (they quote keys). A context that does not fit is terminal, because a session's log only grows. It decides
 * nothing about waiting; the harness does.
 */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_BODY_DEPTH 32

static const struct {
	int from, to;
	const char *type;
	bool retryable, next;
	const char *text;
} rules[] = {
	{ 300, 399, "model_request_failed_error",  false, false, "The model provider redirected the request, which is not followed" },
	{ 401, 401, "model_request_failed_error",  false, false, "The model provider refused the credentials configured for this model" },
	{ 402, 402, "billing_error",               false, false, "The model provider's account cannot pay for the request" },
	{ 403, 403, "model_request_failed_error",  false, false, "The model provider does not permit this request with the configured credentials" },
	{ 404, 404, "model_request_failed_error",  false, false, "The model provider does not know this model or address" },
	{ 408, 408, "model_request_failed_error",  true,  true,  "The model provider timed out" },
	{ 429, 429, "model_rate_limited_error",    true,  true,  "The model provider limits the rate of requests" },
	{ 400, 499, "model_request_failed_error",  false, false, "The model provider refused the request" },
	{ 503, 503, "model_overloaded_error",      true,  true,  "The model provider is overloaded" },
	{ 504, 504, "model_request_failed_error",  true,  true,  "The model provider timed out" },
	{ 529, 529, "model_overloaded_error",      true,  true,  "The model provider is overloaded" },
	{ 500, 599, "model_request_failed_error",  true,  true,  "The model provider failed" },
	{ 0,   999, "unknown_error",               true,  true,  "The model provider gave an answer that means nothing" },
};

/* Error types and codes of both dialects, as statuses. */
static const struct { const char *word; int status; } words[] = {
	{ "overloaded_error", 529 },		{ "rate_limit_error", 429 },		{ "api_error", 500 },
	{ "authentication_error", 401 },	{ "permission_error", 403 },		{ "not_found_error", 404 },
	{ "request_too_large", 413 },		{ "timeout_error", 504 },		{ "billing_error", 402 },
	{ "invalid_request_error", 400 },	{ "rate_limit_exceeded", 429 },		{ "insufficient_quota", 429 },
	{ "context_length_exceeded", 400 },	{ "server_error", 500 },		{ "invalid_api_key", 401 },
	{ "tokens", 429 },			{ "requests", 429 },			{ "internal_error", 500 },
	{ "BadRequestError", 400 },		{ "exceed_context_size_error", 400 },	{ "service_unavailable", 503 },
};

/* How providers say that the conversation does not fit. */
static const char *const overflow_signs[] = {
	"prompt is too long", "context_length_exceeded", "maximum context length", "context length exceeded", "exceeds the context",
	"exceed context limit", "exceed_context_size_error", "exceeds the available context size", "input is too long",
	"context window", "request_too_large", "reduce the length of the messages",
};

static void
start(struct failure *out, const char *type, bool retryable, bool next)
{
	*out = (struct failure){ .f = { .type = type, .retryable = retryable }, .next = next };
}

void
failure_broken(struct failure *out, const char *fmt, ...)
{
	va_list ap;

	start(out, "model_request_failed_error", true, true);
	va_start(ap, fmt);
	vsnprintf(out->f.message, sizeof(out->f.message), fmt, ap);
	va_end(ap);
}

void
failure_final(struct failure *out, const char *fmt, ...)
{
	va_list ap;

	start(out, "model_request_failed_error", false, false);
	va_start(ap, fmt);
	vsnprintf(out->f.message, sizeof(out->f.message), fmt, ap);
	va_end(ap);
}

void
failure_over(struct failure *out)
{
	failure_final(out, "The model provider's reply is larger than allowed.");
}

/* Copy text without control characters, cut at a whole character. Nothing when it holds the secret. */
static void
clean(char *to, size_t size, const char *text, const char *secret)
{
	size_t n = strlen(text);

	to[0] = '\0';
	if (secret[0] && strstr(text, secret))
		return;
	if (n >= size) {
		for (n = size - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
			;
	}
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	to[n] = '\0';
}

static bool
overflows(int status, const char *type, const char *code, const char *said)
{
	if (status == 413)
		return true;
	if (status != 400 && status != 422 && status != 500)
		return false;
	for (size_t i = 0; i < sizeof(overflow_signs) / sizeof(overflow_signs[0]); i++) {
		const char *sign = overflow_signs[i];

		if (strcasestr(said, sign) || !strcmp(code, sign) || !strcmp(type, sign))
			return true;
	}
	return false;
}

/* A provider's error by status; type, code and said (may be empty) are the provider's own words. secret must not show (may be ""). */
static void
failure_status(struct failure *out, int status, const char *type, const char *code, const char *said, const char *secret)
{
	char sentence[200];
	size_t i = 0;

	while (status < rules[i].from || status > rules[i].to) {
		if (++i == sizeof(rules) / sizeof(rules[0]) - 1)
			break;
	}
	start(out, rules[i].type, rules[i].retryable, rules[i].next);
	out->f.http = status;
	clean(out->said, sizeof(out->said), said, secret);
	clean(sentence, sizeof(sentence), said, secret);
	if (status == 401 || status == 403)
		sentence[0] = '\0';
	if (overflows(status, type, code, said)) {
		start(out, "unknown_error", false, false);
		out->f.terminal = true;
		out->f.http = status;
		snprintf(out->f.message, sizeof(out->f.message), "%s",
		    sentence[0] ? sentence : "The conversation is larger than the model provider accepts.");
		return;
	}
	if (!strcmp(code, "insufficient_quota") || !strcmp(type, "insufficient_quota") || !strcmp(type, "billing_error") ||
	    (status == 400 && strcasestr(said, "credit balance"))) {
		out->f.type = "billing_error";
		out->f.retryable = false;
	}
	snprintf(out->f.message, sizeof(out->f.message), sentence[0] ? "%s: %s" : "%s.", rules[i].text, sentence);
}

/* A member's string, decoded into to; "" when it is none. */
static void
member(struct jspan object, const char *key, char *to, size_t size)
{
	AUTO(buf) struct buf text = BUF_INIT(size - 1);
	struct jspan v;

	to[0] = '\0';
	if (!jspan_get(object, key, &v))
		return;
	if (*v.p >= '0' && *v.p <= '9')
		snprintf(to, size, "%.*s", (int)(v.n < 20 ? v.n : 20), v.p);
	if (*v.p != '"')
		return;
	/* Undecodable beyond the limit: keep the beginning. */
	if (v.n > size - 2)
		v.n = size - 2;
	jspan_unquote(&text, (struct jspan){ v.p, v.n });
	if (text.data && !text.over)
		memcpy(to, text.data, strlen(text.data) + 1);
}

void
failure_body(struct failure *out, int status, const char *body, size_t len, const char *secret)
{
	struct jspan whole = { body, len }, error;
	char type[64] = "", code[64] = "", said[512] = "";

	if (!jspan_check_object(body, len, ERROR_BODY_DEPTH)) {
		failure_status(out, status, "", "", "", secret);
		return;
	}
	while (whole.n && *whole.p != '{') {
		whole.p++;
		whole.n--;
	}
	while (whole.n && whole.p[whole.n - 1] != '}')
		whole.n--;
	if (!jspan_get(whole, "error", &error) || *error.p == 'n')
		error = whole;
	if (*error.p == '"') {
		member(whole, "error", said, sizeof(said));
		failure_status(out, status, "", "", said, secret);
		return;
	}
	member(error, "type", type, sizeof(type));
	member(error, "code", code, sizeof(code));
	member(error, "message", said, sizeof(said));
	if (!said[0])
		member(error, "detail", said, sizeof(said));
	failure_status(out, status, type, code, said, secret);
}

int
failure_implied_status(struct jspan error)
{
	char word[64];
	static const char *const keys[] = { "code", "type", "status" };

	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		int status;

		member(error, keys[k], word, sizeof(word));
		status = atoi(word);
		if (status >= 400 && status <= 599)
			return status;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (!strcmp(word, words[i].word))
				return words[i].status;
		}
	}
	return 500;
}
