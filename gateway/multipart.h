/*
 * multipart: a multipart/form-data body (RFC 7578) read part by part from wherever it comes, with one fixed buffer, whatever its size.
 *
 *   multipart_begin(&m, content_type, read, arg, &e)
 *   while (multipart_next(&m, &part, &e) > 0)
 *       while ((n = multipart_data(&m, &bytes, &e)) > 0)
 *           ...
 *
 * A part whose data is not read to its end is skipped by the next multipart_next(). Everything that is not as the RFC says is EK_INVALID
 * with a text for the client; a source that fails keeps its own error.
 */
#ifndef ROOST_GATEWAY_MULTIPART_H
#define ROOST_GATEWAY_MULTIPART_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define MULTIPART_BUF 65536
#define MULTIPART_HEAD 8192	/* the headers of one part */
#define MULTIPART_PARTS 100	/* parts of one body */
#define MULTIPART_BOUNDARY 70
#define MULTIPART_NAME 4096	/* a file's name before it is checked; the header limit is above it */

/* Up to len bytes; 0: the body has ended; -1 with *e set. */
typedef ssize_t multipart_read(void *arg, char *to, size_t len, struct err *e);

struct multipart {
	multipart_read *read;
	void *arg;
	char delim[4 + MULTIPART_BOUNDARY + 1];		/* CR LF - - boundary */
	size_t delim_len;
	char buf[MULTIPART_BUF];
	size_t at, len;		/* unread: buf[at..len) */
	bool ended;		/* the source has */
	bool in_part;
	int parts;
};

/* Texts as they came, without NUL; of control characters only tabs, and in names the line breaks that browsers write as %0D and %0A. */
struct multipart_part {
	char name[256];
	bool named;			/* it has a filename, perhaps "" */
	char filename[MULTIPART_NAME];
	char type[256];			/* Content-Type, "" when absent */
};

/* content_type: the request's, with its boundary. EK_MEDIA_TYPE: it is another one; EK_INVALID: it has no good boundary. */
int multipart_begin(struct multipart *m, const char *content_type, multipart_read *read, void *arg, struct err *e);

/* 1: *out is the next part; 0: there is no further one, and the source was read to its end. */
int multipart_next(struct multipart *m, struct multipart_part *out, struct err *e);

/* The next bytes of the current part, in the buffer until the next call; 0: the part has ended. */
ssize_t multipart_data(struct multipart *m, const char **out, struct err *e);

#endif
