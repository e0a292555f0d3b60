/*
 * apikey: makes, parses and hashes API keys.
 *
 * Promises: a key has 256 random bits besides its public id; parsing is total (any bytes may come from a client) and reads at most
 * APIKEY_LEN + 1 of them; comparison takes the same time for every pair of hashes.
 * Does not: look anything up, cache, or keep a key. Fails: only when the pepper file cannot be read or is not 64 hex digits.
 */
#include "apikey.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define PREFIX "rst_"
#define PREFIX_LEN 4
#define SECRET_LEN 43
#define CHECK_LEN 6
#define CHECK_SPACE 56800235584u	/* 62^6 */
#define BODY_LEN (APIKEY_LEN - CHECK_LEN)

_Static_assert(PREFIX_LEN + APIKEY_PUBLIC_LEN + 1 + SECRET_LEN + CHECK_LEN == APIKEY_LEN, "key length");

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* libsodium may be used without it, but its generator is only then safe to use from threads. */
static void
apikey_init(void)
{
	must(sodium_init() >= 0);
}

static bool
base62_all(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!s[i] || !strchr(base62, s[i]))
			return false;
	return true;
}

/* Each character is uniform: 43 of them carry 256 bits. */
static void
base62_random(char *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = base62[randombytes_uniform(62)];
}

/* CRC-32 (IEEE), bitwise: it runs over 60 bytes. */
static uint32_t
crc32_of(const char *s, size_t len)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)s[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
	}
	return ~crc;
}

static void
put_base62(uint64_t v, char out[CHECK_LEN])
{
	for (int i = CHECK_LEN - 1; i >= 0; i--, v /= 62)
		out[i] = base62[v % 62];
}

/* Another message than the stored hash's, so that neither says anything about the other. */
static void
check_of(const struct apikey_pepper *p, const char *key, char out[CHECK_LEN])
{
	static const unsigned char purpose[] = "api key check";
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state st;
	uint64_t v = 0;

	crypto_auth_hmacsha256_init(&st, p->bytes, sizeof p->bytes);
	crypto_auth_hmacsha256_update(&st, purpose, sizeof purpose);
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)key, BODY_LEN);
	crypto_auth_hmacsha256_final(&st, mac);
	for (int i = 0; i < 8; i++)
		v = v << 8 | mac[i];
	put_base62(v % CHECK_SPACE, out);
}

int
apikey_pepper_load(const char *path, struct apikey_pepper *out, struct err *e)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct apikey_pepper p;
	char text[80];
	ssize_t n;
	size_t len;

	if (fd < 0)
		return err_fault(e, EK_INTERNAL, errno, "open pepper file %s", path);
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return err_fault(e, EK_INTERNAL, errno, "read pepper file %s", path);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	if (n != 64 || sodium_hex2bin(p.bytes, sizeof(p.bytes), text, 64, NULL, &len, NULL) != 0 || len != sizeof(p.bytes)) {
		sodium_memzero(text, sizeof(text));
		return err_fault(e, EK_INTERNAL, 0, "pepper file %s does not hold 64 hex digits", path);
	}
	*out = p;
	sodium_memzero(text, sizeof(text));
	sodium_memzero(&p, sizeof(p));
	return 0;
}

void
apikey_new(const struct apikey_pepper *p, char key[APIKEY_LEN + 1], char public_id[APIKEY_PUBLIC_LEN + 1])
{
	apikey_init();
	base62_random(public_id, APIKEY_PUBLIC_LEN);
	public_id[APIKEY_PUBLIC_LEN] = '\0';
	memcpy(key, PREFIX, PREFIX_LEN);
	memcpy(key + PREFIX_LEN, public_id, APIKEY_PUBLIC_LEN);
	key[PREFIX_LEN + APIKEY_PUBLIC_LEN] = '_';
	base62_random(key + PREFIX_LEN + APIKEY_PUBLIC_LEN + 1, SECRET_LEN);
	check_of(p, key, key + BODY_LEN);
	key[APIKEY_LEN] = '\0';
}

enum apikey_form
apikey_parse(const struct apikey_pepper *p, const char *key, char public_id[APIKEY_PUBLIC_LEN + 1])
{
	const char *id = key + PREFIX_LEN;
	char check[CHECK_LEN], old[CHECK_LEN];
	bool good;

	if (strnlen(key, APIKEY_LEN + 1) != APIKEY_LEN || memcmp(key, PREFIX, PREFIX_LEN) != 0)
		return APIKEY_BAD;
	if (!base62_all(id, APIKEY_PUBLIC_LEN) || id[APIKEY_PUBLIC_LEN] != '_' ||
	    !base62_all(id + APIKEY_PUBLIC_LEN + 1, SECRET_LEN + CHECK_LEN))
		return APIKEY_BAD;
	check_of(p, key, check);
	good = sodium_memcmp(check, key + BODY_LEN, CHECK_LEN) == 0;
	if (!good) {
		put_base62(crc32_of(key, BODY_LEN), old);
		if (memcmp(old, key + BODY_LEN, CHECK_LEN) != 0)
			return APIKEY_BAD;
	}
	memcpy(public_id, id, APIKEY_PUBLIC_LEN);
	public_id[APIKEY_PUBLIC_LEN] = '\0';
	return good ? APIKEY_GOOD : APIKEY_OLD;
}

void
apikey_hash(const struct apikey_pepper *p, const char *key, char hex[APIKEY_HEX])
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];

	_Static_assert(sizeof(p->bytes) == crypto_auth_hmacsha256_KEYBYTES, "pepper size");
	_Static_assert(sizeof(mac) * 2 + 1 == APIKEY_HEX, "hash size");
	crypto_auth_hmacsha256(mac, (const unsigned char *)key, strlen(key), p->bytes);
	sodium_bin2hex(hex, APIKEY_HEX, mac, sizeof(mac));
}

bool
apikey_hash_equal(const char *hex_a, const char *hex_b)
{
	size_t a = strnlen(hex_a, APIKEY_HEX), b = strnlen(hex_b, APIKEY_HEX);

	return a == APIKEY_HEX - 1 && b == a && sodium_memcmp(hex_a, hex_b, a) == 0;
}

void
apikey_hint(const char *key, char hint[APIKEY_HINT])
{
	size_t len = strlen(key);

	snprintf(hint, APIKEY_HINT, "%.8s...%s", key, len > 4 ? key + len - 4 : "");
}
