/*
 * fdio: see fdio.h. write(2) may take a part, and signals interrupt it; neither is a failure.
 */
#include "fdio.h"

#include <errno.h>
#include <unistd.h>

size_t
fdio_write(int fd, const void *data, size_t len)
{
	const char *p = data;
	size_t at = 0;

	while (at < len) {
		ssize_t n = write(fd, p + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	return at;
}
