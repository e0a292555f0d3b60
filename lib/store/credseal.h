/*
 * credseal: secrets of vault credentials at rest, the half that anyone may have. Who holds the public key can seal and cannot read back;
 * what opens is credopen.h, which roost-vault alone is linked with.
 *
 * A sealed secret is bound to its row: organization, vault, credential, slot, version and all that says where it may be sent is hashed into
 * the sealed text. Who can write the database but not read the key cannot move a secret to another row, bring back an older one, or point
 * its row at another server: it will not open there.
 *
 *   byte 0         CREDSEAL_FORMAT
 *   bytes 1..8     key id: which key opens it, so that keys can be rotated
 *   the rest       sealed box (X25519, XSalsa20-Poly1305) of BLAKE2b-256(binding) and the secret
 */
#ifndef ROOST_STORE_CREDSEAL_H
#define ROOST_STORE_CREDSEAL_H

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "err.h"

#define CREDSEAL_MAX 65536	/* bytes of one secret */
#define CREDSEAL_KEY_ID 17	/* a key id in hex with its NUL */
#define CREDSEAL_FORMAT 1
#define CREDSEAL_HEAD 9		/* bytes before the box */
#define CREDSEAL_HASH 32	/* bytes of the sealed text before the secret */

struct credseal_pub {
	unsigned char pub[32];
	char id[CREDSEAL_KEY_ID];
};

/* What a secret belongs to. Members that the credential has not are NULL. All are what the row says, byte for byte. */
struct cred_bind {
	const char *organization, *vault, *credential, *type, *slot;
	int64_t version;
	const char *secret_name, *mcp_server_url, *token_endpoint, *client_id;
};

/* The current public key. Read it at each write: it is one small file, and a rotated key then needs no restart. */
int credseal_pub_load(const char *path, struct credseal_pub *out, struct err *e);

/*
 * Seal len bytes (1 to CREDSEAL_MAX). *out_bytea is "\x<hex>", the text of a bytea parameter; the caller frees it. key_id says what was
 * used. Plain copies made here are wiped.
 */
int credseal_secret(const struct credseal_pub *p, const struct cred_bind *b, const char *secret, size_t len, char **out_bytea,
    char key_id[CREDSEAL_KEY_ID], struct err *e);

/* For credopen and the tool that makes keys: the id of a public key, the hash of a binding, a file of 64 hex digits. */
void credseal_id(const unsigned char pub[32], char id[CREDSEAL_KEY_ID]);
void credseal_hash(const struct cred_bind *b, unsigned char hash[CREDSEAL_HASH]);
int credseal_file(const char *path, unsigned char out[32], struct err *e);

#endif
