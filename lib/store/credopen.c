/*
 * credopen: see credopen.h. Keys are in one guarded block that libsodium locks; opened text too. A file whose name is not its key's id is
 * refused, so that a mixed-up backup is noticed when the process starts and not when a customer's secret does not open.
 *
 * Making a key writes the private file first and syncs it: the public file never names a key that could be lost with the power.
 */
#include "credopen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xalloc.h"

#define KEYS_MAX 64
#define SUFFIX ".key"

struct one {
	char id[CREDSEAL_KEY_ID];
	unsigned char pub[32], key[32];
};

struct credkeys {
	int n;
	struct one *keys;	/* guarded */
};

/* --- the folder -------------------------------------------------------------------------------------------------------------- */

bool
credkeys_is_file(const char *name)
{
	return strlen(name) == CREDSEAL_KEY_ID - 1 + strlen(SUFFIX) && strspn(name, "0123456789abcdef") == CREDSEAL_KEY_ID - 1 &&
	    strcmp(name + CREDSEAL_KEY_ID - 1, SUFFIX) == 0;
}

static int
load(const char *dir, const char *name, struct one *out, struct err *e)
{
	AUTO(str) char *path = xasprintf("%s/%s", dir, name);

	if (credseal_file(path, out->key, e) < 0)
		return -1;
	if (crypto_scalarmult_base(out->pub, out->key) != 0)
		return err_fault(e, EK_UNAVAILABLE, 0, "key file %s: not a usable key", path);
	credseal_id(out->pub, out->id);
	if (strncmp(out->id, name, CREDSEAL_KEY_ID - 1) != 0)
		return err_fault(e, EK_UNAVAILABLE, 0, "key file %s holds key %s", path, out->id);
	return 0;
}

struct credkeys *
credkeys_open(const char *dir, struct err *e)
{
	struct credkeys *k = xcalloc(1, sizeof *k);
	const struct dirent *entry;
	int rc = 0;
	DIR *d = opendir(dir);

	must(sodium_init() >= 0);
	must((k->keys = sodium_allocarray(KEYS_MAX, sizeof *k->keys)) != NULL);
	if (!d)
		rc = err_fault(e, EK_UNAVAILABLE, errno, "key folder %s: %s", dir, strerror(errno));
	while (d && rc == 0 && (entry = readdir(d)) != NULL)
		if (credkeys_is_file(entry->d_name)) {
			if (k->n == KEYS_MAX)
				rc = err_fault(e, EK_UNAVAILABLE, 0, "key folder %s: more than %d keys", dir, KEYS_MAX);
			else if ((rc = load(dir, entry->d_name, &k->keys[k->n], e)) == 0)
				k->n++;
		}
	if (d)
		closedir(d);
	if (rc == 0 && k->n == 0)
		rc = err_fault(e, EK_NOT_FOUND, 0, "key folder %s has no key", dir);
	if (rc < 0)
		credkeys_close(&k);
	return k;
}

void
credkeys_close(struct credkeys **k)
{
	if (!*k)
		return;
	sodium_free((*k)->keys);
	free(*k);
	*k = NULL;
}

/* --- opening ----------------------------------------------------------------------------------------------------------------- */

static const struct one *
key_of(const struct credkeys *k, const unsigned char *box)
{
	char id[CREDSEAL_KEY_ID];

	sodium_bin2hex(id, sizeof id, box + 1, CREDSEAL_HEAD - 1);
	for (int i = 0; i < k->n; i++)
		if (strcmp(k->keys[i].id, id) == 0)
			return &k->keys[i];
	return NULL;
}

static int
refused(const struct cred_bind *b, const char *why, struct err *e)
{
	return err_fault(e, EK_INTERNAL, 0, "credential %s, %s: %s", b->credential, b->slot, why);
}

int
cred_open(const struct credkeys *k, const struct cred_bind *b, const unsigned char *box, size_t len, char **out, size_t *out_len,
    struct err *e)
{
	unsigned char hash[CREDSEAL_HASH], *plain;
	const struct one *key;
	size_t n;
	int rc;

	if (len <= CREDSEAL_HEAD + crypto_box_SEALBYTES + CREDSEAL_HASH || box[0] != CREDSEAL_FORMAT)
		return refused(b, "not a sealed secret", e);
	if (!(key = key_of(k, box)))
		return err_fault(e, EK_UNAVAILABLE, 0, "credential %s, %s: the key that opens it is not here", b->credential, b->slot);
	n = len - CREDSEAL_HEAD - crypto_box_SEALBYTES;
	must((plain = sodium_malloc(n)) != NULL);
	credseal_hash(b, hash);
	if (crypto_box_seal_open(plain, box + CREDSEAL_HEAD, len - CREDSEAL_HEAD, key->pub, key->key) != 0)
		rc = refused(b, "altered", e);
	else if (sodium_memcmp(plain, hash, CREDSEAL_HASH) != 0)
		rc = refused(b, "sealed for another row", e);
	else if (memchr(plain + CREDSEAL_HASH, '\0', n - CREDSEAL_HASH))
		rc = refused(b, "not text", e);
	else
		rc = 0;
	if (rc == 0) {
		*out_len = n - CREDSEAL_HASH;
		must((*out = sodium_malloc(*out_len + 1)) != NULL);
		memcpy(*out, plain + CREDSEAL_HASH, *out_len);
		(*out)[*out_len] = '\0';
	}
	sodium_free(plain);
	return rc;
}

