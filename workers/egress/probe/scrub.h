/*
 * scrub: what a server answered, made fit to be shown: without any secret that it may have sent back, and cut.
 */
#ifndef ROOST_EGRESS_SCRUB_H
#define ROOST_EGRESS_SCRUB_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

#define SCRUB_SECRETS 16
#define SCRUB_SHOWN 4096	/* bytes of a body that are shown */

struct scrub {
	int n;
	struct buf forms[SCRUB_SECRETS * 4];	/* each secret as it is, url-encoded, JSON-escaped; "name:secret" in base64 */
	bool tiny;			/* one is so short that it cannot be looked for: nothing is shown then */
};

/* Know one more secret; NULL and "" are none. */
void scrub_add(struct scrub *s, const char *secret);
/* Know what HTTP Basic made of two. */
void scrub_add_basic(struct scrub *s, const char *user, const char *password);

/*
 * Append what may be shown of len bytes to out: known secrets and the values of members and parameters whose names say secret (token, secret,
 * password, ...) become "[redacted]", also when the end of the bytes cuts one; then at most SCRUB_SHOWN bytes, no character divided.
 * cut: the bytes are not all that was sent. Returns whether what is shown is not all there was.
 */
bool scrub_show(const struct scrub *s, const char *bytes, size_t len, bool cut, struct buf *out);

void scrub_free(struct scrub *s);

#endif
