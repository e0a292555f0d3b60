/*
 * dedupe: see dedupe.h. Binds and decodes; what is an earlier attempt of a call is decided by the functions in the database, under the
 * call's lock.
 */
#include "dedupe.h"

#include <string.h>

static void
identify(struct dedupe_step *s, const struct dedupe_id *id)
{
	s->kind[0] = (char)id->kind;
	s->kind[1] = '\0';
	s->params[0] = db_num(&s->lock, id->lock);
	s->params[1] = id->ident;
	s->params[2] = id->kind == DEDUPE_KEY ? "" : id->request;
	s->params[3] = s->kind;
	s->params[4] = db_num(&s->count, id->count);
	s->step = (struct db_step){ .params = s->params };
}

void
dedupe_enter_step(struct dedupe_step *s, const struct dedupe_id *id)
{
	identify(s, id);
	s->step.stmt = STMT_REQUEST_ENTER;
	s->step.nparams = 5;
}

void
dedupe_store_step(struct dedupe_step *s, const struct dedupe_id *id, const struct dedupe_kept *kept, int64_t keep_s)
{
	identify(s, id);
	s->params[5] = id->digest;
	s->params[6] = db_num(&s->status, kept->status);
	s->params[7] = kept->reply;
	s->params[8] = kept->events;
	s->params[9] = kept->object;
	s->params[10] = db_num(&s->keep, keep_s);
	s->step.stmt = STMT_REQUEST_STORE;
	s->params[11] = id->connection;
	s->step.nparams = 12;
}

void
dedupe_made_params(struct dedupe_made *m, const struct dedupe_id *id, const char *pieces, int64_t keep_s, const char *out[DEDUPE_MADE])
{
	out[0] = db_num(&m->lock, id->lock);
	out[1] = id->ident;
	out[2] = id->request;
	out[3] = id->digest;
	out[4] = pieces;
	out[5] = db_num(&m->keep, keep_s);
	out[6] = id->connection;
}

int
dedupe_find(struct db *db, const struct dedupe_id *id, PGresult **res, struct err *e)
{
	struct dedupe_step s;

	dedupe_enter_step(&s, id);
	return db_run(db, s.step.stmt, s.step.nparams, s.params, res, e) < 0 ? err_wrap(e, "find an earlier attempt") : 0;
}

void
dedupe_row(const PGresult *res, const struct dedupe_id *id, struct dedupe_kept *out, bool *out_same)
{
	*out_same = strcmp(pg_str(res, 0, 0), id->digest) == 0;
	*out = (struct dedupe_kept){ .status = (int)pg_int(res, 0, 1), .reply = pg_str(res, 0, 2), .events = pg_str(res, 0, 3),
	    .object = pg_str(res, 0, 4), .request = pg_str(res, 0, 5), .connection = pg_str(res, 0, 6) };
}

int
dedupe_delivered(struct db *db, const struct dedupe_id *id, const char *request, struct err *e)
{
	return DB_RUN(db, STMT_REQUEST_DELIVERED, NULL, e, id->ident, request) < 0 ? err_wrap(e, "forget an answer that was delivered") : 0;
}

int
dedupe_sweep(struct db *db, int64_t limit, int64_t *out_n, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_REQUEST_SWEEP, &res, e, DBN(limit)) < 0)
		return err_wrap(e, "forget answered requests");
	*out_n = pg_int(res, 0, 0);
	return 0;
}

int
dedupe_forget(struct db *db, const char *object, struct err *e)
{
	return DB_RUN(db, STMT_REQUEST_FORGET, NULL, e, object) < 0 ? err_wrap(e, "forget answers about %s", object) : 0;
}
