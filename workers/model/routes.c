/*
 * routes: see routes.h. The copy is replaced whole when a newer generation arrives, so a lookup never sees half a catalogue. A lost
 * connection leaves the old copy in use; the next refresh finds the newer one. Readers are the turns of this worker, one thread.
 */
#include "routes.h"

#include <stdlib.h>
#include <string.h>

#include "catalogue.h"
#include "log.h"
#include "seal.h"
#include "xalloc.h"

#define REFRESH_MS 5000

struct entry {
	char *id, *price;		/* price may be NULL */
	int context_window, max_output_tokens;
	int first, n;			/* its routes */
};

struct routes {
	struct loop *loop;
	struct loop_timer *timer;
	struct dbq *q;
	struct seal_key key;
	bool has_key;
	int64_t generation;		/* 0: nothing read yet */
	bool open;
	struct entry *entries;		/* in the order of their ids, as C compares bytes */
	int nentries;
	struct model_route *all;
	int nall;
};

static void
forget(struct routes *r)
{
	for (int i = 0; i < r->nentries; i++) {
		free(r->entries[i].id);
		free(r->entries[i].price);
	}
	free(r->entries);
	if (r->all)
		explicit_bzero(r->all, (size_t)r->nall * sizeof(*r->all));
	free(r->all);
	r->entries = NULL;
	r->all = NULL;
	r->nentries = r->nall = 0;
}

static bool
copy(char *to, size_t size, const char *text)
{
	size_t n = strlen(text);

	if (n >= size)
		return false;
	memcpy(to, text, n + 1);
	return true;
}

/* One route of a row. false: it cannot be used; said in the log. */
static bool
route_fill(const struct routes *r, const struct catalogue_row *row, struct model_route *out)
{
	struct err e = ERR_INIT;
	char *context;
	int rc;

	if (!copy(out->dialect, sizeof(out->dialect), row->dialect) || !copy(out->base_url, sizeof(out->base_url), row->base_url) ||
	    !copy(out->upstream, sizeof(out->upstream), row->upstream)) {
		log_error("route_too_long", "model", row->model_id, "provider", row->provider, NULL);
		return false;
	}
	if (!row->key_sealed)
		return true;
	if (!r->has_key) {
		log_error("provider_key_unopened", "provider", row->provider, "why", "no instance_key_file is set", NULL);
		return false;
	}
	context = catalogue_key_context(row->provider, row->dialect, row->base_url);
	rc = seal_open(&r->key, context, row->key_sealed, out->api_key, sizeof(out->api_key), &e);
	free(context);
	if (rc < 0)
		log_err("provider_key_unopened", &e, "provider", row->provider, NULL);
	return rc == 0;
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static void
on_rows(void *ctx, const PGresult *res, const struct err *e)
{
	struct routes *r = ctx;
	struct catalogue_row row;
	int n;

	if (e) {
		log_err("catalogue_unread", e, NULL);
		return;
	}
	n = PQntuples(res);
	if (!n)
		return;
	forget(r);
	r->entries = xcalloc((size_t)n, sizeof(*r->entries));
	r->all = xcalloc((size_t)n, sizeof(*r->all));
	for (int i = 0; i < n; i++) {
		struct entry *last;

		catalogue_row(res, i, &row);
		if (!r->nentries || strcmp(r->entries[r->nentries - 1].id, row.model_id) != 0) {
			r->entries[r->nentries++] =
			    (struct entry){ xstrdup(row.model_id), xstrdup_opt(row.price), (int)row.context_window,
			    (int)row.max_output_tokens, r->nall, 0 };
		}
		last = &r->entries[r->nentries - 1];
		if (route_fill(r, &row, &r->all[r->nall])) {
			r->nall++;
			last->n++;
		} else {
			explicit_bzero(&r->all[r->nall], sizeof(r->all[0]));
		}
		r->generation = row.generation;
		r->open = row.open;
	}
	qsort(r->entries, (size_t)r->nentries, sizeof(*r->entries), by_id);
	log_info("catalogue_read", "generation", LOGN(r->generation), "models", LOGN(r->nentries), "routes", LOGN(r->nall), NULL);
}

void
routes_refresh(struct routes *r, struct dbq *q)
{
	DBQ_RUN(q, STMT_CATALOGUE_ROUTES, on_rows, r, DBN(r->generation));
}

static void
on_timer(void *ctx)
{
	struct routes *r = ctx;

	r->timer = loop_after(r->loop, REFRESH_MS, on_timer, r);
	if (dbq_pending(r->q) < 1000)	/* nothing gained by queueing behind a connection that is down */
		routes_refresh(r, r->q);
}

struct routes *
routes_new(struct loop *loop, struct dbq *q, const char *key_file, struct err *e)
{
	struct routes *r = xcalloc(1, sizeof(*r));

	r->loop = loop;
	r->q = q;
	if (key_file[0]) {
		if (seal_load_key(key_file, &r->key, e) < 0) {
			free(r);
			return NULL;
		}
		r->has_key = true;
	}
	routes_refresh(r, q);
	r->timer = loop_after(loop, REFRESH_MS, on_timer, r);
	return r;
}

void
routes_free(struct routes **rp)
{
	struct routes *r = *rp;

	*rp = NULL;
	if (!r)
		return;
	loop_cancel(r->loop, &r->timer);
	forget(r);
	seal_wipe(&r->key);
	free(r);
}

bool
routes_ready(const struct routes *r)
{
	return r->generation > 0;
}

int64_t
routes_generation(const struct routes *r)
{
	return r->generation;
}

bool
routes_find(const struct routes *r, const char *model_id, struct routes_model *out)
{
	struct entry want = { .id = (char *)(uintptr_t)model_id };
	const struct entry *hit = NULL;

	if (r->nentries)
		hit = bsearch(&want, r->entries, (size_t)r->nentries, sizeof(want), by_id);
	if (!hit && r->open && r->nentries) {
		want.id = (char *)(uintptr_t)CATALOGUE_SCRIPTED;
		hit = bsearch(&want, r->entries, (size_t)r->nentries, sizeof(want), by_id);
	}
	if (!hit)
		return false;
	*out = (struct routes_model){ r->all + hit->first, hit->n, hit->context_window, hit->max_output_tokens, hit->price };
	return true;
}
