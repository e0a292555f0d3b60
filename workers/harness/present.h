/*
 * present: see present.c. Part of asking: ask.c waits for the answer before it builds a request.
 */
#ifndef ROOST_HARNESS_PRESENT_H
#define ROOST_HARNESS_PRESENT_H

#include "sess.h"

/* true: the database was asked and ask_begin() is called again with s->present set. false: it is set, or the context names no file. */
bool present_ask(struct sess *s);

/* The request is made, or will not be: the next one asks anew. */
void present_forget(struct sess *s);

#endif
