/*
 * outcomes: user.define_outcome on its way into a session (contract 3.2, 6): what may be defined when, the event's text, and what the agent
 * reads of it. What becomes of an outcome is the worker's.
 */
#ifndef ROOST_GATEWAY_OUTCOMES_H
#define ROOST_GATEWAY_OUTCOMES_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "db.h"
#include "err.h"
#include "inbox.h"

#define OUTCOME_TYPE "user.define_outcome"

/* At most one in a list of events that have passed their shape. */
int outcomes_check(const char *list, const json_t *events, struct err *e);

/* Rubrics that are files become text. EK_NOT_FOUND names a file that is not there (contract C-10); EK_INVALID: it is no text, or too long. */
int outcomes_resolve(struct db *db, const char *workspace, const char *blob_dir, const json_t *events, struct err *e);

/* The event's fields behind its stem's beginning, and its fragment. event gets its outcome_id. */
void outcomes_draft(json_t *event, struct inbox_item *it, struct buf *stem);

/* The session's outcome_evaluations right after these events were taken: the one that they define, pending. The caller frees; NULL: none. */
char *outcomes_pending(const json_t *events);

/* Within the transaction that puts such an event: no other outcome may be active. freed: an interrupt before it ends the one that is. */
int outcomes_admit(struct db *db, const char *workspace, const char *session, size_t index, bool freed, struct err *e);

#endif
