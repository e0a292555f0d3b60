/*
 * mountpath: see mountpath.h. The path is taken apart into components and put together again, so nothing of how it was written is left.
 * Whether it overlaps another resource of the session is the database's to say (session_resource_add).
 */
#include "mountpath.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define COMPONENT_MAX 255	/* bytes of a file's name on any file system */
#define DEPTH_MAX 16		/* each folder above a file is memory of the host */

/* What stands before the part that counts: the root itself, or its short name. */
static const char *
rooted(const char *path)
{
	static const char *const roots[] = { MOUNT_ROOT, "/uploads" };

	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		size_t n = strlen(roots[i]);

		if (strncmp(path, roots[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
			return path + n;
	}
	return path;
}

/* Add one component to out, or take the last one off for "..". */
static int
step(const char *asked, const char *p, size_t n, char *out, struct err *e)
{
	size_t len = strlen(out);

	if (n == 0 || (n == 1 && p[0] == '.'))
		return 0;
	if (n == 2 && p[0] == '.' && p[1] == '.') {
		if (len == sizeof MOUNT_ROOT - 1)
			return err_set(e, EK_INVALID, 0, "Invalid file resource: mount path \"%.300s\" escapes /uploads/", asked);
		*strrchr(out, '/') = '\0';
		return 0;
	}
	if (n > COMPONENT_MAX || len + n + 2 > MOUNT_PATH_MAX)
		return err_set(e, EK_INVALID, 0, "Invalid file resource: mount path \"%.200s\" is too long", asked);
	out[len] = '/';
	memcpy(out + len + 1, p, n);
	out[len + 1 + n] = '\0';
	return 0;
}

static bool
has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

int
mount_path(const char *asked, const char *file_id, char out[MOUNT_PATH_MAX], struct err *e)
{
	const char *p;
	size_t n;
	int depth = 0;

	if (!asked || !asked[0]) {
		snprintf(out, MOUNT_PATH_MAX, MOUNT_ROOT "/%s", file_id);
		return 0;
	}
	if (has_control(asked))
		return err_set(e, EK_INVALID, 0, "Invalid file resource: `mount_path` must not contain control characters");
	snprintf(out, MOUNT_PATH_MAX, MOUNT_ROOT);
	for (p = rooted(asked); *p; p += n + (p[n] == '/')) {
		n = strcspn(p, "/");
		if (step(asked, p, n, out, e) < 0)
			return -1;
	}
	for (p = out + sizeof MOUNT_ROOT - 1; *p; p++)
		depth += *p == '/';
	if (depth > DEPTH_MAX)
		return err_set(e, EK_INVALID, 0, "Invalid file resource: mount path \"%.200s\" has more than %d components", asked,
		    DEPTH_MAX);
	if (strcmp(out, MOUNT_ROOT) == 0)
		return err_set(e, EK_INVALID, 0, "Invalid file resource: mount path \"%.300s\" does not name a file", asked);
	return 0;
}
