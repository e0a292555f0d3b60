/*
 * seal: secrets at rest. Who holds the public half can seal and cannot read back; only the instance key opens.
 *
 * libsodium sealed boxes in hex, because a column is text. The key file (0400) is read by the one process that opens (today the
 * worker, later roost-model); the public file may be read by anyone. Both hold 64 hex digits and a newline. Sealing the same text
 * twice gives two boxes, so whether a key changed is decided by seal_mark(), not by comparing boxes.
 *
 * A box is bound to its context, a text that says what the secret is for ("provider lab anthropic https://..."): whoever can write
 * the database but not read the key cannot move a box to another row or point its row at another host.
 */
#ifndef ROOST_STORE_SEAL_H
#define ROOST_STORE_SEAL_H

#include <stddef.h>

#include "cleanup.h"
#include "err.h"

#define SEAL_TEXT_MAX 4096	/* longest secret */
#define SEAL_MARK 65		/* a mark in hex with its NUL */

struct seal_pub {
	unsigned char pub[32];
};

/* Opens boxes. Wipe it with seal_wipe() when it is no longer needed. */
struct seal_key {
	unsigned char key[32];
	unsigned char pub[32];
};

/*
 * Make key_path (0400) and pub_path (0444) unless they exist; a missing public file is derived from the key again. An existing key
 * is never replaced: everything sealed before would be lost. Who owns the files is the caller's affair (chown afterwards).
 * *out_made (may be NULL) tells whether a new key was made.
 */
int seal_keygen(const char *key_path, const char *pub_path, int *out_made, struct err *e);

int seal_load_pub(const char *path, struct seal_pub *out, struct err *e);
int seal_load_key(const char *path, struct seal_key *out, struct err *e);
void seal_wipe(struct seal_key *k);

/* Seal a text of at most SEAL_TEXT_MAX bytes. The caller frees *out_hex. */
int seal_text(const struct seal_pub *p, const char *context, const char *text, char **out_hex, struct err *e);

/*
 * Open a box into out (size bytes, NUL-terminated). EK_INVALID when it is not one, was made for another key or another context, or
 * does not fit; out is then empty.
 */
int seal_open(const struct seal_key *k, const char *context, const char *hex, char *out, size_t size, struct err *e);

/* A keyed hash of (context, text): equal texts have equal marks in one instance, and the text cannot be read from it. */
void seal_mark(const struct seal_pub *p, const char *context, const char *text, char hex[SEAL_MARK]);

#endif
