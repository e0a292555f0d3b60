/* sessionenc: a session as the wire shows it (contract 2.3, 9.1). */
#ifndef ROOST_GATEWAY_SESSIONENC_H
#define ROOST_GATEWAY_SESSIONENC_H

#include "buf.h"
#include "session.h"

/* status overrides the row's when not NULL (a session that was created together with its first events). */
void session_encode(struct buf *b, const struct session_row *s, const char *status);

#endif
