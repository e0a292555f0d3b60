/*
 * outputs_list: see outputs_list.h. On disk a list is "NAME", written as "NAME.new" and renamed; what a crash leaves half-written is
 * removed at the next start, and a list that was written is taken up. A list that was handed out and not confirmed is offered to any worker
 * again (`outputs`), after RETELL_MS; one that still names what was confirmed is offered once more: no harm, but no use.
 */
#include "outputs_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blobs.h"
#include "clock.h"
#include "fdio.h"
#include "jx.h"
#include "log.h"
#include "session.h"
#include "xalloc.h"

#define RETELL_MS 3000
#define REPLY_BYTES (1u << 20)

DEFINE_CLEANUP(DIR *, dirp, closedir)

static void
write_one(struct jw *w, const struct unpublished *u)
{
	jw_obj(w);
	jw_kstr(w, "path", u->path);
	jw_kstr(w, "name", u->name);
	jw_kstr(w, "blob", u->blob);
	jw_kstr(w, "sha256", u->sha256);
	jw_kint(w, "size", u->size);
	jw_obj_end(w);
}

/* Where the path is in the list, or belongs. */
static int
place(const struct outputs *o, const char *path)
{
	int from = 0, to = o->n;

	while (from < to) {
		int mid = (from + to) / 2;

		if (strcmp(o->list[mid].path, path) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static struct output *
find(struct outputs *o, const char *path)
{
	int at = place(o, path);

	return at < o->n && strcmp(o->list[at].path, path) == 0 ? &o->list[at] : NULL;
}

int
outputs_list_save(const struct session *s, bool sync)
{
	const struct outputs *o = &s->outputs;
	const int dir = s->h->outputs_dir;
	AUTO(buf) struct buf b = { 0 };
	AUTO(fd) int fd = -1;
	char tmp[SESSION_ID_MAX + 8];
	struct jw w;

	if (o->npending == 0)
		return unlinkat(dir, s->id, 0) < 0 && errno != ENOENT ? -1 : 0;
	jw_begin(&w, &b);
	jw_arr(&w);
	for (int i = 0; i < o->npending; i++)
		write_one(&w, &o->pending[i]);
	jw_arr_end(&w);
	jw_end(&w);
	snprintf(tmp, sizeof tmp, "%s.new", s->id);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fdio_write(fd, b.data, b.len) < b.len || (sync && fdatasync(fd) < 0))
		return -1;
	return renameat(dir, tmp, dir, s->id);
}

static struct output *
add(struct outputs *o, const char *path)
{
	const int at = place(o, path);

	o->list = xrealloc(o->list, (size_t)(o->n + 1) * sizeof *o->list);
	memmove(o->list + at + 1, o->list + at, (size_t)(o->n++ - at) * sizeof *o->list);
	o->list[at] = (struct output){ .path = xstrdup(path) };
	return &o->list[at];
}

void
outputs_list_put(struct session *s, const json_t *item)
{
	struct outputs *o = &s->outputs;
	const char *path = jx_str(item, "path"), *name = jx_str(item, "name"), *blob = jx_str(item, "blob"), *sha = jx_str(item, "sha256");
	struct output *x = path ? find(o, path) : NULL;
	struct unpublished *u;

	if (!path || (blob && (!name || !sha || !blob_id_ok(blob) || strlen(sha) != 64)) || (!blob && !x))
		return;
	if (!x)
		x = add(o, path);
	x->stamp = (struct collect_stamp){ .ino = (uint64_t)jx_int(item, "ino", 0), .size = jx_int(item, "size", 0),
		.mtime_ns = jx_int(item, "mtime", 0), .ctime_ns = jx_int(item, "ctime", 0) };
	if (!blob)
		return;
	memcpy(x->sha256, sha, sizeof x->sha256);
	o->taken++;
	o->bytes += x->stamp.size;
	o->pending = xrealloc(o->pending, (size_t)(o->npending + 1) * sizeof *o->pending);
	u = &o->pending[o->npending++];
	*u = (struct unpublished){ .path = xstrdup(path), .name = xstrdup(name), .size = x->stamp.size };
	memcpy(u->blob, blob, sizeof u->blob);
	memcpy(u->sha256, sha, sizeof u->sha256);
	s->h->outputs_pending += o->npending == 1;
}

void
outputs_list_shorter(struct session *s)
{
	if (s->outputs.shorter && outputs_list_save(s, false) < 0)
		log_warn("outputs_list", "session", s->id, "why", strerror(errno), NULL);
	s->outputs.shorter = false;
}

static void
forget(struct unpublished *u)
{
	free(u->path);
	free(u->name);
}

static void
take_off(struct outputs *o, int k)
{
	forget(&o->pending[k]);
	memmove(o->pending + k, o->pending + k + 1, (size_t)(--o->npending - k) * sizeof *o->pending);
}

/* The list has become shorter, from `had` on. */
static void
shortened(struct session *s, int had)
{
	struct outputs *o = &s->outputs;

	s->h->outputs_pending -= had > 0 && o->npending == 0;
	o->shorter |= had != o->npending;
	if (!o->collecting)
		outputs_list_shorter(s);
}

/* A copy that is not in the store any more (its file was published, then deleted, and nobody told us) is not offered again. */
static void
drop_missing(struct session *s)
{
	const int had = s->outputs.npending;

	for (int k = had - 1; k >= 0; k--)
		if (!blobs_have(s->h->blobs, s->outputs.pending[k].blob))
			take_off(&s->outputs, k);
	shortened(s, had);
}

void
outputs_write(struct session *s, struct jw *w)
{
	struct outputs *o = &s->outputs;
	size_t before = w->out->len;
	bool more = false;

	if (!o->collecting)
		drop_missing(s);

	jw_kstr(w, "session", s->id);
	jw_key(w, "outputs");
	jw_arr(w);
	for (int i = 0; i < o->npending && !more; i++) {
		more = w->out->len - before > REPLY_BYTES;
		if (!more)
			write_one(w, &o->pending[i]);
	}
	jw_arr_end(w);
	jw_kbool(w, "more", more);
	o->told_ms = clock_mono_ms();
}

void
outputs_done(struct session *s, const json_t *blobs, bool keep)
{
	struct outputs *o = &s->outputs;
	const int had = o->npending;
	const json_t *v;
	size_t i;
	int k;

	json_array_foreach(blobs, i, v) {
		for (k = 0; k < o->npending && !(json_is_string(v) && strcmp(o->pending[k].blob, json_string_value(v)) == 0); k++)
			;
		if (k == o->npending)
			continue;
		if (!keep) {
			blobs_remove(s->h->blobs, o->pending[k].blob);
			o->taken--;
			o->bytes -= o->pending[k].size;
		}
		take_off(o, k);
	}
	shortened(s, had);
}

struct session *
outputs_forgotten(struct hands *h)
{
	int64_t now = clock_mono_ms();
	struct session *s;

	if (h->outputs_pending == 0)
		return NULL;
	TAILQ_FOREACH(s, &h->sessions, link)
		if (s->outputs.npending > 0 && !s->outputs.collecting && now - s->outputs.told_ms >= RETELL_MS)
			return s;
	return NULL;
}

void
outputs_list_forget(struct outputs *o)
{
	for (int i = 0; i < o->n; i++)
		free(o->list[i].path);
	free(o->list);
	o->list = NULL;
	o->n = 0;
}

static void
take_up(struct hands *h, const char *name)
{
	AUTO(json) json_t *list = NULL;
	AUTO(fd) int fd = openat(h->outputs_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err e = ERR_INIT;
	struct session *s;
	const json_t *v;
	size_t i;

	list = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;
	if (!json_is_array(list) || !(s = session_enter(h, name, 0, false, &e))) {
		log_warn("outputs_list", "session", name, "why", "not readable", NULL);
		return;
	}
	json_array_foreach(list, i, v)
		outputs_list_put(s, v);
	log_info("outputs_pending", "session", name, "files", LOGN(s->outputs.npending), NULL);
}

int
outputs_open(struct hands *h, struct err *e)
{
	char path[320];
	AUTO(dirp) DIR *dir = NULL;
	struct dirent *d;

	snprintf(path, sizeof path, "%s/outputs", h->conf.sandbox_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make %s", path);
	h->outputs_dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = opendir(path);
	if (h->outputs_dir < 0 || !dir)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot open %s", path);
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		if (strchr(d->d_name, '.'))
			(void)unlinkat(h->outputs_dir, d->d_name, 0);	/* half-written */
		else
			take_up(h, d->d_name);
	}
	return 0;
}
