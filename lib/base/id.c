/*
 * id: see id.h. 48 bits of wall milliseconds, 16 bits that count up within a millisecond of this process (so that ids made together
 * keep their order), 64 random bits. 22 base58 digits hold any 128-bit value; fixed width makes text order equal numeric order because
 * the alphabet ascends bytewise.
 */
#include "id.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "xalloc.h"

#define TEN_DIGITS 430804206899405824	/* 58 to the tenth */

static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

void
id_random(void *out, size_t n)
{
	unsigned char *p = out;
	ssize_t got;

	while (n > 0) {
		got = getrandom(p, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		must(got > 0);
		p += got;
		n -= (size_t)got;
	}
}

bool
id_is_name(const char *text)
{
	size_t n = text ? strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-") : 0;

	return n > 0 && n < ID_MAX && text[n] == '\0';
}

uint32_t
id_hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

void
id_base58(const unsigned char bytes[16], char out[23])
{
	unsigned __int128 v = 0, high;
	int i;

	for (i = 0; i < 16; i++)
		v = v << 8 | bytes[i];
	for (i = 22; i > 0; i -= 10, v = high) {	/* long divisions are slow: ten digits of each */
		high = v / TEN_DIGITS;
		for (uint64_t low = (uint64_t)(v - high * TEN_DIGITS), k = 1; k <= 10 && (int)k <= i; k++, low /= 58)
			out[i - (int)k] = alphabet[low % 58];
	}
	out[22] = '\0';
}

/* Random bytes for ids, which are no secrets: the kernel is asked for many at a time. */
static __thread unsigned char pool[256];
static __thread size_t left;

static void
pool_forget(void)
{
	left = 0;
}

/* A forked process must not make its parent's ids. */
__attribute__((constructor)) static void
pool_watch(void)
{
	(void)pthread_atfork(NULL, NULL, pool_forget);
}

void
id_noise(void *out, size_t n)
{
	must(n <= sizeof pool);
	if (left < n) {
		id_random(pool, sizeof pool);
		left = sizeof pool;
	}
	left -= n;
	memcpy(out, pool + left, n);
	explicit_bzero(pool + left, n);
}

/* The next (milliseconds, counter) of this process; never goes back, even when the wall clock does. */
static uint64_t
next_tick(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t last;
	uint64_t now = (uint64_t)(clock_wall_us() / 1000) << 16;

	pthread_mutex_lock(&lock);
	last = now > last ? now : last + 1;
	now = last;
	pthread_mutex_unlock(&lock);
	return now;
}

char *
id_new(const char *prefix, char out[ID_MAX])
{
	unsigned char bytes[16];
	char tail[23];
	uint64_t tick = next_tick();
	int i;

	for (i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(tick >> (56 - 8 * i));
	id_noise(bytes + 8, 8);
	id_base58(bytes, tail);
	snprintf(out, ID_MAX, "%s01%s", prefix, tail);
	return out;
}

bool
id_ok(const char *prefix, const char *text)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 && strncmp(text + n, "01", 2) == 0 && strlen(text + n) == ID_TAIL &&
	    strspn(text + n + 2, alphabet) == ID_TAIL - 2;
}
