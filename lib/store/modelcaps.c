/*
 * modelcaps: see modelcaps.h. What is read has been checked by catfile.c; a word that is unknown all the same (a newer release wrote it)
 * is passed over.
 */
#include "modelcaps.h"

#include <string.h>

#include "jspan.h"

#define USUAL 2		/* "high" */

const char *const modelcaps_efforts[] = { "low", "medium", "high", "xhigh", "max", NULL };
const char *const modelcaps_geos[] = { "global", "us", NULL };

static unsigned
bit_of(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return 1u << i;
	return 0;
}

/* The bits of the list at key, or usual when there is none. */
static unsigned
bits_at(struct jspan object, const char *key, const char *const *words, unsigned usual)
{
	struct jspan list, one;
	struct jspan_iter it;
	unsigned bits = 0;

	if (!jspan_get(object, key, &list))
		return usual;
	it = jspan_array(list);
	while (jspan_next(&it, &one))
		for (int i = 0; words[i]; i++)
			bits |= jspan_is(one, words[i]) ? 1u << i : 0;
	return bits;
}

void
modelcaps_read(const char *text, struct modelcaps *out)
{
	struct jspan object = { text ? text : "{}", text ? strlen(text) : 2 }, fast;

	out->efforts = bits_at(object, "efforts", modelcaps_efforts, ~0u);
	out->geos = bits_at(object, "geos", modelcaps_geos, 1);
	out->fast = jspan_get(object, "fast", &fast) && fast.n == 4;
}

bool
modelcaps_effort(const struct modelcaps *c, const char *level)
{
	return (c->efforts & bit_of(modelcaps_efforts, level)) != 0;
}

bool
modelcaps_geo(const struct modelcaps *c, const char *geo)
{
	return (c->geos & bit_of(modelcaps_geos, geo)) != 0;
}

bool
modelcaps_speed(const struct modelcaps *c, const char *speed)
{
	return strcmp(speed, "standard") == 0 || (c->fast && strcmp(speed, "fast") == 0);
}

const char *
modelcaps_usual_effort(const struct modelcaps *c)
{
	for (int i = USUAL; i >= 0; i--)
		if (c->efforts & 1u << i)
			return modelcaps_efforts[i];
	for (int i = USUAL + 1; modelcaps_efforts[i]; i++)
		if (c->efforts & 1u << i)
			return modelcaps_efforts[i];
	return NULL;
}
