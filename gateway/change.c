/*
 * change: see change.h. One transaction: the row's lock, the organization's state, the step. It answers nothing: the handler does, after
 * the commit.
 */
#include "change.h"

#include "xalloc.h"

int
object_change(struct gw_req *r, object_lock *lock, object_step *step, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct object_locked now;

	if (db_begin(r->db, e) < 0)
		return -1;
	if (lock(r->db, r->who.workspace_id, r->param, &res, &now, e) < 0 || req_active(now.organization_state, e) < 0 ||
	    step(r, &now, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	return db_commit(r->db, e);
}
