/*
 * models: the catalogue of this installation (contract 2.10). It is small, so a page is cut from one read of all of it. What the catalogue
 * does not know about a model (capabilities, life cycle dates, line) is null, as the types allow.
 */
#include <string.h>

#include "api.h"
#include "jw.h"
#include "modelinfo.h"

static void
encode(struct jw *w, const struct modelinfo_row *m)
{
	jw_obj(w);
	jw_kstr(w, "type", "model");
	jw_kstr(w, "id", m->id);
	jw_kstr(w, "display_name", m->display_name);
	jw_kstr(w, "created_at", m->created);
	jw_kstr(w, "lifecycle", "active");
	jw_knull(w, "deprecated_at");
	jw_knull(w, "retires_at");
	jw_knull(w, "line");
	jw_kint(w, "max_input_tokens", m->context_window);
	jw_kint(w, "max_tokens", m->max_output_tokens);
	jw_knull(w, "allowed_fallback_models");
	jw_knull(w, "capabilities");
	jw_obj_end(w);
}

int
api_model_get(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct modelinfo_row m;
	struct jw w;

	if (modelinfo_get(r->db, r->param[0], &res, &m, e) < 0)
		return -1;
	jw_begin(&w, &r->out);
	encode(&w, &m);
	jw_end(&w);
	return 0;
}

/* Row of the model with this id, or dflt when id is NULL or unknown. */
static int
row_of(const PGresult *res, const char *id, int dflt)
{
	struct modelinfo_row m;

	for (int i = 0; id && i < PQntuples(res); i++) {
		modelinfo_row(res, i, &m);
		if (strcmp(m.id, id) == 0)
			return i;
	}
	return dflt;
}

/* Are models of life cycle `active`, the only one there is, wanted? */
static bool
active_wanted(const struct gw_req *r)
{
	const char *const *stages;
	int n = query_list(&r->query, "lifecycle", &stages);

	for (int i = 0; i < n; i++)
		if (strcmp(stages[i], "active") == 0)
			return true;
	return n == 0;
}

static void
page(struct gw_req *r, const PGresult *res, int from, int to, bool more)
{
	struct modelinfo_row m = { 0 };
	const char *first = NULL;
	struct jw w;

	jw_begin(&w, &r->out);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (int i = from; i < to; i++) {
		modelinfo_row(res, i, &m);
		first = first ? first : m.id;
		encode(&w, &m);
	}
	jw_arr_end(&w);
	jw_kbool(&w, "has_more", more);
	jw_kstr(&w, "first_id", first);
	jw_kstr(&w, "last_id", m.id);
	jw_obj_end(&w);
	jw_end(&w);
}

int
api_model_list(struct gw_req *r, struct err *e)
{
	const char *after = query_text(&r->query, "after_id"), *before = query_text(&r->query, "before_id");
	int limit = (int)query_int(&r->query, "limit"), from, to, all;
	AUTO(pgres) PGresult *res = NULL;

	if (after && before)
		return err_set(e, EK_INVALID, 0, "Only one of after_id and before_id may be given");
	if (modelinfo_list(r->db, &res, e) < 0)
		return -1;
	all = active_wanted(r) ? PQntuples(res) : 0;
	from = row_of(res, after, -1) + 1;
	to = before ? row_of(res, before, all) : all;
	if (before && to - from > limit)
		from = to - limit;
	else if (to - from > limit)
		to = from + limit;
	if (to < from)
		from = to = 0;
	page(r, res, from, to, before ? from > 0 : to < all);
	return 0;
}
