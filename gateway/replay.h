/*
 * replay: the answer of an earlier attempt, once more (once.h says which attempts are one call's).
 */
#ifndef ROOST_GATEWAY_REPLAY_H
#define ROOST_GATEWAY_REPLAY_H

#include "dedupe.h"
#include "req.h"

/* What the row `hit` has kept of the answer becomes r's. EK_CONFLICT: id's key was used for another request. */
int replay_answer(struct gw_req *r, const struct dedupe_id *id, const PGresult *hit, struct err *e);

/*
 * Is what r's reply shows in the database: the events that it echoes, or else the object of this id? 1, 0 or -1. With 1 for an object
 * r->out has been added to: what it looks like now.
 */
int replay_exists(struct gw_req *r, const char *object, struct err *e);

#endif
