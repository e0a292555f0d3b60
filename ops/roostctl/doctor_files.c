/*
 * doctor_files: the blob store: are its folders there, the gateway's, and closed to others, and is there room for uploads? Looks at the
 * folders only; whether every file has its bytes is `roostctl check`.
 */
#include "doctor.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "blob.h"

#define AGAIN "run `make up` again: it makes them"

/* One folder of the store: the gateway's, entered by its group only. */
static bool
folder_good(struct doctor *d, const char *path, uid_t owner)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		doctor_fail(d, AGAIN, "no folder %s", path);
		return false;
	}
	if (st.st_uid != owner || (st.st_mode & 07777) != 02750) {
		doctor_fail(d, AGAIN, "%s should be roost-gw's, with mode 2750", path);
		return false;
	}
	return true;
}

void
doctor_store(struct doctor *d)
{
	const struct conf *c = &d->ctl->conf;
	const struct passwd *gw = getpwnam("roost-gw");
	char path[BLOB_PATH];
	struct statvfs v;
	int64_t free_mb;

	if (!c->blob_dir[0] || !gw) {
		doctor_warn(d, "run `make up` again", "no blob_dir is set: files cannot be uploaded");
		return;
	}
	snprintf(path, sizeof path, "%s/tmp", c->blob_dir);
	if (!folder_good(d, c->blob_dir, gw->pw_uid) || !folder_good(d, path, gw->pw_uid))
		return;
	for (unsigned i = 0; i < 256; i++) {
		snprintf(path, sizeof path, "%s/%02x", c->blob_dir, i);
		if (!folder_good(d, path, gw->pw_uid))
			return;
	}
	if (statvfs(c->blob_dir, &v) != 0) {
		doctor_warn(d, "look at the disk", "cannot look at %s", c->blob_dir);
		return;
	}
	free_mb = (int64_t)(v.f_bavail * v.f_frsize >> 20);
	if (free_mb < c->blob_spare_mb)
		doctor_warn(d, "make room, or lower blob_spare_mb", "%" PRId64 " MB are left, uploads are refused below %" PRId64, free_mb,
		    c->blob_spare_mb);
	else
		doctor_ok(d, "room for uploads: %" PRId64 " MB", free_mb - c->blob_spare_mb);
}
