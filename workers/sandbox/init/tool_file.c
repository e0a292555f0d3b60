/*
 * tool_file: read, write, edit. Behaviour and wording of contract 4.3. Files are replaced by rename, so a reader in the sandbox never
 * sees half of one and a full disk leaves the old content.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"

#define SNIFF 8192

/* Open a regular file for reading; says what is wrong otherwise. Never blocks on a FIFO or a device. */
static int
open_regular(const char *given, const char *path, struct stat *st, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return tool_fail(out, errno, "cannot read %s", given);
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		tool_fail(out, 0, S_ISDIR(st->st_mode) ? "%s is a directory" : "%s is not a regular file", given);
		close(fd);
		return -1;
	}
	return fd;
}

struct lines {
	long first, last, at;	/* last <= 0: to the end */
	bool at_start, began;
	size_t taken;
};

/* Number the lines of one chunk. Returns 1 when no more is wanted. */
static int
lines_feed(struct lines *l, const char *p, size_t len, struct buf *out)
{
	while (len > 0) {
		const char *nl = memchr(p, '\n', len);
		size_t n = nl ? (size_t)(nl - p) : len;
		bool wanted = l->at >= l->first;

		if (l->last > 0 && l->at > l->last)
			return 1;
		if (wanted && l->at_start) {
			buf_printf(out, "%s%ld\t", l->began ? "\n" : "", l->at);
			l->began = true;
		}
		if (wanted) {
			size_t room = TOOL_READ_MAX - l->taken;

			buf_put(out, p, n < room ? n : room);
			l->taken += n + 1;
			if (n > room || l->taken > TOOL_READ_MAX) {
				buf_printf(out, "\n[file truncated at 256 KiB, in line %ld; use view_range to read on]", l->at);
				return 1;
			}
		}
		l->at_start = nl != NULL;
		if (nl) {
			l->at++;
			n++;
		}
		p += n;
		len -= n;
	}
	return 0;
}

int
tool_read(const struct args *a, struct buf *out)
{
	const char *given = args_get(a, "file_path");
	char path[PATH_MAX], chunk[65536];
	struct stat st = { 0 };
	struct lines l = { .first = args_num(a, "view_start", 1), .last = args_num(a, "view_end", 0), .at = 1, .at_start = true };
	bool sniffed = false;
	ssize_t n;
	int fd;

	if (tool_path(given, path, out) < 0 || (fd = open_regular(given, path, &st, out)) < 0)
		return -1;
	while ((n = read(fd, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			tool_fail(out, errno, "cannot read %s", given);
			close(fd);
			return -1;
		}
		if (!sniffed && memchr(chunk, '\0', (size_t)(n < SNIFF ? n : SNIFF))) {
			close(fd);
			return tool_fail(out, 0, "%s is a binary file (%lld bytes)", given, (long long)st.st_size);
		}
		sniffed = true;
		if (lines_feed(&l, chunk, (size_t)n, out))
			break;
	}
	close(fd);
	if (!l.began && l.first > 1)
		return tool_fail(out, 0, "view_range: %s has only %ld lines", given, l.at_start ? l.at - 1 : l.at);
	return 0;
}

/* mkdir -p of path's parent. */
static int
make_parents(const char *path)
{
	char dir[PATH_MAX];
	char *p;

	snprintf(dir, sizeof dir, "%s", path);
	for (p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return 0;
}

static int
put_temp(int fd, mode_t mode, const void *data, size_t len)
{
	return fdio_write(fd, data, len) < len ? -1 : fchmod(fd, mode);
}

int
file_replace(const char *given, const void *data, size_t len)
{
	char path[PATH_MAX], tmp[PATH_MAX + 16];
	mode_t mode = 0644;
	struct stat st;
	int fd, rc, saved;

	if (!realpath(given, path))	/* through a symlink to its file; a new file has none */
		snprintf(path, sizeof path, "%s", given);
	if (make_parents(path) < 0)
		return -1;
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode) || !S_ISREG(st.st_mode)) {
			errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
			return -1;
		}
		if (access(path, W_OK) < 0)
			return -1;
		mode = st.st_mode & 07777;
	}
	if (path[strlen(path) - 1] == '/') {
		errno = EISDIR;
		return -1;
	}
	snprintf(tmp, sizeof tmp, "%s", path);
	snprintf(strrchr(tmp, '/'), 16, "/.tmp-XXXXXX");
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = put_temp(fd, mode, data, len);
	if (rc == 0)
		rc = rename(tmp, path);
	saved = errno;
	close(fd);
	if (rc < 0)
		unlink(tmp);
	errno = saved;
	return rc;
}

