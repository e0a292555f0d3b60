/*
 * outcomes: see outcomes.h. The rubric stands in the event as text, also when it came as a file: what the file says later changes nothing. The agent reads description and rubric as one text block: the description
 * first, because it is the task.
 */
#include "outcomes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blob.h"
#include "cleanup.h"
#include "file.h"
#include "id.h"
#include "jw.h"
#include "jx.h"
#include "session.h"

#define ITERATIONS 3
#define RUBRIC_MAX 262144	/* characters, as of a text rubric (shapes.def) */
#define READ_AS "\n\nThis is an outcome to be reached. Whenever you come to an end, your work is evaluated against the rubric below, by someone " \
	"who sees only what you have done and said. You may be asked to revise it.\n\nRubric:\n"

int
outcomes_check(const char *list, const json_t *events, struct err *e)
{
	const json_t *event;
	size_t i;
	int n = 0;

	json_array_foreach(events, i, event)
		if (strcmp(jx_str(event, "type"), OUTCOME_TYPE) == 0 && ++n > 1)
			return err_set(e, EK_INVALID, 0, "Invalid user.define_outcome event at %s[%zu]: only one outcome may be defined at a time",
			    list, i);
	return 0;
}

/* All of a small blob. */
static json_t *
blob_text(const char *dir, const struct file_row *f, struct err *e)
{
	AUTO(fd) int fd = -1;
	AUTO(buf) struct buf text = BUF_INIT(0);
	char part[16384];
	int64_t size;
	ssize_t n;
	json_t *v;

	fd = blob_open(dir, f->blob_id, &size, e);
	if (fd < 0)
		return NULL;
	while ((n = read(fd, part, sizeof part)) > 0 && text.len <= (size_t)f->size)
		buf_put(&text, part, (size_t)n);
	if (n < 0) {
		err_fault(e, EK_UNAVAILABLE, errno, "read blob %s", f->blob_id);
		return NULL;
	}
	v = memchr(text.len ? text.data : "", 0, text.len) ? NULL : json_stringn(text.len ? text.data : "", text.len);
	if (!v)
		err_set(e, EK_INVALID, 0, "rubric.file_id: file %s is not UTF-8 text", f->id);
	return v;
}

static size_t
characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static int
resolve(struct db *db, const char *workspace, const char *blob_dir, json_t *event, struct err *e)
{
	const char *id = jx_str(json_object_get(event, "rubric"), "file_id");
	AUTO(pgres) PGresult *res = NULL;
	struct file_row f;
	json_t *text;

	if (!id_ok("file_", id))
		return file_absent(id, e);
	if (file_some(db, workspace, NULL, &id, 1, &res, e) < 0)
		return -1;
	if (PQntuples(res) == 0)
		return file_absent(id, e);
	file_row(res, 0, &f);
	if (!f.blob_id)
		return file_absent(id, e);
	if (f.size == 0 || f.size > 4 * RUBRIC_MAX)
		return err_set(e, EK_INVALID, 0, "rubric.file_id: file %s must hold 1 to %d characters", id, RUBRIC_MAX);
	text = blob_text(blob_dir, &f, e);
	if (!text)
		return -1;
	json_object_set_new(event, "rubric", json_pack("{ss,so}", "type", "text", "content", text));
	if (characters(json_string_value(text)) > RUBRIC_MAX)
		return err_set(e, EK_INVALID, 0, "rubric.file_id: file %s must hold 1 to %d characters", f.id, RUBRIC_MAX);
	return 0;
}

int
outcomes_resolve(struct db *db, const char *workspace, const char *blob_dir, const json_t *events, struct err *e)
{
	json_t *event;
	size_t i;

	json_array_foreach(events, i, event)
		if (strcmp(jx_str(event, "type"), OUTCOME_TYPE) == 0 &&
		    strcmp(jx_str(json_object_get(event, "rubric"), "type"), "file") == 0 &&
		    resolve(db, workspace, blob_dir, event, e) < 0)
			return -1;
	return 0;
}

void
outcomes_draft(json_t *event, struct inbox_item *it, struct buf *stem)
{
	const char *description = jx_str(event, "description"), *rubric = jx_str(json_object_get(event, "rubric"), "content");
	AUTO(buf) struct buf said = BUF_INIT(0);
	struct buf fragment = BUF_INIT(0);
	char id[ID_MAX];

	id_new("outc_", id);
	json_object_set_new(event, "outcome_id", json_string(id));
	buf_printf(stem, ",\"outcome_id\":\"%s\",\"description\":", id);
	jw_quote(stem, description, strlen(description));
	buf_str(stem, ",\"rubric\":{\"type\":\"text\",\"content\":");
	jw_quote(stem, rubric, strlen(rubric));
	buf_printf(stem, "},\"max_iterations\":%d", (int)jx_int(event, "max_iterations", ITERATIONS));

	buf_str(&said, description);
	buf_str(&said, READ_AS);
	buf_str(&said, rubric);
	buf_str(&fragment, "{\"type\":\"text\",\"text\":");
	jw_quote(&fragment, said.data, said.len);
	buf_ch(&fragment, '}');
	it->fragment = buf_steal(&fragment);
	it->wakes = true;
	it->on_receipt = true;
}

char *
outcomes_pending(const json_t *events)
{
	const json_t *event;
	size_t i;

	json_array_foreach(events, i, event) {
		struct buf out = BUF_INIT(0);
		struct jw w;

		if (strcmp(jx_str(event, "type"), OUTCOME_TYPE) != 0)
			continue;
		jw_begin(&w, &out);
		jw_arr(&w);
		jw_obj(&w);
		jw_kstr(&w, "type", "outcome_evaluation");
		jw_kstr(&w, "outcome_id", jx_str(event, "outcome_id"));
		jw_kstr(&w, "description", jx_str(event, "description"));
		jw_kint(&w, "iteration", 0);
		jw_kstr(&w, "result", "pending");
		jw_knull(&w, "explanation");
		jw_knull(&w, "completed_at");
		jw_obj_end(&w);
		jw_arr_end(&w);
		jw_end(&w);
		return buf_steal(&out);
	}
	return NULL;
}

int
outcomes_admit(struct db *db, const char *workspace, const char *session, size_t index, bool freed, struct err *e)
{
	bool open;

	if (session_outcome(db, workspace, session, &open, e) < 0)
		return -1;
	if (open && !freed)
		return err_set(e, EK_INVALID, 0, "Invalid user.define_outcome event at events[%zu]: the session still works toward an outcome; wait "
		    "for its evaluation to end, or send a `user.interrupt`", index);
	return 0;
}
