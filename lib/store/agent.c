/*
 * agent: binds and decodes the statements on agents. Every call is one statement on one workspace; what is another workspace's is not
 * found. A new one is the gateway's own to write (gateway/create.c).
 */
#include "agent.h"

#include <string.h>

static const char *
flag(bool on)
{
	return on ? "t" : "f";
}

void
agent_row(const PGresult *res, int row, struct agent_row *out)
{
	*out = (struct agent_row){ .id = pg_str(res, row, 0), .version = (int)pg_int(res, row, 1), .body = pg_str(res, row, 2),
	    .created = pg_str(res, row, 3), .updated = pg_str(res, row, 4), .archived = pg_str(res, row, 5) };
}

int
agent_get(struct db *db, const char *workspace, const char *id, int version, PGresult **res, struct agent_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_AGENT_GET, &r, e, workspace, id, version ? DBN(version) : NULL) < 0)
		return err_wrap(e, "get agent %s", id);
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Agent not found.");
	if (!pg_str(r, 0, 2))
		return err_set(e, EK_NOT_FOUND, 0, "Agent version not found.");
	agent_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
agent_lock(struct db *db, const char *workspace, const char *id, PGresult **res, struct agent_locked *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_AGENT_LOCK, &r, e, workspace, id) < 0)
		return err_wrap(e, "lock agent %s", id);
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Agent not found.");
	*out = (struct agent_locked){ .version = (int)pg_int(r, 0, 0), .archived = pg_bool(r, 0, 1), .organization_state = pg_str(r, 0, 2) };
	*res = steal(r);
	return 0;
}

int
agent_put_version(struct db *db, const char *workspace, const char *id, int version, const char *name, const char *body, struct err *e)
{
	if (DB_RUN(db, STMT_AGENT_PUT_VERSION, NULL, e, workspace, id, DBN(version), name, body) < 0)
		return err_wrap(e, "write agent %s version %d", id, version);
	return 0;
}

int
agent_archive(struct db *db, const char *workspace, const char *id, struct err *e)
{
	if (DB_RUN(db, STMT_AGENT_ARCHIVE, NULL, e, workspace, id) < 0)
		return err_wrap(e, "archive agent %s", id);
	return 0;
}

int
agent_list(struct db *db, const char *workspace, const struct agent_filter *f, PGresult **res, int64_t *found, struct err *e)
{
	if (DB_RUN(db, STMT_AGENT_LIST, res, e, workspace, f->after, f->created_gte, f->created_lte, flag(f->archived), DBN(f->limit),
	    DBN(f->bytes)) < 0)
		return err_wrap(e, "list agents");
	*found = PQntuples(*res) ? pg_int(*res, 0, 6) : 0;
	return 0;
}

int64_t
agent_list_created(const PGresult *res, int row)
{
	return pg_int(res, row, 7);
}

int
agent_versions(struct db *db, const char *workspace, const char *id, int64_t before, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e)
{
	if (DB_RUN(db, STMT_AGENT_VERSIONS, res, e, workspace, id, before ? DBN(before) : NULL, DBN(limit), DBN(bytes)) < 0)
		return err_wrap(e, "list versions of agent %s", id);
	*found = PQntuples(*res) ? pg_int(*res, 0, 6) : 0;
	return 0;
}
