/*
 * catalogue: see catalogue.h. Reads only; who writes the catalogue is roostctl (ops/roostctl/models.c). The rule for unknown ids is in
 * the SQL, once for the gateway (catalogue_known) and once for the worker (the open column of catalogue_routes).
 */
#include "catalogue.h"

#include <string.h>

#include "xalloc.h"

int
catalogue_known(struct db *db, const char *model_id, bool *out_known, struct modelcaps *out_caps, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (!strcmp(model_id, CATALOGUE_SCRIPTED)) {
		*out_known = true;
		modelcaps_read(NULL, out_caps);
		return 0;
	}
	if (DB_RUN(db, STMT_CATALOGUE_KNOWN, &res, e, model_id) < 0)
		return err_wrap(e, "look up model");
	*out_known = PQntuples(res) == 1 && pg_bool(res, 0, 0);
	modelcaps_read(*out_known ? pg_str(res, 0, 1) : NULL, out_caps);
	return 0;
}

int
catalogue_model(struct db *db, const char *model_id, const char *speed, const char *geo, struct catalogue_model *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_CATALOGUE_MODEL, &res, e, model_id) < 0)
		return err_wrap(e, "look up model");
	*out = (struct catalogue_model){ .mid_system = PQntuples(res) == 1 && pg_bool(res, 0, 1) };
	cost_rates_read(PQntuples(res) == 1 ? pg_str(res, 0, 0) : NULL, speed, geo, &out->rates);
	return 0;
}

void
catalogue_row(const PGresult *res, int row, struct catalogue_row *out)
{
	*out = (struct catalogue_row){
		.generation = pg_int(res, row, 0),
		.open = pg_bool(res, row, 1),
		.model_id = pg_str(res, row, 2),
		.context_window = pg_int(res, row, 3),
		.max_output_tokens = pg_int(res, row, 4),
		.provider = pg_str(res, row, 5),
		.dialect = pg_str(res, row, 6),
		.base_url = pg_str(res, row, 7),
		.upstream = pg_str(res, row, 8),
		.key_sealed = pg_str(res, row, 9),
		.price = pg_str(res, row, 10),
	};
}

char *
catalogue_key_context(const char *provider, const char *dialect, const char *base_url)
{
	return xasprintf("provider key\n%s\n%s\n%s", provider, dialect, base_url);
}
