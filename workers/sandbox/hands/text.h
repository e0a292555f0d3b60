/* text: bytes that came out of a sandbox, made fit for a JSON string and for the model. */
#ifndef ROOST_SANDBOX_TEXT_H
#define ROOST_SANDBOX_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * Append p to out as valid UTF-8 without NUL: what is not becomes U+FFFD. At most max bytes are appended, cut between characters; keep_tail
 * keeps the end, else the beginning. Returns true when something was cut.
 */
bool text_clean(struct buf *out, const char *p, size_t len, size_t max, bool keep_tail);

/*
 * A path out of a sandbox as printable UTF-8, so that different paths stay different: what is not printable, and the backslash, becomes
 * \xHH. Appended to out.
 */
void text_path(struct buf *out, const char *path);

/* A file's name as the API may show it (contract 1.15): at most 255 characters, what is not allowed in one becomes an underscore. */
void text_name(struct buf *out, const char *name);

#endif
