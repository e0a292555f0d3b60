/*
 * still: does Postgres stand still, that is, take connections and statements and answer none? What waits for it is given up in the end
 * (pgwait.h); this spares others the wait.
 *
 * A wait that has lasted for half of its statement's time is a suspicion. A thread of its own then asks Postgres, by a connection of its own,
 * for what a well one does in milliseconds. Without an answer within some seconds it stands still, and statements fail at once
 * (EK_UNAVAILABLE) until that thread has its answer: so the first ones are taken again as soon as Postgres goes on. One that is away
 * (refused, ended) does not stand still: who asks it is told so at once.
 *
 * Of the process, for any thread. Without still_watch() nothing is ever known.
 */
#ifndef ROOST_STORE_STILL_H
#define ROOST_STORE_STILL_H

#include <stdbool.h>

#include "err.h"

struct db;

/* Something that commits, so that a disk which takes nothing shows, and waits for no lock, which says nothing about that: 0, or -1. */
typedef int still_ask(struct db *db, struct err *e);

/* db is its own from now on, and the thread lives as long as the process. patience_ms: for the answer. Once. */
void still_watch(struct db *db, still_ask *ask, int patience_ms);

void still_suspect(void);
bool still_stands(void);

#endif