int
cred_open_text(const struct credkeys *k, const struct cred_bind *b, const char *bytea, char **out, size_t *out_len, struct err *e)
{
	size_t hex = strlen(bytea), len = 0;
	unsigned char *box;
	int rc;

	if (hex < 2 || memcmp(bytea, "\\x", 2) != 0)
		return refused(b, "not a sealed secret", e);
	box = xmalloc(hex / 2 + 1);
	if (sodium_hex2bin(box, hex / 2, bytea + 2, hex - 2, NULL, &len, NULL) != 0 || len != hex / 2 - 1)
		rc = refused(b, "not a sealed secret", e);
	else
		rc = cred_open(k, b, box, len, out, out_len, e);
	free(box);
	return rc;
}

/* --- making ------------------------------------------------------------------------------------------------------------------ */

/* A whole, synced file under its final name, or none. */
static int
write_key(const char *path, const unsigned char bytes[32], mode_t mode, const struct stat *owner, struct err *e)
{
	AUTO(str) char *draft = xasprintf("%s.new", path);
	AUTO(fd) int fd = -1;
	char text[66];
	int rc = 0;

	(void)unlink(draft);
	fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "key file %s: %s", draft, strerror(errno));
	sodium_bin2hex(text, sizeof text, bytes, 32);
	memcpy(text + 64, "\n", 2);
	if (write(fd, text, 65) != 65 || (owner && fchown(fd, owner->st_uid, owner->st_gid) < 0) || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
	    rename(draft, path) < 0) {
		rc = err_fault(e, EK_UNAVAILABLE, errno, "key file %s: %s", path, strerror(errno));
		(void)unlink(draft);
	}
	sodium_memzero(text, sizeof text);
	return rc;
}

static int
sync_dir(const char *dir, struct err *e)
{
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 ? 0 : err_fault(e, EK_UNAVAILABLE, errno, "key folder %s: %s", dir, strerror(errno));
}

/* What is there already: 1 current key known, 0 no key at all. */
static int
present(const char *dir, const char *pub_path, char id[CREDSEAL_KEY_ID], struct err *e)
{
	struct err none = ERR_INIT;
	struct credkeys *k = credkeys_open(dir, &none);
	struct credseal_pub p;
	int found = 0;

	if (!k)		/* a broken key is not silently replaced */
		return none.kind == EK_NOT_FOUND ? 0 : err_fault(e, EK_UNAVAILABLE, none.sys, "%s", none.detail);
	if (credseal_pub_load(pub_path, &p, e) < 0) {
		credkeys_close(&k);
		return err_wrap(e, "%s has keys, but which is current is not known", dir);
	}
	for (int i = 0; i < k->n; i++)
		found |= strcmp(k->keys[i].id, p.id) == 0;
	credkeys_close(&k);
	if (!found)
		return err_fault(e, EK_UNAVAILABLE, 0, "%s names key %s, which is not in %s", pub_path, p.id, dir);
	memcpy(id, p.id, CREDSEAL_KEY_ID);
	return 1;
}

int
credkeys_make(const char *dir, const char *pub_path, int unless_any, char id[CREDSEAL_KEY_ID], int *out_made, struct err *e)
{
	AUTO(str) char *path = NULL;
	unsigned char pub[32], key[32];
	struct stat owner;
	int rc = 0;

	must(sodium_init() >= 0);
	if (stat(dir, &owner) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "key folder %s: %s", dir, strerror(errno));
	if (unless_any && (rc = present(dir, pub_path, id, e)) != 0) {
		if (out_made)
			*out_made = 0;
		return rc < 0 ? -1 : 0;
	}
	crypto_box_keypair(pub, key);
	credseal_id(pub, id);
	path = xasprintf("%s/%s" SUFFIX, dir, id);
	rc = write_key(path, key, 0440, &owner, e);
	sodium_memzero(key, sizeof key);
	if (rc < 0 || sync_dir(dir, e) < 0 || write_key(pub_path, pub, 0444, NULL, e) < 0)
		return -1;
	if (out_made)
		*out_made = 1;
	return 0;
}
