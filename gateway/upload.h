/*
 * upload: requests whose body is a file. nginx does not buffer them (nginx/upload.inc), so that nothing is stored before the key is
 * checked; a slow sender must not hold one of the few handler threads. A handler thread checks what can be checked without the body,
 * then hands the request over: a thread of its own moves the bytes into the blob store, runs the route's handler and answers.
 */
#ifndef ROOST_GATEWAY_UPLOAD_H
#define ROOST_GATEWAY_UPLOAD_H

#include <fcgiapp.h>
#include <stdint.h>

#include "blob.h"
#include "err.h"
#include "filename.h"
#include "mime.h"
#include "park.h"
#include "req.h"

struct gw;
struct uploads;

/* What was received, for the handler. The bytes are kept in the blob store. */
struct upload_file {
	char filename[FILENAME_BYTES], mime[MIME_MAX], blob[BLOB_ID], sha[BLOB_SHA];
	int64_t size, expires_s;	/* expires_s 0: never */
};

/* Of the process. Connections go back to the park. */
struct uploads *uploads_open(const struct gw *gw, struct park *park);
/* Wait for those under way, ms at most, then cut them. After it no thread of theirs is left. */
void uploads_close(struct uploads **u, int64_t ms);

/*
 * Take r's request: what the headers say is checked, then 0 means that fcgi belongs to the upload and r must not be touched. -1: refused,
 * nothing of the body was read: EK_MEDIA_TYPE, EK_TOO_LARGE, EK_LIMIT (too many of this organization), EK_OVERLOADED, quota, disk.
 */
int uploads_take(struct uploads *u, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e);

#endif
