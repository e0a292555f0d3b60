/*
 * models_export: `roostctl models export`: the catalogue as a file that `models apply` takes, for another instance or for editing. Keys
 * stay where they are: providers come without api_key, which on apply means "keep". Reads only; fails as every command does.
 */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "jw.h"

static void
put_providers(struct jw *w, const PGresult *res)
{
	jw_key(w, "providers");
	jw_arr(w);
	for (int i = 0; i < PQntuples(res); i++) {
		jw_obj(w);
		jw_kstr(w, "name", pg_str(res, i, 0));
		jw_kstr(w, "dialect", pg_str(res, i, 1));
		if (strcmp(pg_str(res, i, 1), "scripted") != 0)
			jw_kstr(w, "base_url", pg_str(res, i, 2));
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

/* lines: "provider<TAB>upstream". */
static void
put_routes(struct jw *w, const char *lines)
{
	jw_key(w, "routes");
	jw_arr(w);
	for (const char *p = lines; p != NULL && *p != '\0';) {
		size_t name = strcspn(p, "\t"), rest = strcspn(p + name + 1, "\n");

		jw_obj(w);
		jw_key(w, "provider");
		jw_strn(w, p, name);
		jw_key(w, "upstream");
		jw_strn(w, p + name + 1, rest);
		jw_obj_end(w);
		p += name + 1 + rest;
		p += *p == '\n';
	}
	jw_arr_end(w);
}

static void
put_models(struct jw *w, const PGresult *res)
{
	jw_key(w, "models");
	jw_arr(w);
	for (int i = 0; i < PQntuples(res); i++) {
		jw_obj(w);
		jw_kstr(w, "id", pg_str(res, i, 0));
		jw_kstr(w, "display_name", pg_str(res, i, 1));
		put_routes(w, pg_str(res, i, 6));
		jw_kint(w, "context_window", pg_int(res, i, 2));
		jw_kint(w, "max_output_tokens", pg_int(res, i, 3));
		jw_kraw(w, "price", pg_str(res, i, 4));
		jw_kbool(w, "mid_conversation_system", pg_bool(res, i, 5));
		jw_kraw(w, "capabilities", pg_str(res, i, 7));
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

int
cmd_models_export(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *providers = NULL;
	AUTO(pgres) PGresult *models = NULL;
	AUTO(buf) struct buf out = { 0 };
	struct err e = ERR_INIT;
	struct jw w;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_CATALOGUE_PROVIDERS, &providers, &e) < 0 || DB_RUN(c->db, STMT_CATALOGUE_MODELS, &models, &e) < 0)
		return ctl_fail("models export", &e);
	jw_begin(&w, &out);
	jw_obj(&w);
	put_providers(&w, providers);
	put_models(&w, models);
	jw_obj_end(&w);
	jw_end(&w);
	puts(out.data);
	return CTL_OK;
}
