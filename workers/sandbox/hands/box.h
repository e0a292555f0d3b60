/*
 * box: the life of one sandbox: start, messages with its roost-init, freeze, kill, and cleaning up behind it, which goes on after its
 * owner has let go. Everything is asynchronous; nothing here waits.
 */
#ifndef ROOST_SANDBOX_BOX_H
#define ROOST_SANDBOX_BOX_H

#include <stdbool.h>

#include "hands.h"
#include "wire.h"

struct box_hooks {
	void (*ready)(void *owner);
	void (*message)(void *owner, const struct sb_msg *m);
	/* It ended without being asked to. The box is gone for the owner when this is called. */
	void (*lost)(void *owner, const char *why);
};

/* A group of its own inside the box. */
struct leaf {
	char name[16];
	int fd;			/* -1: none */
};

/* Start one. EK_LIMIT: the host is full; EK_UNAVAILABLE: it cannot be made. hooks is borrowed for good, owner until the box is let go. */
int box_start(struct hands *h, const struct box_hooks *hooks, void *owner, struct box **out, struct err *e);
bool box_is_ready(const struct box *b);
/* Kill it and let go; sets *b = NULL; accepts NULL. */
void box_drop(struct box **b);
void box_freeze(struct box *b, bool frozen);
bool box_is_frozen(const struct box *b);
/* Descriptors into a ready box, borrowed: its mount namespace and its outputs directory; the host uid of its user 0. */
int box_mounts(const struct box *b);
int box_outputs(const struct box *b);
uid_t box_base(const struct box *b);

/* Send a message with up to 3 descriptors (borrowed). -1 when it cannot be delivered: the box is as good as lost. */
int box_send(struct box *b, const struct sb_msg *m, const int *fds, int nfds);

int leaf_make(struct box *b, char kind, struct leaf *out);
/* Kill what runs in it, close and remove it, now or soon. */
void leaf_drop(struct box *b, struct leaf *leaf);
/* Is everything that was dropped gone by now? */
bool leaves_gone(struct box *b);

#endif
