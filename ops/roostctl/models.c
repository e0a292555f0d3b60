/*
 * models: `roostctl models apply FILE` and `models list`.
 *
 * Applying makes the rows of every provider and model that the file names be what it says; rows it does not name stay. One
 * transaction under one lock: a file that is bad anywhere, or names a provider nobody has, changes nothing. Rows that are right
 * already are not written, and the generation moves only with a change, so a second apply changes nothing and workers keep their
 * copies. Keys go into the database sealed; a key is "the same" by its keyed hash. Fails with file, line and field.
 */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "catalogue.h"
#include "catfile.h"
#include "seal.h"

struct apply {
	struct db *db;
	const struct catfile *file;
	struct seal_pub pub;
	int changed;
	bool quiet;
	struct buf said;	/* printed after the commit: until then nothing has happened */
};

/* Text cells, NULL equal to NULL only. */
static bool
same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static void
tell(struct apply *a, const char *kind, const char *name, bool existed, bool changed)
{
	a->changed += changed;
	if (a->quiet)
		buf_printf(&a->said, "%s\n", name);
	else
		buf_printf(&a->said, "%s\t%s\t%s\n", kind, name, !changed ? "unchanged" : existed ? "changed" : "created");
}

/* The key's two columns as they shall be. *out_sealed is owned. */
static int
key_columns(struct apply *a, const struct catfile_provider *p, const PGresult *old, char **out_sealed, char mark[SEAL_MARK], struct err *e)
{
	char *context;
	const char *old_mark = PQntuples(old) ? pg_str(old, 0, 2) : NULL, *old_sealed = PQntuples(old) ? pg_str(old, 0, 3) : NULL;
	bool moved = PQntuples(old) && (!same(pg_str(old, 0, 0), p->dialect) || !same(pg_str(old, 0, 1), p->base_url));
	int rc = 0;

	*out_sealed = NULL;
	mark[0] = '\0';
	if (p->key == CATFILE_KEY_NONE)
		return 0;
	if (p->key == CATFILE_KEY_KEEP) {
		if (!old_sealed)
			return 0;
		if (moved)
			return err_set(e, EK_INVALID, 0, "line %d: provider \"%s\" moves to another address: give its api_key again", p->line, p->name);
		snprintf(mark, SEAL_MARK, "%s", old_mark ? old_mark : "");
		*out_sealed = strdup(old_sealed);
		return *out_sealed ? 0 : err_fault(e, EK_INTERNAL, 0, "out of memory");
	}
	context = catalogue_key_context(p->name, p->dialect, p->base_url);
	seal_mark(&a->pub, context, p->api_key, mark);
	if (old_sealed && same(old_mark, mark)) {
		*out_sealed = strdup(old_sealed);
		rc = *out_sealed ? 0 : err_fault(e, EK_INTERNAL, 0, "out of memory");
	} else {
		rc = seal_text(&a->pub, context, p->api_key, out_sealed, e);
	}
	free(context);
	return rc;
}

static int
apply_provider(struct apply *a, const struct catfile_provider *p, struct err *e)
{
	AUTO(pgres) PGresult *old = NULL;
	AUTO(str) char *sealed = NULL;
	char mark[SEAL_MARK];
	bool existed, equal;

	if (DB_RUN(a->db, STMT_CATALOGUE_PROVIDER_GET, &old, e, p->name) < 0 || key_columns(a, p, old, &sealed, mark, e) < 0)
		return -1;
	existed = PQntuples(old) == 1;
	equal = existed && same(pg_str(old, 0, 0), p->dialect) && same(pg_str(old, 0, 1), p->base_url) && same(pg_str(old, 0, 3), sealed);
	if (!equal && DB_RUN(a->db, STMT_CATALOGUE_PROVIDER_PUT, NULL, e, p->name, p->dialect, p->base_url, sealed, sealed ? mark : NULL) < 0)
		return -1;
	tell(a, "provider", p->name, existed, !equal);
	return 0;
}

/*
 * Each route's provider is in the file, built in, or in the database. Only the Messages dialect has words for a speed or a geography: a
 * model that can be asked for one must not fall back to a provider that never hears of it.
 */
static int
check_routes(struct apply *a, const struct catfile_model *m, int at, struct err *e)
{
	for (int i = 0; i < m->nroutes; i++) {
		AUTO(pgres) PGresult *res = NULL;
		const struct catfile_route *r = &m->routes[i];
		const struct catfile_provider *p = catfile_provider(a->file, r->provider);

		if (!p && DB_RUN(a->db, STMT_CATALOGUE_PROVIDER_GET, &res, e, r->provider) < 0)
			return -1;
		if (!p && !PQntuples(res))
			return err_set(e, EK_INVALID, 0, "line %d: models[%d].routes[%d].provider: there is no provider \"%s\"", r->line, at, i, r->provider);
		if (m->elsewhere && same(p ? p->dialect : pg_str(res, 0, 0), "openai"))
			return err_set(e, EK_INVALID, 0, "line %d: models[%d].routes[%d].provider: a model with a speed or geography needs providers of the "
			    "anthropic dialect", r->line, at, i);
	}
	return 0;
}

