/*
 * filerefs: content that names a file (contract 2.3, content blocks). Before an event is drafted, each such source is looked up once, and what
 * it stands for is left in it under FILEREF_KEY, which no client can send: draft.c shows the event without it and puts it into what the
 * model will see, so that a worker needs no question to build a request.
 */
#ifndef ROOST_GATEWAY_FILEREFS_H
#define ROOST_GATEWAY_FILEREFS_H

#include <jansson.h>

#include "db.h"
#include "err.h"

#define FILEREF_KEY "resolved"

/* events have passed their checks. EK_NOT_FOUND names a file that is not there or has expired (contract C-10). */
int filerefs_resolve(struct db *db, const char *workspace, const json_t *events, struct err *e);

#endif
