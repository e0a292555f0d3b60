/* modelinfo: binds and decodes what the API reads of the catalogue. Reads only. */
#include "modelinfo.h"

void
modelinfo_row(const PGresult *res, int row, struct modelinfo_row *out)
{
	*out = (struct modelinfo_row){ .id = pg_str(res, row, 0), .display_name = pg_str(res, row, 1), .context_window = pg_int(res, row, 2),
	    .max_output_tokens = pg_int(res, row, 3), .created = pg_str(res, row, 4) };
}

int
modelinfo_list(struct db *db, PGresult **res, struct err *e)
{
	return DB_RUN(db, STMT_MODEL_LIST, res, e) < 0 ? err_wrap(e, "list models") : 0;
}

int
modelinfo_get(struct db *db, const char *id, PGresult **res, struct modelinfo_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_MODEL_GET, &r, e, id) < 0)
		return err_wrap(e, "get model");
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "model: %.128s", id);
	modelinfo_row(r, 0, out);
	*res = steal(r);
	return 0;
}
