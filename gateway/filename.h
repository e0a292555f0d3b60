/* filename: the name of an uploaded file (contract 1.15 and 2.6): the last component of what was sent, 1 to 255 characters. */
#ifndef ROOST_GATEWAY_FILENAME_H
#define ROOST_GATEWAY_FILENAME_H

#include "buf.h"
#include "err.h"

#define FILENAME_BYTES 1021	/* 255 characters of UTF-8 and NUL */

/*
 * sent: the name as it came, perhaps with a path, perhaps "". mime: of the file, for the ending of `unnamed`. EK_INVALID: not UTF-8, too
 * long, "." or "..", or with a control character or one of < > : " | ? *
 */
int filename_clean(const char *sent, const char *mime, char out[FILENAME_BYTES], struct err *e);

/* Content-Disposition of a download: `attachment`, the name as ASCII and, where that is not all of it, as UTF-8 (RFC 6266). */
void filename_disposition(struct buf *out, const char *name);

#endif