int
tool_write(const struct args *a, struct buf *out)
{
	const char *given = args_get(a, "file_path"), *content = args_get(a, "content");
	char path[PATH_MAX];
	size_t len = strlen(content);

	if (tool_path(given, path, out) < 0)
		return -1;
	if (file_replace(path, content, len) < 0)
		return tool_fail(out, errno, "cannot write %s", given);
	buf_printf(out, "wrote %zu bytes to %s", len, given);
	return 0;
}

/* The whole file. The caller frees *out_data. */
static int
slurp(const char *given, const char *path, char **out_data, size_t *out_len, struct buf *out)
{
	struct stat st = { 0 };
	size_t at = 0;
	ssize_t n = 1;
	char *data;
	int fd = open_regular(given, path, &st, out);

	if (fd < 0)
		return -1;
	if (st.st_size > TOOL_FILE_MAX) {
		close(fd);
		tool_fail(out, 0, "%s is too large to edit (%lld bytes; at most %u)", given, (long long)st.st_size, TOOL_FILE_MAX);
		return -1;
	}
	data = malloc((size_t)st.st_size + 1);
	while (data && at < (size_t)st.st_size && n != 0) {
		n = read(fd, data + at, (size_t)st.st_size - at);
		if (n < 0 && errno != EINTR)
			break;
		at += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (!data || n < 0) {
		tool_fail(out, errno, "cannot read %s", given);
		free(data);
		return -1;
	}
	*out_data = data;
	*out_len = at;
	return 0;
}

static size_t
occurrences(const char *hay, size_t len, const char *needle, size_t nlen)
{
	const char *p = hay, *end = hay + len;
	size_t n = 0;

	while ((p = memmem(p, (size_t)(end - p), needle, nlen)) != NULL) {
		n++;
		p += nlen;
	}
	return n;
}

static char *
replaced(const char *hay, size_t len, const char *old, size_t olen, const char *new, size_t nlen, size_t total)
{
	const char *p = hay, *end = hay + len, *hit;
	char *text = malloc(total + 1), *w = text;

	if (!text)
		return NULL;
	while ((hit = memmem(p, (size_t)(end - p), old, olen)) != NULL) {
		w = mempcpy(w, p, (size_t)(hit - p));
		w = mempcpy(w, new, nlen);
		p = hit + olen;
	}
	memcpy(w, p, (size_t)(end - p));
	return text;
}

/* The replacement itself, on the file's content. */
static int
edit_data(const char *given, const char *path, const char *data, size_t len, const struct args *a, struct buf *out)
{
	const char *old = args_get(a, "old_string"), *new = args_get(a, "new_string");
	size_t olen = strlen(old), nlen = strlen(new), n = occurrences(data, len, old, olen), total;
	char *text;
	int rc;

	if (n == 0)
		return tool_fail(out, 0, "old_string not found in %s", given);
	if (n > 1 && args_num(a, "replace_all", 0) != 1)
		return tool_fail(out, 0, "old_string appears %zu times in %s; make it unique or set replace_all", n, given);
	if (nlen > olen && n > TOOL_FILE_MAX / (nlen - olen))
		return tool_fail(out, 0, "the edited file would be too large");
	total = len - n * olen + n * nlen;
	text = replaced(data, len, old, olen, new, nlen, total);
	rc = text ? file_replace(path, text, total) : -1;
	if (rc < 0)
		tool_fail(out, errno, "cannot write %s", given);
	else
		buf_printf(out, "edited %s (%zu replacement(s))", given, n);
	free(text);
	return rc;
}

int
tool_edit(const struct args *a, struct buf *out)
{
	const char *given = args_get(a, "file_path");
	char path[PATH_MAX];
	char *data = NULL;
	size_t len = 0;
	int rc;

	if (tool_path(given, path, out) < 0 || slurp(given, path, &data, &len, out) < 0 || !data)
		return -1;
	rc = edit_data(given, path, data, len, a, out);
	free(data);
	return rc;
}
