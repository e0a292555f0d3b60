/* mountpath: where a file resource is mounted in its session's sandbox (contract 4.6). Pure. */
#ifndef ROOST_GATEWAY_MOUNTPATH_H
#define ROOST_GATEWAY_MOUNTPATH_H

#include "err.h"

#define MOUNT_ROOT "/mnt/session/uploads"
#define MOUNT_PATH_MAX 4096

/*
 * The resolved path of what a client asked for: rooted in MOUNT_ROOT, however it is written ("data.csv", "/data.csv", "/uploads/data.csv",
 * "/mnt/session/uploads/data.csv"); . and .. are taken out. asked NULL or "": named after the file. EK_INVALID: it leads out of there, names
 * no file, is too long or too deep (contract C-10).
 */
int mount_path(const char *asked, const char *file_id, char out[MOUNT_PATH_MAX], struct err *e);

#endif
