/*
 * attempt: see attempt.h. The decision, best evidence first:
 *
 *   Idempotency-Key         the call is the key                       one effect per key
 *   traceparent             trace-id, parent-id, method, path, body   the SDK keeps one span over all attempts of a call
 *   X-Stainless-Retry-Count method, path, body                        only a count above 0 is taken for a retry
 *   none                    every request is a call of its own
 *
 * Everything is hashed with the credential and the workspace, so one tenant's requests never meet another's. The hash is 128 bits of
 * BLAKE2b; each part goes in with its length.
 */
#include "attempt.h"

#include <sodium.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HASH 16
#define COUNT_MAX 1000

static void
part(crypto_generichash_state *st, const void *data, size_t len)
{
	uint64_t n = len;

	crypto_generichash_update(st, (const unsigned char *)&n, sizeof n);
	crypto_generichash_update(st, data, len);
}

static void
text(crypto_generichash_state *st, const char *s, size_t len)
{
	part(st, s, len);
}

static void
uuid_text(const unsigned char b[HASH], char out[DEDUPE_UUID])
{
	snprintf(out, DEDUPE_UUID, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
	    b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static int
key_check(const char *key, struct err *e)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < n; i++)
		if (key[i] < ' ' || key[i] > '~')
			n = 0;
	if (n < 1 || n > ATTEMPT_KEY_MAX)
		return err_set(e, EK_INVALID, 0, "idempotency-key: must be 1 to %d printable ASCII characters", ATTEMPT_KEY_MAX);
	return 0;
}

static int
count_of(const char *s)
{
	char *end;
	long v;

	if (!s || s[0] < '0' || s[0] > '9')
		return -1;
	v = strtol(s, &end, 10);
	return *end || v > COUNT_MAX ? -1 : (int)v;
}

static bool
hex(const char *s, size_t n)
{
	return strspn(s, "0123456789abcdef") >= n && strspn(s, "0") < n;
}

/* `version-traceid-parentid-flags` (W3C Trace Context); a later version may go on behind the flags. */
static bool
trace_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n >= 55 && strspn(s, "0123456789abcdef") == 2 && strncmp(s, "ff", 2) != 0 && s[2] == '-' && hex(s + 3, 32) && s[35] == '-' &&
	    hex(s + 36, 16) && s[52] == '-' && strspn(s + 53, "0123456789abcdef") == 2 && (s[55] == '-' || s[55] == '\0') &&
	    (n == 55 || strncmp(s, "00", 2) != 0);
}

static void
digest_of(const struct attempt_call *c, unsigned char out[HASH])
{
	crypto_generichash_state st;

	crypto_generichash_init(&st, c->key, c->key ? ATTEMPT_HASH_KEY : 0, HASH);
	text(&st, c->method, strlen(c->method));
	text(&st, c->uri, strlen(c->uri));
	part(&st, c->body ? c->body : "", c->body_len);
	crypto_generichash_final(&st, out, HASH);
}

int
attempt_read(const struct attempt_headers *h, const struct attempt_call *c, struct dedupe_id *out, struct err *e)
{
	unsigned char digest[HASH], ident[HASH];
	char kind;
	crypto_generichash_state st;

	*out = (struct dedupe_id){ .count = count_of(h->retry_count) };
	if (h->key && key_check(h->key, e) < 0)
		return -1;
	out->kind = h->key ? DEDUPE_KEY : trace_ok(h->traceparent) ? DEDUPE_TRACE : out->count >= 0 ? DEDUPE_PLAIN : DEDUPE_NONE;
	if (out->kind == DEDUPE_NONE)
		return 0;
	kind = (char)out->kind;
	digest_of(c, digest);
	crypto_generichash_init(&st, NULL, 0, HASH);
	text(&st, c->credential, strlen(c->credential));
	text(&st, c->workspace, strlen(c->workspace));
	part(&st, &kind, 1);
	if (out->kind == DEDUPE_KEY)
		text(&st, h->key, strlen(h->key));
	else
		part(&st, digest, HASH);
	if (out->kind == DEDUPE_TRACE)
		text(&st, h->traceparent + 3, 49);	/* trace-id and parent-id; flags may change on the way */
	crypto_generichash_final(&st, ident, HASH);
	uuid_text(ident, out->ident);
	uuid_text(digest, out->digest);
	memcpy(&out->lock, ident, sizeof out->lock);
	return 0;
}
