/* sessionenc: a session as the wire shows it (contract 2.3, 9.1). */
#ifndef ROOST_GATEWAY_SESSIONENC_H
#define ROOST_GATEWAY_SESSIONENC_H

#include "buf.h"
#include "err.h"
#include "session.h"
#include "thread.h"

/* status overrides the row's when not NULL (a session that was created together with its first events). */
void session_encode(struct buf *b, const struct session_row *s, const char *status);

/* A thread of this session; its agent is the session's without the roster. -1: the stored agent cannot be read. */
int thread_encode(struct buf *b, const char *session_id, const struct thread_row *t, struct err *e);

#endif
