/*
 * note: the session that this worker is handling at this very moment, in a mapped file that outlives the process. The next worker on the
 * same file reads whose turn the dead one died in; sessions that were merely leased are not named. Writing costs a copy, no system call.
 *
 * One file per worker at a time. A NULL note is allowed everywhere and notes nothing.
 */
#ifndef ROOST_HARNESS_NOTE_H
#define ROOST_HARNESS_NOTE_H

#include <stdint.h>

#include "err.h"
#include "id.h"

struct note;

/*
 * What a dead worker has left. session "": it handled none when it ended. ended: the last worker on this file, which lives no more; ""
 * when there was none, or when it still holds the file.
 */
struct note_left {
	char worker[ID_MAX], session[ID_MAX];
	int64_t epoch;
	char ended[ID_MAX];
};

/* Map the file, made when absent; *left is what stands in it, which stays there until note_begin(). NULL with e set. */
struct note *note_open(const char *path, struct note_left *left, struct err *e);
/* The file is this worker's from now on, and names no session. */
void note_begin(struct note *n, const char *worker);
void note_set(struct note *n, const char *session, int64_t epoch);
void note_clear(struct note *n);
/* Also clears: who leaves in order leaves no name. */
void note_close(struct note **n);

#endif
