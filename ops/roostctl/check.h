/*
 * check: what the parts of `roostctl check` share: the table of checks, and where offenders are reported.
 *
 * A check collects how often it was violated and its first offenders. Nothing here writes to the database.
 */
#ifndef ROOST_OPS_CHECK_H
#define ROOST_OPS_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"
#include "id.h"

enum check_id {
#define CHECK(name, text, invariants, how, stmt, sentence) CK_##name,
#include "checks.def"
#undef CHECK
	CK_COUNT
};

#define CHECK_SHOWN 10

struct offender {
	char session[ID_MAX];
	char detail[240];
};

struct check {
	struct ctl *c;
	const char *session;		/* --session, or NULL */
	int64_t nsessions, nevents, nmeters;
	int64_t nlines, nacked, nflushed, ndoubled, nread, nreaders;	/* of --history */
	int64_t violations[CK_COUNT];
	struct offender first[CK_COUNT][CHECK_SHOWN];
};

/* One violation. */
void check_fail(struct check *ck, enum check_id id, const char *session, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Read the log of every session in order (check_walk.c). The caller holds a snapshot. */
int check_walk(struct check *ck, struct err *e);

/* Look up the bytes of every file in the blob store (check_files.c). Outside any snapshot; nothing where no blob_dir is set. */
int check_blobs(struct check *ck, struct err *e);

/* Compare what clients noted in these files with the database (check_history.c; the lines are described there). */
int check_history(struct check *ck, int nfiles, char **files, struct err *e);

#endif
