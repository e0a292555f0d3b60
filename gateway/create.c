/*
 * create: see create.h. A crash, or a connection that is lost, leaves the object or nothing, with what is kept of its answer; the frame
 * finds out which (once.c).
 */
#include "create.h"

#include <string.h>

#include "failpoint.h"
#include "xalloc.h"

#define PIECES 8

bool
create_stamped(const struct gw_req *r, const char *reply)
{
	return strstr(reply, r->id) == NULL;
}

const char *
create_pieces(const struct gw_req *r)
{
	const char *pieces[PIECES], *p = r->out.data, *at;
	AUTO(str) char *array = NULL;
	int n = 0;

	while (n < PIECES - 1 && (at = strstr(p, r->id)) != NULL) {
		pieces[n++] = arena_strndup(r->arena, p, (size_t)(at - p));
		p = at + strlen(r->id);
	}
	pieces[n++] = p;
	array = pg_array(pieces, n);
	return arena_strdup(r->arena, array);
}

/* The stamp comes where the request's id stands. */
static void
fill(struct gw_req *r, const char *stamp)
{
	struct buf full = BUF_INIT(r->out.max);
	const char *p = r->out.data, *at;

	(void)buf_reserve(&full, r->out.len + 64);
	while ((at = strstr(p, r->id)) != NULL) {
		buf_put(&full, p, (size_t)(at - p));
		buf_str(&full, stamp);
		p = at + strlen(r->id);
	}
	buf_str(&full, p);
	buf_free(&r->out);
	r->out = full;
}

static int
made(struct gw_req *r, const struct create *c, const PGresult *res, struct err *e)
{
	if (PQntuples(res) == 1) {
		FAILPOINT(GW_CREATE);
		fill(r, pg_str(res, 0, 0));
		return 0;
	}
	buf_reset(&r->out);
	r->write = NULL;
	r->may_write = false;
	return c->none(r, e);
}

/* What is kept of the answer is the frame's matter here. */
static int
alone(struct gw_req *r, struct create *c, struct err *e)
{
	const struct writeq_write *w = &c->later.write;
	AUTO(pgres) PGresult *res = NULL;

	memset(c->later.kept, 0, DEDUPE_MADE * sizeof *c->later.kept);
	if (db_run(r->db, w->stmt, w->nparams, w->params, &res, e) < 0)
		return -1;
	return made(r, c, res, e);
}

static int
written(struct gw_req *r, struct err *e)
{
	struct create *c = (struct create *)r->write;
	AUTO(pgres) PGresult *res = steal(c->later.write.item.res);

	switch (c->later.write.item.result) {
	case WARMQ_DONE:
		return made(r, c, res, e);
	case WARMQ_ALONE:
		return alone(r, c, e);
	case WARMQ_UNCERTAIN:
	default:
		return err_fault(e, EK_UNCERTAIN, 0, "the connection was lost while a new object was on its way");
	}
}

struct create *
create_new(struct gw_req *r, enum db_stmt stmt, int n, gw_handler *none)
{
	struct create *c = arena_alloc(r->arena, sizeof *c);

	must(n + DEDUPE_MADE <= CREATE_PARAMS);
	c->later.write = (struct writeq_write){ .stmt = stmt, .nparams = n + DEDUPE_MADE, .params = c->params };
	c->later.kept = &c->params[n];
	c->later.written = written;
	c->none = none;
	return c;
}

int
create_run(struct gw_req *r, struct create *c, struct err *e)
{
	if (!r->may_write)
		return alone(r, c, e);
	r->write = &c->later;
	return 0;
}
