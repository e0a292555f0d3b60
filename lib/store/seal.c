/*
 * seal: sealed boxes (X25519 + XSalsa20-Poly1305) with a bound context.
 *
 * What is sealed is BLAKE2b-256(context) followed by the text; opening compares the hash first. Plain texts and secret keys are wiped
 * from the buffers used here. Files are read whole and must be exactly 64 hex digits and an optional newline, so a truncated or
 * foreign file is refused by name instead of giving a wrong key.
 */
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xalloc.h"

#define KEY_HEX 64
#define CONTEXT_HASH 32

static void
ready(void)
{
	must(sodium_init() >= 0);
}

/* Read a key file into 32 bytes. */
static int
load(const char *path, unsigned char out[32], struct err *e)
{
	char text[KEY_HEX + 2];
	size_t used = 0;
	ssize_t n;
	int rc = 0;
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	ready();
	if (fd < 0)
		return err_set(e, EK_INVALID, errno, "key file %s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text));
	if (n == KEY_HEX + 1 && text[KEY_HEX] == '\n')
		n = KEY_HEX;
	if (n != KEY_HEX || sodium_hex2bin(out, 32, text, KEY_HEX, NULL, &used, NULL) != 0 || used != 32)
		rc = err_set(e, EK_INVALID, 0, "key file %s: not 64 hex digits", path);
	sodium_memzero(text, sizeof(text));
	return rc;
}

int
seal_load_pub(const char *path, struct seal_pub *out, struct err *e)
{
	return load(path, out->pub, e);
}

int
seal_load_key(const char *path, struct seal_key *out, struct err *e)
{
	if (load(path, out->key, e) < 0)
		return -1;
	if (crypto_scalarmult_base(out->pub, out->key) != 0)
		return err_set(e, EK_INVALID, 0, "key file %s: not a usable key", path);
	return 0;
}

void
seal_wipe(struct seal_key *k)
{
	sodium_memzero(k, sizeof(*k));
}

/* Write a new file of its own; an existing one is an error (EEXIST in e->sys). */
static int
store(const char *path, mode_t mode, const unsigned char bytes[32], struct err *e)
{
	char text[KEY_HEX + 2];
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	int rc = 0;

	if (fd < 0)
		return err_set(e, EK_INVALID, errno, "key file %s: %s", path, strerror(errno));
	sodium_bin2hex(text, KEY_HEX + 1, bytes, 32);
	text[KEY_HEX] = '\n';
	/* fchmod: the mode of open() is cut by the umask */
	if (fchmod(fd, mode) < 0 || write(fd, text, KEY_HEX + 1) != KEY_HEX + 1 || fsync(fd) < 0) {
		rc = err_set(e, EK_INVALID, errno, "key file %s: %s", path, strerror(errno));
		unlink(path);
	}
	sodium_memzero(text, sizeof(text));
	return rc;
}

int
seal_keygen(const char *key_path, const char *pub_path, int *out_made, struct err *e)
{
	struct seal_key k;
	struct seal_pub p;
	int made = 0, rc = 0;

	ready();
	if (access(key_path, F_OK) != 0) {
		crypto_box_keypair(k.pub, k.key);
		rc = store(key_path, 0400, k.key, e);
		made = 1;
		if (rc == 0)
			unlink(pub_path);	/* of a key that is gone */
	} else {
		rc = seal_load_key(key_path, &k, e);
	}
	if (rc == 0 && access(pub_path, F_OK) != 0)
		rc = store(pub_path, 0444, k.pub, e);
	else if (rc == 0 && (rc = seal_load_pub(pub_path, &p, e)) == 0 && memcmp(p.pub, k.pub, sizeof(p.pub)) != 0)
		rc = err_set(e, EK_INVALID, 0, "key files %s and %s do not belong together", key_path, pub_path);
	seal_wipe(&k);
	if (rc == 0 && out_made)
		*out_made = made;
	return rc;
}

int
seal_text(const struct seal_pub *p, const char *context, const char *text, char **out_hex, struct err *e)
{
	unsigned char plain[CONTEXT_HASH + SEAL_TEXT_MAX], box[crypto_box_SEALBYTES + sizeof(plain)];
	size_t len = strlen(text), n = CONTEXT_HASH + len, boxed = crypto_box_SEALBYTES + n;

	ready();
	if (len > SEAL_TEXT_MAX)
		return err_set(e, EK_INVALID, 0, "a secret is longer than %d bytes", SEAL_TEXT_MAX);
	crypto_generichash(plain, CONTEXT_HASH, (const unsigned char *)context, strlen(context), NULL, 0);
	memcpy(plain + CONTEXT_HASH, text, len);
	if (crypto_box_seal(box, plain, n, p->pub) != 0) {
		sodium_memzero(plain, sizeof(plain));
		return err_set(e, EK_INVALID, 0, "the public key cannot be used");
	}
	sodium_memzero(plain, sizeof(plain));
	*out_hex = xmalloc(2 * boxed + 1);
	sodium_bin2hex(*out_hex, 2 * boxed + 1, box, boxed);
	return 0;
}

int
seal_open(const struct seal_key *k, const char *context, const char *hex, char *out, size_t size, struct err *e)
{
	unsigned char plain[CONTEXT_HASH + SEAL_TEXT_MAX], box[crypto_box_SEALBYTES + sizeof(plain)], hash[CONTEXT_HASH];
	size_t boxed = 0, len;
	int rc = -1;

	ready();
	out[0] = '\0';
	if (sodium_hex2bin(box, sizeof(box), hex, strlen(hex), NULL, &boxed, NULL) != 0 || boxed < crypto_box_SEALBYTES + CONTEXT_HASH)
		return err_set(e, EK_INVALID, 0, "not a sealed box");
	len = boxed - crypto_box_SEALBYTES - CONTEXT_HASH;
	crypto_generichash(hash, sizeof(hash), (const unsigned char *)context, strlen(context), NULL, 0);
	if (crypto_box_seal_open(plain, box, boxed, k->pub, k->key) != 0)
		err_set(e, EK_INVALID, 0, "sealed for another key");
	else if (sodium_memcmp(plain, hash, CONTEXT_HASH) != 0)
		err_set(e, EK_INVALID, 0, "sealed for another purpose");
	else if (len >= size || memchr(plain + CONTEXT_HASH, '\0', len))
		err_set(e, EK_INVALID, 0, "the sealed text does not fit");
	else
		rc = 0;
	if (rc == 0) {
		memcpy(out, plain + CONTEXT_HASH, len);
		out[len] = '\0';
	}
	sodium_memzero(plain, sizeof(plain));
	return rc;
}

void
seal_mark(const struct seal_pub *p, const char *context, const char *text, char hex[SEAL_MARK])
{
	unsigned char hash[32];
	crypto_generichash_state st;

	ready();
	crypto_generichash_init(&st, p->pub, sizeof(p->pub), sizeof(hash));
	crypto_generichash_update(&st, (const unsigned char *)context, strlen(context) + 1);
	crypto_generichash_update(&st, (const unsigned char *)text, strlen(text));
	crypto_generichash_final(&st, hash, sizeof(hash));
	sodium_memzero(&st, sizeof(st));
	sodium_bin2hex(hex, SEAL_MARK, hash, sizeof(hash));
}
