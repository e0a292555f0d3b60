/*
 * arena: memory that lives as long as one request or one turn step, freed at once. Zeroed on allocation, with a ceiling; crossing
 * the ceiling is a broken invariant (limits are checked before), so it aborts through must(). Never store an arena pointer in
 * something that outlives the arena.
 */
#ifndef ROOST_BASE_ARENA_H
#define ROOST_BASE_ARENA_H

#include <stddef.h>

#include "cleanup.h"

struct arena;

struct arena *arena_new(size_t max_bytes);
void arena_free(struct arena *a);
/* Forget everything, keep the first block for reuse. */
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *a);

DEFINE_CLEANUP(struct arena *, arena, arena_free)

#endif
