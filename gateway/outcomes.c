/*
 * outcomes: see outcomes.h. The rubric stands in the event as text. The agent reads description and rubric as one text block: the description
 * first, because it is the task.
 */
#include "outcomes.h"

#include <string.h>

#include "id.h"
#include "jw.h"
#include "jx.h"
#include "session.h"

#define ITERATIONS 3
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
