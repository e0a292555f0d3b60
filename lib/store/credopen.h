/*
 * credopen: the keys of the vault and what they open. roost-vault alone is linked with it (and roostctl, which makes the keys).
 *
 * The keys lie in one folder, a file each: `<key id>.key`, 0440, 64 hex digits: the
 * folder and the files are root's and of roost-vault's group, so that who reads the keys cannot lose or replace them. The
 * public half of the current one stands in a file of its own that everybody may read (credseal.h). Older keys open what was sealed with them until it has been sealed anew.
 */
#ifndef ROOST_STORE_CREDOPEN_H
#define ROOST_STORE_CREDOPEN_H

#include <stdbool.h>
#include <stddef.h>

#include "credseal.h"
#include "err.h"

struct credkeys;

/* All keys of the folder, in locked memory that no core dump has. EK_NOT_FOUND: there is none. EK_UNAVAILABLE: one is broken. */
struct credkeys *credkeys_open(const char *dir, struct err *e);
/* Is that the name of a key's file? */
bool credkeys_is_file(const char *name);
void credkeys_close(struct credkeys **k);

/*
 * Open a box that was read from the row that b describes. *out is NUL-terminated text of *out_len bytes in guarded memory: sodium_free() it,
 * which wipes. EK_UNAVAILABLE: its key is not here. EK_INTERNAL: cut, altered, or of another row; nothing is given out.
 */
int cred_open(const struct credkeys *k, const struct cred_bind *b, const unsigned char *box, size_t len, char **out, size_t *out_len,
    struct err *e);
/* The same of a bytea's text, "\x<hex>". */
int cred_open_text(const struct credkeys *k, const struct cred_bind *b, const char *bytea, char **out, size_t *out_len, struct err *e);

/*
 * Make a key: dir/<id>.key with the folder's owner and group, then pub_path names it as the current one. `unless_any`: nothing is done where the folder
 * has a key; a missing public file is then an error (which key is current is not known). The id goes to id, *out_made may be NULL.
 */
int credkeys_make(const char *dir, const char *pub_path, int unless_any, char id[CREDSEAL_KEY_ID], int *out_made, struct err *e);

#endif
