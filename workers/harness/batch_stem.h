/*
 * batch_stem: how the files of batch.h put an event into a batch. Nobody else needs it.
 *
 * A stem is an object that is never closed: stamping appends the rest (batch_stamp).
 */
#ifndef ROOST_HARNESS_BATCH_STEM_H
#define ROOST_HARNESS_BATCH_STEM_H

#include "batch.h"
#include "jw.h"

/* A new event, without a stem. id NULL: a fresh one. Borrowed until the next one is added. */
struct event *batch_event_add(struct batch *b, const char *id, const char *type);

/* A new event whose stem is begun in out, with id and type: fields follow through w. out is taken by batch_stem_end. */
struct event *batch_stem_begin(struct batch *b, const char *id, const char *type, struct jw *w, struct buf *out);
void batch_stem_end(struct batch *b, struct event *ev, struct buf *out);

/* An event of id and type alone. */
void batch_bare(struct batch *b, const char *type);

#endif
