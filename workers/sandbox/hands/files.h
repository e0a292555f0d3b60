/*
 * files: the files that a session's sandbox shows read-only below /mnt/session/uploads (contract 4.6). The worker names all of them
 * whenever it asks for the sandbox; this module remembers them, mounts what is new and unmounts what is gone, in a living sandbox or in
 * the one that takes its place.
 */
#ifndef ROOST_SANDBOX_FILES_H
#define ROOST_SANDBOX_FILES_H

#include <jansson.h>

#include "err.h"

struct blobs;
struct box;

#define FILES_MAX 500		/* contract 1.15 */

struct file {
	char blob[33];
	char *path;		/* absolute, below SB_UPLOADS */
};

struct files {
	struct file *list;	/* wanted; sorted by path */
	int n;
	struct file *mounted;	/* in the present box; sorted, an empty blob: could not be mounted */
	int nmounted;
};

/*
 * Take the request's `files` ([{"blob","path"}...]); NULL changes nothing. EK_INVALID: not such a list, or a path that leaves its place;
 * then nothing is changed.
 */
int files_want(struct files *f, const json_t *list, struct err *e);
/* See that the box has what is wanted. A file that cannot be mounted is left out, logged, and not tried again in this box. */
void files_mount(struct files *f, struct blobs *blobs, const struct box *box, const char *session);
/* The box is gone. */
void files_unmounted(struct files *f);
void files_free(struct files *f);

#endif
