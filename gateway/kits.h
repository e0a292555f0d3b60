/*
 * kits: what sessions are made of, remembered: the snapshot of an agent's version, and that it may run in an environment as that was at a
 * time. Only a guess: the statement that makes the session looks whether all of it still holds (session_insert_known).
 */
#ifndef ROOST_GATEWAY_KITS_H
#define ROOST_GATEWAY_KITS_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

/* What is asked for. version 0: the newest. */
struct kit_key {
	const char *workspace, *agent, *environment;
	int version;
};

struct kit {
	int version;
	int64_t environment_us;		/* when it was last changed */
	const char *snapshot;		/* JSON text */
};

/* At most 64 of them, in 1 MB. For several threads. */
struct kits;
struct kits *kits_new(void);
void kits_free(struct kits **all);

/* out->snapshot is in the arena. */
bool kits_find(struct kits *all, const struct kit_key *key, struct arena *a, struct kit *out);
/* Copies. What is too large is not remembered. */
void kits_put(struct kits *all, const struct kit_key *key, const struct kit *kit);
void kits_forget(struct kits *all, const struct kit_key *key);

#endif
