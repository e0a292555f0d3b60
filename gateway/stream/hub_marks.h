/*
 * hub_marks: has every preview of a writer (a worker process) arrived? Previews are in no log; their numbers show what was lost, be it
 * between the writer and Redis, in a flush, or trimmed before it was read.
 */
#ifndef ROOST_STREAM_HUB_MARKS_H
#define ROOST_STREAM_HUB_MARKS_H

#include <stdint.h>

#define HUB_WRITERS 256

/* Zero-initialised is valid. */
struct hub_marks {
	struct { uint64_t writer; int64_t last; } at[HUB_WRITERS];
	int next;			/* replaced next when a new writer comes */
};

enum hub_mark {
	MARK_NEXT,			/* nothing is missing before it; also the first of a writer */
	MARK_HOLE,			/* some before it were lost */
	MARK_AGAIN,			/* it was here already */
};

/* n of them in a row, from number on. writer is not 0. */
enum hub_mark hub_marks_take(struct hub_marks *m, uint64_t writer, int64_t number, int n);

#endif
