/*
 * kits: see kits.h. A table in which each key has one place, which the newest takes. The lock is held for a copy of 16 kB at most. Nothing
 * is lost with it but time.
 */
#include "kits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "xalloc.h"

#define PLACES 64
#define SNAPSHOT_MAX 16384

struct place {
	char *name;		/* the key as text; NULL: free */
	char *snapshot;
	int version;
	int64_t environment_us;
};

struct kits {
	pthread_mutex_t lock;	/* guards the places */
	struct place places[PLACES];
};

struct kits *
kits_new(void)
{
	struct kits *all = xcalloc(1, sizeof *all);

	pthread_mutex_init(&all->lock, NULL);
	return all;
}

static void
clear(struct place *p)
{
	free(p->name);
	free(p->snapshot);
	*p = (struct place){ .name = NULL };
}

void
kits_free(struct kits **allp)
{
	struct kits *all = *allp;

	if (!all)
		return;
	for (int i = 0; i < PLACES; i++)
		clear(&all->places[i]);
	pthread_mutex_destroy(&all->lock);
	free(all);
	*allp = NULL;
}

static struct place *
place_of(struct kits *all, const char *name)
{
	return &all->places[id_hash(name) % PLACES];
}

static char *
name_of(const struct kit_key *k)
{
	return xasprintf("%s %s %d %s", k->workspace, k->agent, k->version, k->environment);
}

static bool
holds(const struct place *p, const char *name)
{
	return p->name && strcmp(p->name, name) == 0;
}

bool
kits_find(struct kits *all, const struct kit_key *key, struct arena *a, struct kit *out)
{
	AUTO(str) char *name = name_of(key);
	const struct place *p = place_of(all, name);
	bool found;

	pthread_mutex_lock(&all->lock);
	found = holds(p, name);
	if (found)
		*out = (struct kit){ .version = p->version, .environment_us = p->environment_us, .snapshot = arena_strdup(a, p->snapshot) };
	pthread_mutex_unlock(&all->lock);
	return found;
}

void
kits_put(struct kits *all, const struct kit_key *key, const struct kit *kit)
{
	struct place fresh = { .version = kit->version, .environment_us = kit->environment_us }, old;
	struct place *p;

	if (strlen(kit->snapshot) > SNAPSHOT_MAX)
		return;
	fresh.name = name_of(key);
	fresh.snapshot = xstrdup(kit->snapshot);
	p = place_of(all, fresh.name);
	pthread_mutex_lock(&all->lock);
	old = *p;
	*p = fresh;
	pthread_mutex_unlock(&all->lock);
	clear(&old);
}

void
kits_forget(struct kits *all, const struct kit_key *key)
{
	AUTO(str) char *name = name_of(key);
	struct place *p = place_of(all, name);

	pthread_mutex_lock(&all->lock);
	if (holds(p, name))
		clear(p);
	pthread_mutex_unlock(&all->lock);
}
