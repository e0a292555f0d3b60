/* args: a file tool's arguments, read from the memfd that hands filled (format: wire.h). Values are borrowed until the process ends. */
#ifndef ROOST_SANDBOX_ARGS_H
#define ROOST_SANDBOX_ARGS_H

#include <stddef.h>

struct args {
	char *data;
	size_t len;
};

/* All of fd, NUL-terminated. -1 with errno when it cannot be read. */
int args_load(struct args *a, int fd);
/* The value of key, or NULL. */
const char *args_get(const struct args *a, const char *key);
/* The number at key, or dflt. */
long args_num(const struct args *a, const char *key, long dflt);

#endif
