/*
 * arena: see arena.h. A list of blocks; big requests get a block of their own. Freed memory is poisoned in debug builds, so that a
 * pointer that outlived its arena is seen by the next test.
 */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "xalloc.h"

#define BLOCK (16 << 10)

struct block {
	struct block *next;
	size_t size, used;
	max_align_t data[];
};

struct arena {
	struct block *head;
	size_t used, max;
};

static struct block *
block_new(size_t size)
{
	struct block *b = xcalloc(1, sizeof *b + size);

	b->size = size;
	return b;
}

struct arena *
arena_new(size_t max_bytes)
{
	struct arena *a = xcalloc(1, sizeof *a);

	a->max = max_bytes;
	a->head = block_new(BLOCK);
	return a;
}

static void
block_free(struct block *b)
{
#ifndef NDEBUG
	memset(b->data, 0xdb, b->used);
#endif
	free(b);
}

void
arena_free(struct arena *a)
{
	struct block *b, *next;

	if (!a)
		return;
	for (b = a->head; b; b = next) {
		next = b->next;
		block_free(b);
	}
	free(a);
}

void
arena_reset(struct arena *a)
{
	struct block *b, *next;

	for (b = a->head; b->next; b = next) {
		next = b->next;
		block_free(b);
	}
	memset(b->data, 0, b->used);
	b->used = 0;
	a->head = b;
	a->used = 0;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	size_t need = (size + 15) & ~(size_t)15;
	struct block *b = a->head;
	void *at;

	must(need >= size && a->used + need <= a->max);
	if (b->size - b->used < need) {
		b = block_new(need > BLOCK ? need : BLOCK);
		b->next = a->head;
		a->head = b;
	}
	at = (char *)b->data + b->used;
	b->used += need;
	a->used += need;
	return at;
}

char *
arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *out = arena_alloc(a, len + 1);

	memcpy(out, s, len);
	return out;
}

char *arena_strdup(struct arena *a, const char *s) { return arena_strndup(a, s, strlen(s)); }
size_t arena_used(const struct arena *a) { return a->used; }

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *out;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	out = arena_alloc(a, (size_t)n + 1);
	vsnprintf(out, (size_t)n + 1, fmt, again);
	va_end(again);
	return out;
}
