/*
 * publish: see publish.h. One struct per offer: it asks hands, puts one row per output, pipelined, tells hands how each went, and asks
 * again while there is more. A refused output (the session is gone, has too many, or the organization is over its quota) is thrown away
 * and logged; a fault of the database leaves it with hands, which offers it again.
 */
#include "publish.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "failpoint.h"
#include "file.h"
#include "id.h"
#include "jw.h"
#include "jx.h"
#include "log.h"
#include "mime.h"
#include "xalloc.h"

struct publish {
	LIST_ENTRY(publish) link;	/* of all that are under way */
	struct wk *wk;
	char session[ID_MAX];
	int64_t epoch;
	bool destroy;			/* afterwards */
	bool looking;			/* for any session's: when one is done, for the next */
	bool more;			/* hands has more than it told */
	json_t *outputs;		/* of the present offer */
	size_t n, asked, answered;
	bool *keep, *drop;		/* by output: published; thrown away; neither: later */
	struct put {
		struct publish *p;
		size_t i;
	} *puts;			/* by output: its row, asked for */
};

static void on_offer(void *owner, const char *call, enum hands_outcome outcome, const json_t *doc);

static struct publish *
publish_new(struct wk *wk)
{
	struct publish *p = xcalloc(1, sizeof(*p));

	p->wk = wk;
	LIST_INSERT_HEAD(&wk->publishing, p, link);
	return p;
}

static void
publish_free(struct publish *p)
{
	LIST_REMOVE(p, link);
	json_decref(p->outputs);
	free(p->keep);
	free(p->drop);
	free(p->puts);
	free(p);
}

void
publish_close(struct wk *wk)
{
	struct publish *next;

	for (struct publish *p = LIST_FIRST(&wk->publishing); p; p = next) {
		next = LIST_NEXT(p, link);
		publish_free(p);
	}
}

static void
ask(struct publish *p, const char *op, int64_t epoch)
{
	hands_send(p->wk->hands, &(struct hands_request){ .op = op, .session = p->session[0] ? p->session : NULL, .epoch = epoch,
	    .done = on_offer, .owner = p });
}

static void
end(struct publish *p, bool next)
{
	if (next && p->looking)
		publish_look(p->wk);
	if (p->destroy)
		hands_send(p->wk->hands, &(struct hands_request){ .op = "destroy", .session = p->session, .epoch = p->epoch });
	publish_free(p);
}

/* Tell hands of those that `which` marks. */
static void
confirm(struct publish *p, const bool *which, bool keep)
{
	AUTO(buf) struct buf more = BUF_INIT(0);
	struct jw w;
	bool any = false;

	jw_begin(&w, &more);
	jw_obj(&w);
	jw_key(&w, "blobs");
	jw_arr(&w);
	for (size_t i = 0; i < p->n; i++)
		if (which[i]) {
			jw_str(&w, jx_str(json_array_get(p->outputs, i), "blob"));
			any = true;
		}
	jw_arr_end(&w);
	jw_kbool(&w, "keep", keep);
	jw_obj_end(&w);
	jw_end(&w);
	if (any)
		hands_send(p->wk->hands, &(struct hands_request){ .op = "published", .session = p->session, .epoch = -1,
		    .more = more.data });
}

/* Every row of this offer is answered. */
static void
offer_done(struct publish *p)
{
	bool left = false;

	for (size_t i = 0; i < p->n; i++)
		left |= !p->keep[i] && !p->drop[i];
	FAILPOINT(OUTPUTS_DONE);
	confirm(p, p->keep, true);
	confirm(p, p->drop, false);
	if (p->more && !left)
		ask(p, "outputs", -1);
	else
		end(p, !left);
}

static void
on_put(void *ctx, const PGresult *r, const struct err *e)
{
	struct put *x = ctx;
	struct publish *p = x->p;
	size_t i = x->i;
	const char *result = r != NULL ? pg_str(r, 0, 0) : "";

	if (e != NULL) {
		log_err("output_not_published", e, "session", p->session, NULL);
	} else if (strcmp(result, "ok") == 0 || strcmp(result, "again") == 0) {
		p->keep[i] = true;
	} else {
		p->drop[i] = true;
		if (strcmp(result, "same") != 0)
			log_warn("output_refused", "session", p->session, "why", result, NULL);
	}
	if (++p->answered == p->asked)
		offer_done(p);
}

static void
put(struct publish *p, size_t i)
{
	const json_t *o = json_array_get(p->outputs, i);
	const char *name = jx_str(o, "name"), *blob = jx_str(o, "blob"), *sha256 = jx_str(o, "sha256"), *path = jx_str(o, "path");
	struct put *x = &p->puts[i];
	char id[ID_MAX];

	x->p = p;
	x->i = i;
	DBQ_RUN(p->wk->db, STMT_OUTPUT_PUT, on_put, x, id_new("file_", id), p->session, path, name, mime_of_name(name), blob,
	    DBN(jx_int(o, "size", 0)), sha256, DBN(p->wk->conf.file_quota), DBN(p->wk->conf.outputs_max));
}

static bool
complete(const json_t *o)
{
	return jx_str(o, "name") != NULL && jx_str(o, "blob") != NULL && jx_str(o, "sha256") != NULL && jx_str(o, "path") != NULL;
}

/* What hands answered to pause or outputs: an offer, or nothing to do. */
static void
on_offer(void *owner, const char *call, enum hands_outcome outcome, const json_t *doc)
{
	struct publish *p = owner;
	const char *session = jx_str(doc, "session");
	const json_t *list = json_object_get(doc, "outputs");

	(void)call;
	if (outcome != HANDS_OK || session == NULL || json_array_size(list) == 0) {
		end(p, false);
		return;
	}
	strncpy(p->session, session, sizeof(p->session) - 1);
	json_decref(p->outputs);
	free(p->keep);
	free(p->drop);
	free(p->puts);
	p->outputs = json_deep_copy(list);
	p->n = json_array_size(list);
	p->keep = xcalloc(p->n, sizeof(bool));
	p->drop = xcalloc(p->n, sizeof(bool));
	p->puts = xcalloc(p->n, sizeof(*p->puts));
	p->more = jx_bool(doc, "more", false) != 0;
	p->asked = p->answered = 0;
	FAILPOINT(OUTPUTS);
	for (size_t i = 0; i < p->n; i++)
		p->asked += complete(json_array_get(p->outputs, i));
	for (size_t i = 0; i < p->n; i++)
		if (complete(json_array_get(p->outputs, i)))
			put(p, i);
	if (p->asked == 0)
		end(p, false);
}

void
publish_pause(struct wk *wk, const char *session, int64_t epoch, bool destroy)
{
	struct publish *p = publish_new(wk);

	p->epoch = epoch;
	p->destroy = destroy;
	strncpy(p->session, session, sizeof(p->session) - 1);
	ask(p, "pause", epoch);
}

void
publish_look(struct wk *wk)
{
	struct publish *p;

	if (!hands_up(wk->hands) || !dbq_ready(wk->db))
		return;
	p = publish_new(wk);
	p->looking = true;
	ask(p, "outputs", -1);
}
