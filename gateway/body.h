/* body: a request's body from the wire to a checked JSON tree, with every limit applied before memory is spent. */
#ifndef ROOST_GATEWAY_BODY_H
#define ROOST_GATEWAY_BODY_H

#include <fcgiapp.h>
#include <jansson.h>

#include "buf.h"
#include "err.h"
#include "shape.h"

#define BODY_SMALL 65536	/* cap of endpoints that take none */
#define BODY_SECRET (512 << 10)	/* cap of those with secrets: nginx would put a larger body into a file (nginx/limits.inc) */
#define BODY_VALUES 250000	/* JSON values in one body: a tree costs about 30 times the text of a short value */

/* Read what the client sent into out, up to cap bytes. EK_TOO_LARGE beyond. */
int body_read(FCGX_Request *fcgi, size_t cap, struct buf *out, struct err *e);

/* Read the rest away (bounded), so that the connection can be kept. Nothing to do when body_read() succeeded. */
void body_drain(FCGX_Request *fcgi);

/*
 * Parse and check: content-type (415), content-encoding (none or gzip, at most cap bytes decoded), charset, JSON, shape. *out is NULL for
 * an absent body where the shape allows that (`empty`, `none`). text may be rewritten (decoded; ISO-8859-1 becomes UTF-8).
 */
int body_parse(const struct shape *s, const char *content_type, const char *content_encoding, size_t cap, struct buf *text, json_t **out,
    struct err *e);

#endif
