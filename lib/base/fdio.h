/* fdio: writing all of it to a descriptor that blocks: a file, a pipe, a memfd. */
#ifndef ROOST_BASE_FDIO_H
#define ROOST_BASE_FDIO_H

#include <stddef.h>

/* Bytes that were written: len, or fewer and errno says why (a full disk takes what fits). */
size_t fdio_write(int fd, const void *data, size_t len);

#endif
