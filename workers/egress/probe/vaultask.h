/*
 * vaultask: what a probe asks of roost-vault (workers/vault/opener/opener.h), over one connection. Texts are borrowed from the last answer
 * of their kind.
 */
#ifndef ROOST_EGRESS_VAULTASK_H
#define ROOST_EGRESS_VAULTASK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "jx.h"

struct vaultask;

struct vault_credential {
	const char *access_token;	/* NULL: none is stored */
	const char *url, *endpoint, *client_id, *auth, *scope, *resource;
	bool has_refresh;
};

enum vault_go { VAULT_GO, VAULT_BUSY, VAULT_CHANGED, VAULT_NONE };

/* until: of clock_mono_ms(), for all that is asked. */
struct vaultask *vaultask_open(const char *socket_path, int64_t until, struct err *e);
void vaultask_close(struct vaultask **v);

int vault_release(struct vaultask *v, const char *probe, struct vault_credential *out, struct err *e);
/* VAULT_GO: the two texts are given (the second may be NULL), and nobody else refreshes until store or end. EK_NOT_FOUND: it has gone. */
int vault_refresh(struct vaultask *v, enum vault_go *out, const char **refresh_token, const char **client_secret, struct err *e);
/* refresh NULL: the old one stays; expires_in -1: not known. *out_stored false: the customer wrote new ones meanwhile, which stay. */
int vault_store(struct vaultask *v, const char *access, const char *refresh, int64_t expires_in, bool *out_stored, struct err *e);
int vault_end(struct vaultask *v, struct err *e);

#endif
