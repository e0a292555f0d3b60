/*
 * credseal: see credseal.h. The binding is hashed with the length of each member before it and a byte that tells an absent one from an
 * empty one, so that no two bindings give the same bytes. The plain text lives in guarded, locked memory of libsodium while it is sealed.
 *
 * Fails with EK_INVALID for a secret that is empty or too long, EK_UNAVAILABLE when the public key cannot be read: nothing can be sealed,
 * and nothing is stored unsealed.
 */
#include "credseal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "xalloc.h"

#define KEY_HEX 64
#define DOMAIN "roost credential 1"

int
credseal_file(const char *path, unsigned char out[32], struct err *e)
{
	char text[KEY_HEX + 2];
	size_t used = 0;
	ssize_t n;
	bool good;
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	must(sodium_init() >= 0);
	if (fd < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "key file %s: %s", path, strerror(errno));
	n = read(fd, text, sizeof text);
	if (n == KEY_HEX + 1 && text[KEY_HEX] == '\n')
		n = KEY_HEX;
	good = n == KEY_HEX && sodium_hex2bin(out, 32, text, KEY_HEX, NULL, &used, NULL) == 0 && used == 32;
	sodium_memzero(text, sizeof text);
	return good ? 0 : err_fault(e, EK_UNAVAILABLE, 0, "key file %s: not 64 hex digits", path);
}

void
credseal_id(const unsigned char pub[32], char id[CREDSEAL_KEY_ID])
{
	unsigned char hash[crypto_generichash_BYTES_MIN];

	crypto_generichash(hash, sizeof hash, pub, 32, (const unsigned char *)DOMAIN " key", sizeof DOMAIN " key" - 1);
	sodium_bin2hex(id, CREDSEAL_KEY_ID, hash, CREDSEAL_KEY_ID / 2);
}

int
credseal_pub_load(const char *path, struct credseal_pub *out, struct err *e)
{
	if (credseal_file(path, out->pub, e) < 0)
		return -1;
	credseal_id(out->pub, out->id);
	return 0;
}

static void
put64(unsigned char to[8], uint64_t v)
{
	for (int i = 0; i < 8; i++)
		to[i] = (unsigned char)(v >> (8 * i));
}

static void
hash_member(crypto_generichash_state *st, const char *s)
{
	uint64_t len = s ? strlen(s) : 0;
	unsigned char head[9] = { s != NULL };

	put64(head + 1, len);
	crypto_generichash_update(st, head, sizeof head);
	if (s)
		crypto_generichash_update(st, (const unsigned char *)s, len);
}

void
credseal_hash(const struct cred_bind *b, unsigned char hash[CREDSEAL_HASH])
{
	const char *const members[] = { DOMAIN, b->organization, b->vault, b->credential, b->type, b->slot, b->secret_name, b->mcp_server_url,
	    b->token_endpoint, b->client_id };
	crypto_generichash_state st;
	unsigned char version[8];

	crypto_generichash_init(&st, NULL, 0, CREDSEAL_HASH);
	for (size_t i = 0; i < sizeof members / sizeof *members; i++)
		hash_member(&st, members[i]);
	put64(version, (uint64_t)b->version);
	crypto_generichash_update(&st, version, sizeof version);
	crypto_generichash_final(&st, hash, CREDSEAL_HASH);
}

int
credseal_secret(const struct credseal_pub *p, const struct cred_bind *b, const char *secret, size_t len, char **out_bytea,
    char key_id[CREDSEAL_KEY_ID], struct err *e)
{
	size_t n = CREDSEAL_HASH + len, total = CREDSEAL_HEAD + crypto_box_SEALBYTES + n, used = 0;
	unsigned char *plain, *box;
	int rc = -1;

	must(sodium_init() >= 0);
	if (len == 0 || len > CREDSEAL_MAX)
		return err_set(e, EK_INVALID, 0, "A secret must have 1 to %d bytes", CREDSEAL_MAX);
	must((plain = sodium_malloc(n)) != NULL);
	box = xmalloc(total);
	box[0] = CREDSEAL_FORMAT;
	must(sodium_hex2bin(box + 1, CREDSEAL_HEAD - 1, p->id, CREDSEAL_KEY_ID - 1, NULL, &used, NULL) == 0 && used == CREDSEAL_HEAD - 1);
	credseal_hash(b, plain);
	memcpy(plain + CREDSEAL_HASH, secret, len);
	if (crypto_box_seal(box + CREDSEAL_HEAD, plain, n, p->pub) == 0) {
		*out_bytea = xmalloc(2 * total + 3);
		memcpy(*out_bytea, "\\x", 2);
		sodium_bin2hex(*out_bytea + 2, 2 * total + 1, box, total);
		memcpy(key_id, p->id, CREDSEAL_KEY_ID);
		rc = 0;
	} else {
		(void)err_fault(e, EK_UNAVAILABLE, 0, "the vault's public key %s cannot be used", p->id);
	}
	sodium_free(plain);
	free(box);
	return rc;
}
