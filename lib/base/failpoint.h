/*
 * failpoint: named places where a debug build can be made to fail, so that each position of a crash is reproducible.
 *
 *   FAILPOINT(APPEND);                                 die or sleep here, if the control file says so
 *   if (FAILPOINT_ERR(DB_RUN, e) < 0) return -1;       or fail with an injected error
 *
 * The places are rows of failpoint.def. Compiled in only with -DROOST_FAILPOINTS (BUILD=debug and asan): in a release build the macros
 * are nothing and no name is in the program.
 *
 * The control file is the setting failpoint_file; it is read again whenever it changes, also while it is absent. One line each:
 *
 *   NAME[/WHERE[+WHERE..]] kill|exit|sleep:MS|error[:KIND]|shift:MS [WHEN] [SEED]      # comment
 *
 * shift is for clocks (FAILPOINT_SHIFT), always; WHERE is then a program's name, like roost-worker.
 * WHERE limits it to a program (roost-opener), to what FAILPOINT_IN() says, for instance a session, or to what FAILPOINT_SCOPE() said last in
 * this thread: a worker says the state of the turn that it is at; several with a + all at once. WHEN: always (default) · once (over all processes: who comes first makes
 * FILE.NAME[.WHERE]) · @N (the Nth time in each process) · a
 * probability like 0.05, drawn from SEED. KIND: a name of err.def, default UNAVAILABLE; where no error can be returned it does nothing.
 * Each happening appends `NAME ACTION PID` to FILE.log; a place that is come to, struck or not, its `NAME/SCOPE` to FILE.met, once in each
 * process (without a scope: what FAILPOINT_IN says, else the program). Both files are there when the program starts, or are not written.
 */
#ifndef ROOST_BASE_FAILPOINT_H
#define ROOST_BASE_FAILPOINT_H

#include <stdint.h>

#include "err.h"

#ifdef ROOST_FAILPOINTS

enum failpoint {
#define FP(id, name, process, leaves) FP_##id,
#include "failpoint.def"
#undef FP
	FP_COUNT
};

struct failpoint_row { const char *name, *process, *leaves; };
extern const struct failpoint_row failpoints[FP_COUNT];

/* path is borrowed for good; "" or NULL: nothing ever fails. */
void failpoint_open(const char *path);
void failpoint_hit(enum failpoint id, const char *where);	/* where may be NULL */
/* Where this thread is from now on; name is borrowed for good. */
void failpoint_scope(const char *name);
/* As failpoint_hit, and: -1 with e set when an error is wanted. */
int failpoint_error(enum failpoint id, struct err *e);
/* By how much a clock is to be wrong, in microseconds. */
int64_t failpoint_shift_us(enum failpoint id);

#define FAILPOINT(id) failpoint_hit(FP_##id, NULL)
#define FAILPOINT_IN(id, where) failpoint_hit(FP_##id, (where))
#define FAILPOINT_ERR(id, e) failpoint_error(FP_##id, (e))
#define FAILPOINT_SHIFT(id) failpoint_shift_us(FP_##id)
#define FAILPOINT_SCOPE(name) failpoint_scope(name)

#else

#define failpoint_open(path) ((void)(path))
#define FAILPOINT(id) ((void)0)
#define FAILPOINT_IN(id, where) ((void)0)
#define FAILPOINT_ERR(id, e) ((void)(e), 0)
#define FAILPOINT_SHIFT(id) (0)
#define FAILPOINT_SCOPE(name) ((void)0)

#endif
#endif
