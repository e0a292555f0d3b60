/*
 * routes: the worker's copy of the model catalogue, with the provider keys opened: model id -> where to send a request.
 *
 * The copy follows the database by its generation number. routes_refresh() queues one cheap statement on the caller's connection;
 * statements are answered in order, so a caller that refreshes before it queues the load of a session sees, when that load is
 * answered, a catalogue at least as new as its request. A timer refreshes every few seconds besides. Keys live in memory that is
 * wiped on release and on change; a key that cannot be opened leaves its route out, with one log line naming the provider.
 */
#ifndef ROOST_WORKERS_MODEL_ROUTES_H
#define ROOST_WORKERS_MODEL_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "dbq.h"
#include "err.h"
#include "loop.h"
#include "model.h"

struct routes;

struct routes_model {
	const struct model_route *routes;	/* in order of preference; nroutes may be 0 when no key could be opened */
	int nroutes;
	int context_window, max_output_tokens;
	const char *price;			/* the catalogue's price object, or NULL */
};

/*
 * key_file: the instance key, or "" (then only providers without a key work). Refreshes at once on q and every few seconds.
 * q is borrowed and must live longer.
 */
struct routes *routes_new(struct loop *loop, struct dbq *q, const char *key_file, struct err *e);
void routes_free(struct routes **r);

/* Ask the database on q (the worker's own, or another of its connections) whether the catalogue has changed. */
void routes_refresh(struct routes *r, struct dbq *q);

/* Has the catalogue been read once? */
bool routes_ready(const struct routes *r);
/* Which one the copy is; 0: none yet. */
int64_t routes_generation(const struct routes *r);

/*
 * Where requests of this model go. false: unknown id (it was removed after the agent was made). The pointers are borrowed until the
 * loop's next round: hand them to model_start() at once.
 */
bool routes_find(const struct routes *r, const char *model_id, struct routes_model *out);

#endif
