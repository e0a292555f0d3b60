/*
 * args: see args.h. The memfd was written by hands after it had checked every value, so a malformed one is a broken invariant and
 * simply reads as "absent"; nothing here trusts the length inside.
 */
#include "args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
args_load(struct args *a, int fd)
{
	struct stat st;
	size_t at = 0;

	if (fstat(fd, &st) < 0)
		return -1;
	a->len = (size_t)st.st_size;
	a->data = malloc(a->len + 1);
	if (!a->data)
		return -1;
	while (at < a->len) {
		ssize_t n = pread(fd, a->data + at, a->len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(a->data);
			a->data = NULL;
			return -1;
		}
		at += (size_t)n;
	}
	a->data[a->len] = '\0';
	return 0;
}

const char *
args_get(const struct args *a, const char *key)
{
	const char *p = a->data, *end = a->data + a->len;

	while (p < end) {
		const char *value = p + strlen(p) + 1;

		if (value >= end + 1)
			return NULL;
		if (strcmp(p, key) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

long
args_num(const struct args *a, const char *key, long dflt)
{
	const char *v = args_get(a, key);

	return v ? strtol(v, NULL, 10) : dflt;
}
