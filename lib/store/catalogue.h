/*
 * catalogue: the model catalogue in Postgres (`roostctl models apply`): which model ids exist and where their requests go.
 *
 * The rule for ids: a model in the catalogue is known; roost-scripted always is. While no provider but the scripted one is
 * configured, every id is known and served by the scripted model, which says so; otherwise an id that is not in the catalogue is
 * unknown (a 400 when an agent is made). Secrets stay sealed here; the worker opens them (workers/model/routes.h).
 */
#ifndef ROOST_STORE_CATALOGUE_H
#define ROOST_STORE_CATALOGUE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "db.h"
#include "err.h"
#include "modelcaps.h"

#define CATALOGUE_SCRIPTED "roost-scripted"	/* the built-in model */

/* Is this model id known, and what may it be asked for? One statement (gateway; when an agent is created, updated or overridden). */
int catalogue_known(struct db *db, const char *model_id, bool *out_known, struct modelcaps *out_caps, struct err *e);

/* What the gateway must know of a model. One that is not in the catalogue has no price and can nothing. speed, geo: cost_rates_read(). */
struct catalogue_model {
	struct cost_rates rates;
	bool mid_system;	/* takes system messages between the others */
};
int catalogue_model(struct db *db, const char *model_id, const char *speed, const char *geo, struct catalogue_model *out, struct err *e);

/*
 * One row of STMT_CATALOGUE_ROUTES (worker): all routes of all models, by model and position, when the catalogue's generation is not
 * the one asked with; no rows when it is. Strings are borrowed from the result.
 */
struct catalogue_row {
	int64_t generation;
	bool open;		/* no real provider is configured: unknown ids go to the scripted model */
	const char *model_id;
	int64_t context_window, max_output_tokens;
	const char *provider, *dialect, *base_url, *upstream;
	const char *key_sealed;	/* or NULL */
	const char *price;	/* or NULL */
};

void catalogue_row(const PGresult *res, int row, struct catalogue_row *out);

/* The context a provider's key is sealed with (seal.h). The caller frees it. */
char *catalogue_key_context(const char *provider, const char *dialect, const char *base_url);

#endif
