/*
 * apikey: the format of an API key and its keyed hash (operations.md B2), shared by who makes keys (roostctl) and who checks them.
 *
 *   rst_<12 characters public id>_<43 characters secret><6 characters check>      all base62
 *
 * The public id finds the row; the row keeps HMAC-SHA256(pepper, whole key) in hex, never the key. The check is a keyed hash of what
 * precedes it, cut to 35 bits: who does not know the instance's pepper can invent no key that passes, so invented keys cost no database
 * lookup. Keys made before carry a CRC32 there, which anybody can compute; they still parse, as old ones, and whoever looks them up has
 * to bound how often. 256 random bits need no slow hash.
 */
#ifndef ROOST_STORE_APIKEY_H
#define ROOST_STORE_APIKEY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define APIKEY_PUBLIC_LEN 12
#define APIKEY_LEN 66
#define APIKEY_HEX 65		/* hash in hex with its NUL */
#define APIKEY_HINT 24		/* "rst_AbCd...wxyz" with its NUL */

struct apikey_pepper {
	unsigned char bytes[32];
};

/* Read the 0400 pepper file: 64 hex digits and an optional newline. */
int apikey_pepper_load(const char *path, struct apikey_pepper *out, struct err *e);

/* Make a key and its public id. The caller wipes key when it has been shown. */
void apikey_new(const struct apikey_pepper *p, char key[APIKEY_LEN + 1], char public_id[APIKEY_PUBLIC_LEN + 1]);

enum apikey_form { APIKEY_BAD, APIKEY_GOOD, APIKEY_OLD };

/* Is it well-formed, check included? Copies the public id unless it is bad. Says nothing about whether the key exists. */
enum apikey_form apikey_parse(const struct apikey_pepper *p, const char *key, char public_id[APIKEY_PUBLIC_LEN + 1]);

/* The hex that is stored for this key. */
void apikey_hash(const struct apikey_pepper *p, const char *key, char hex[APIKEY_HEX]);

/* Constant-time comparison of two hashes in hex; false when either has another length. */
bool apikey_hash_equal(const char *hex_a, const char *hex_b);

/* What people may see of a key: its first eight characters and its last four. */
void apikey_hint(const char *key, char hint[APIKEY_HINT]);

#endif
