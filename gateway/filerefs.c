/*
 * filerefs: see filerefs.h. One statement for all files of a request, none when it names no file. Between this look and the commit a
 * file may go: then the model is told so later, as with every file that is deleted after its event was sent.
 */
#include "filerefs.h"

#include <string.h>

#include "file.h"
#include "id.h"
#include "jx.h"
#include "xalloc.h"

DEFINE_CLEANUP(const char **, ids, free)

/* The source of a block, if it is a file. */
static json_t *
file_source(const json_t *block)
{
	json_t *source = json_object_get(block, "source");
	const char *type = jx_str(source, "type");

	return type && strcmp(type, "file") == 0 ? source : NULL;
}

/* Call one(ctx, source) for each file source of the events. */
static int
each(const json_t *events, int (*one)(void *ctx, json_t *source, struct err *e), void *ctx, struct err *e)
{
	json_t *event, *block, *source;
	size_t i, k;

	json_array_foreach(events, i, event) {
		json_array_foreach(json_object_get(event, "content"), k, block) {
			source = file_source(block);
			if (source && one(ctx, source, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* ctx: the set of ids. */
static int
note(void *ctx, json_t *source, struct err *e)
{
	const char *id = jx_str(source, "file_id");

	if (!id_ok("file_", id))
		return file_absent(id, e);
	json_object_set_new(ctx, id, json_null());
	return 0;
}

/* ctx: what each id stands for. */
static int
put(void *ctx, json_t *source, struct err *e)
{
	json_t *found = json_object_get(ctx, jx_str(source, "file_id"));

	if (json_is_null(found))
		return file_absent(jx_str(source, "file_id"), e);
	json_object_set(source, FILEREF_KEY, found);
	return 0;
}

static int
look_up(struct db *db, const char *workspace, json_t *set, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(ids) const char **ids = xcalloc(json_object_size(set) + 1, sizeof *ids);
	struct file_row f;
	const char *id;
	json_t *v;
	int n = 0;

	json_object_foreach(set, id, v)
		ids[n++] = id;
	if (file_some(db, workspace, NULL, ids, n, &res, e) < 0)
		return -1;
	for (int i = 0; i < PQntuples(res); i++) {
		file_row(res, i, &f);
		if (f.blob_id)
			json_object_set_new(set, f.id, json_pack("{ss,ss,ss,sI,ss,ss}", "type", "blob", "blob", f.blob_id,
			    "media_type", f.mime, "size", (json_int_t)f.size, "file_id", f.id, "name", f.filename));
	}
	return 0;
}

int
filerefs_resolve(struct db *db, const char *workspace, const json_t *events, struct err *e)
{
	AUTO(json) json_t *set = json_object();

	if (each(events, note, set, e) < 0)
		return -1;
	if (json_object_size(set) == 0)
		return 0;
	return look_up(db, workspace, set, e) < 0 ? -1 : each(events, put, set, e);
}
