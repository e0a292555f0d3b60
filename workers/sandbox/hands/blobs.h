/*
 * blobs: the host's blob store (lib/base/blob.h says how it looks) as roost-hands, which is root, uses it. The folders belong to the gateway's
 * user, so nothing in them is believed: everything is reached from one descriptor, no link is followed, and what is not a plain file is
 * not there.
 */
#ifndef ROOST_SANDBOX_BLOBS_H
#define ROOST_SANDBOX_BLOBS_H

#include "blob.h"
#include "err.h"

struct blobs;

/* dir "": no store; then *out is NULL, which the functions below accept (EK_UNAVAILABLE). view_dir: where a view may be mounted. */
/* spare: bytes that writers leave free on the store's disk. */
int blobs_open(struct blobs **out, const char *dir, const char *view_dir, int64_t spare, struct err *e);
void blobs_free(struct blobs **b);
int blobs_dir(const struct blobs *b);	/* the store's descriptor, borrowed; -1: no store */

/*
 * Read-only mounts of n blobs, detached: out[i] is a descriptor for move_mount(), or -1 when that blob is not there. What a sandbox sees
 * of such a mount in its mount table is the blob's id, not the host's path (on a kernel with overlayfs).
 */
void blobs_mounts(struct blobs *b, const char *const *ids, int n, int *out);

/* Has the store's disk room for so many bytes more? Others write too: ask again while writing. */
bool blobs_room(const struct blobs *b, int64_t bytes);
/* A new blob: a descriptor to write to (-1 with errno), its id; then keep or drop it. The caller closes it. */
int blobs_create(struct blobs *b, char id[BLOB_ID]);
/* Make n of them durable and put them in their places, together: that waits for the disk about as often as for one. kept[i]: it is there. */
struct blob_new {
	char id[BLOB_ID];
	int fd;
	bool kept;
};
void blobs_keep(struct blobs *b, struct blob_new *list, int n);
void blobs_drop(struct blobs *b, const char *id);
/* Is a kept one there? */
bool blobs_have(struct blobs *b, const char *id);
/* Remove one that was kept. */
void blobs_remove(struct blobs *b, const char *id);

#endif
