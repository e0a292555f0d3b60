/*
 * ctxcache: see ctxcache.h. A hash table whose entries also stand in one list, newest first. Only sessions that nobody here works on are
 * in it: a claim takes the entry out, the end of the claim puts it back.
 *
 * Fails in one way: what does not fit is not kept, and the next claim reads it from Postgres.
 */
#include "ctxcache.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define BUCKETS 8192

struct entry {
	struct entry *chain;
	struct entry *newer, *older;
	char session[ID_MAX];
	struct context context;
	size_t size;
};

struct ctxcache {
	struct entry *buckets[BUCKETS];
	struct entry *newest, *oldest;
	size_t bytes, bytes_max;
};

static unsigned
bucket(const char *id)
{
	return id_hash(id) % BUCKETS;
}

/* Where the pointer to this session's entry is, or would be. */
static struct entry **
find(struct ctxcache *c, const char *session)
{
	struct entry **at = &c->buckets[bucket(session)];

	while (*at != NULL && strcmp((*at)->session, session) != 0)
		at = &(*at)->chain;
	return at;
}

/* Take the entry out of table and list; its memory is the caller's. */
static struct entry *
unlink_entry(struct ctxcache *c, struct entry **at)
{
	struct entry *e = *at;

	*at = e->chain;
	*(e->newer != NULL ? &e->newer->older : &c->newest) = e->older;
	*(e->older != NULL ? &e->older->newer : &c->oldest) = e->newer;
	c->bytes -= e->size;
	return e;
}

static void
remove_entry(struct ctxcache *c, struct entry **at)
{
	struct entry *e = unlink_entry(c, at);

	context_clear(&e->context);
	free(e);
}

struct ctxcache *
ctxcache_new(size_t bytes_max)
{
	struct ctxcache *c = xcalloc(1, sizeof(*c));

	c->bytes_max = bytes_max;
	return c;
}

void
ctxcache_free(struct ctxcache **cp)
{
	struct ctxcache *c = *cp;

	if (c == NULL)
		return;
	while (c->oldest != NULL)
		remove_entry(c, find(c, c->oldest->session));
	free(c);
	*cp = NULL;
}

void
ctxcache_put(struct ctxcache *c, const char *session, struct context *context)
{
	/* the allocator's rounding and header besides the bytes themselves */
	size_t size = sizeof(struct entry) + context->bytes + (size_t)context->cap * sizeof(context->items[0]) + (size_t)context->n * 24;
	struct entry *e;

	ctxcache_drop(c, session);
	if (context->n == 0 || size > c->bytes_max) {
		context_clear(context);
		return;
	}
	while (c->bytes + size > c->bytes_max)
		remove_entry(c, find(c, c->oldest->session));
	e = xcalloc(1, sizeof(*e));
	strncpy(e->session, session, sizeof(e->session) - 1);
	e->context = *context;
	e->size = size;
	e->older = c->newest;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
	e->chain = c->buckets[bucket(session)];
	c->buckets[bucket(session)] = e;
	c->bytes += size;
	*context = (struct context){ 0 };
}

bool
ctxcache_take(struct ctxcache *c, const char *session, struct context *out)
{
	struct entry **at = find(c, session), *e;

	if (*at == NULL)
		return false;
	e = unlink_entry(c, at);
	*out = e->context;
	free(e);
	return true;
}

const struct context *
ctxcache_peek(struct ctxcache *c, const char *session)
{
	struct entry **at = find(c, session);

	return *at != NULL ? &(*at)->context : NULL;
}

void
ctxcache_drop(struct ctxcache *c, const char *session)
{
	struct entry **at = find(c, session);

	if (*at != NULL)
		remove_entry(c, at);
}

size_t
ctxcache_bytes(const struct ctxcache *c)
{
	return c->bytes;
}
