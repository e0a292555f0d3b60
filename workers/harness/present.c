/*
 * present: which files of a context are still there. A file that was deleted, or has expired, is not shown to a model again, also when a
 * copy of it that some session has mounted keeps its bytes (contract 1.12: mounted copies live on; nothing else does).
 *
 * Asked before each model request whose context names files, in one statement; a context without files costs a look at the items that are
 * no plain text. At most IDS_MAX files, the newest: others count as gone. A failed question is repeated, the request waits.
 */
#include "present.h"

#include <stdlib.h>
#include <string.h>

#include "filesrc.h"
#include "log.h"
#include "xalloc.h"

#define IDS_MAX 1000
#define AGAIN_MS 200

struct ids {
	char *of[IDS_MAX];
	int n;
};

/* ctx: struct ids. An id that is in it already is not added again; most contexts have few. */
static void
add(void *ctx, struct jspan file_id)
{
	struct ids *ids = ctx;
	char *id;

	if (ids->n == IDS_MAX || file_id.n < 3 || file_id.n > ID_MAX || memchr(file_id.p, '\\', file_id.n) != NULL)
		return;
	for (int i = 0; i < ids->n; i++)
		if (strlen(ids->of[i]) == file_id.n - 2 && memcmp(ids->of[i], file_id.p + 1, file_id.n - 2) == 0)
			return;
	id = xstrndup(file_id.p + 1, file_id.n - 2);
	ids->of[ids->n++] = id;
}

static void
gather(const struct context *c, struct ids *out)
{
	for (int i = c->n - 1; i >= 0; i--)
		if (c->kinds[i] == 0)		/* an item with a file is looked at each time (context.c) */
			filesrc_ids(c->items[i].blocks, c->items[i].len, add, out);
}

static void
again(void *ctx)
{
	struct sess *s = ctx;

	s->retry = NULL;
	if (s->present_wanted)
		ask_begin(s);
}

static void
on_present(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	const char *list = r != NULL && PQntuples(r) > 0 ? pg_str(r, 0, 0) : NULL;

	if (!sess_answered(s) || --s->present_asked > 0 || !s->present_wanted)
		return;		/* the request was cancelled, or asks once more */
	if (e != NULL) {
		log_err("present_failed", e, "session", s->t.id, NULL);
		s->retry = loop_after(s->wk->loop, AGAIN_MS, again, s);
		return;
	}
	free(s->present);
	s->present = xasprintf(",%s,", list != NULL ? list : "");
	ask_begin(s);
}

bool
present_ask(struct sess *s)
{
	struct ids *ids;
	AUTO(str) char *array = NULL;

	if (s->present != NULL)
		return false;
	ids = xcalloc(1, sizeof(*ids));
	gather(&s->t.context, ids);
	s->present_wanted = ids->n > 0;
	if (ids->n > 0) {
		array = pg_array((const char *const *)ids->of, ids->n);
		s->present_asked++;
		SESS_WAIT(s);
		DBQ_RUN(s->wk->db, STMT_FILES_PRESENT, on_present, s, s->t.id, array);
	}
	for (int i = 0; i < ids->n; i++)
		free(ids->of[i]);
	free(ids);
	return s->present_wanted;
}

void
present_forget(struct sess *s)
{
	if (s->present_wanted)
		loop_cancel(s->wk->loop, &s->retry);
	s->present_wanted = false;
	free(s->present);
	s->present = NULL;
}
