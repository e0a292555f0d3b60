/* fuzz: what the targets share. A target's bytes carry its choices in front: pick() takes one. */
#ifndef ROOST_TESTS_FUZZ_H
#define ROOST_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property does not hold: libFuzzer keeps the input. */
#define HOLDS(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

/* The next byte as a number below n; 0 when there is none. */
static inline unsigned
pick(const uint8_t **data, size_t *size, unsigned n)
{
	unsigned v;

	if (*size == 0)
		return 0;
	v = **data % n;
	(*data)++;
	(*size)--;
	return v;
}

#endif
