/* keep: housekeeping of files that nobody waits for: expired ones, blobs without files, what crashes left in the store. */
#ifndef ROOST_GATEWAY_KEEP_H
#define ROOST_GATEWAY_KEEP_H

#include "conf.h"
#include "db.h"

/* At most every few seconds in this process, and a bounded part each time; otherwise it returns at once. Failing is not an error. */
void keep_sweep(const struct conf *c, struct db *db);

#endif
