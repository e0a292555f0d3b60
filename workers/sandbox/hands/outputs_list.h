/*
 * outputs_list: of a session's outputs (outputs.h), which contents were collected last, and which of them no worker has published yet; the
 * latter also on disk, a file per session in sandbox_dir/outputs. Both the loop and its children write it: a child is a copy of the
 * process, puts what it found into its copy and saves that; the loop puts the same into its own.
 */
#ifndef ROOST_SANDBOX_OUTPUTS_LIST_H
#define ROOST_SANDBOX_OUTPUTS_LIST_H

#include <jansson.h>
#include <stdbool.h>

#include "outputs.h"

/* What the child found about one path: a new content, or only a new stamp. What is not whole is passed over. */
void outputs_list_put(struct session *s, const json_t *item);

/* All that is pending, as the list's file; nothing pending: no file. What only got shorter needs no sync. 0 or -1, errno. */
int outputs_list_save(const struct session *s, bool sync);
/* The same, not synced, if the list on disk names more than is pending. */
void outputs_list_shorter(struct session *s);

/* What a sandbox that is gone held: what another one writes again is recognised by its content when it is published. */
void outputs_list_forget(struct outputs *o);

#endif