static int
put_routes(struct apply *a, const struct catfile_model *m, struct err *e)
{
	if (DB_RUN(a->db, STMT_CATALOGUE_ROUTES_DROP, NULL, e, m->id) < 0)
		return -1;
	for (int i = 0; i < m->nroutes; i++) {
		if (DB_RUN(a->db, STMT_CATALOGUE_ROUTE_PUT, NULL, e, m->id, DBN(i), m->routes[i].provider, m->routes[i].upstream) < 0)
			return -1;
	}
	return 0;
}

static int
apply_model(struct apply *a, const struct catfile_model *m, int at, struct err *e)
{
	AUTO(pgres) PGresult *old = NULL;
	AUTO(buf) struct buf routes = { 0 };
	const char *price, *capabilities;
	bool existed, equal, mid_system;

	if (check_routes(a, m, at, e) < 0 || DB_RUN(a->db, STMT_CATALOGUE_MODEL_GET, &old, e, m->id) < 0)
		return -1;
	for (int i = 0; i < m->nroutes; i++)
		buf_printf(&routes, "%s%s\t%s", i ? "\n" : "", m->routes[i].provider, m->routes[i].upstream);
	existed = PQntuples(old) == 1;
	price = existed && m->keep_price ? pg_str(old, 0, 3) : m->price;
	mid_system = existed && m->keep_mid_system ? pg_bool(old, 0, 5) : m->mid_system;
	capabilities = existed && m->keep_capabilities ? pg_str(old, 0, 6) : m->capabilities;
	equal = existed && same(pg_str(old, 0, 0), m->display_name) && pg_int(old, 0, 1) == m->context_window &&
	    pg_int(old, 0, 2) == m->max_output_tokens && same(pg_str(old, 0, 3), price) && same(pg_str(old, 0, 4), routes.data) &&
	    pg_bool(old, 0, 5) == mid_system && same(pg_str(old, 0, 6), capabilities);
	if (!equal && DB_RUN(a->db, STMT_CATALOGUE_MODEL_PUT, NULL, e, m->id, m->display_name, DBN(m->context_window),
	    DBN(m->max_output_tokens), price, mid_system ? "t" : "f", capabilities) < 0)
		return -1;
	if (!equal && put_routes(a, m, e) < 0)
		return -1;
	tell(a, "model", m->id, existed, !equal);
	return 0;
}

/* Inside the transaction. */
static int
apply_all(struct apply *a, struct err *e)
{
	if (DB_RUN(a->db, STMT_CATALOGUE_LOCK, NULL, e) < 0)
		return -1;
	for (int i = 0; i < a->file->nproviders; i++) {
		if (apply_provider(a, &a->file->providers[i], e) < 0)
			return -1;
	}
	for (int i = 0; i < a->file->nmodels; i++) {
		if (apply_model(a, &a->file->models[i], i, e) < 0)
			return -1;
	}
	return a->changed ? DB_RUN(a->db, STMT_CATALOGUE_TOUCH, NULL, e) : 0;
}

static bool
sets_key(const struct catfile *f)
{
	for (int i = 0; i < f->nproviders; i++) {
		if (f->providers[i].key == CATFILE_KEY_SET)
			return true;
	}
	return false;
}

static int
apply_file(struct ctl *c, const struct catfile *f, struct err *e)
{
	struct apply a = { .db = c->db, .file = f, .quiet = c->quiet };
	int rc;

	if (sets_key(f) && !c->conf.instance_pub_file[0])
		return err_set(e, EK_INVALID, 0, "an api_key cannot be stored: instance_pub_file is not set in the settings");
	if (sets_key(f) && seal_load_pub(c->conf.instance_pub_file, &a.pub, e) < 0)
		return -1;
	if (db_begin(c->db, e) < 0)
		return -1;
	rc = apply_all(&a, e);
	if (rc < 0)
		db_rollback(c->db);
	else
		rc = db_commit(c->db, e);
	if (rc == 0 && a.said.len)
		fputs(a.said.data, stdout);
	if (rc == 0 && !c->quiet)
		printf("catalogue\t-\t%s\n", a.changed ? "changed" : "unchanged");
	buf_free(&a.said);
	return rc;
}

int
cmd_models_apply(struct ctl *c, int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct catfile f = { 0 };
	char *text;
	size_t len;
	int rc;

	if (argc != 2)
		return CTL_USAGE;
	text = ctl_read_file(argv[1], CATFILE_MAX, &len, &e);
	if (!text)
		return ctl_fail(NULL, &e);
	rc = catfile_parse(text, len, &f, &e);
	explicit_bzero(text, len);
	free(text);
	if (rc == 0)
		rc = apply_file(c, &f, &e);
	catfile_free(&f);
	return rc < 0 ? ctl_fail(argv[1], &e) : CTL_OK;
}

int
cmd_models_list(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_CATALOGUE_LIST, &res, &e) < 0)
		return ctl_fail("models list", &e);
	ctl_print(c, res);
	return CTL_OK;
}
