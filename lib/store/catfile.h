/*
 * catfile: the catalogue file of `roostctl models apply`, checked and read. Knows no database.
 *
 *   {"providers":[{"name","dialect","base_url","api_key"?}],
 *    "models":[{"id","display_name","routes":[{"provider","upstream"}],"context_window","max_output_tokens","price"?,
 *                "mid_conversation_system"?,"capabilities"?}]}
 *
 * price: {"currency":"USD","per_million_tokens":{"input","output","cache_read"?,"cache_write_5m"?,"cache_write_1h"?},
 * "fast_per_million_tokens"? (the same fields), "per_thousand_web_searches"?}: decimals in strings, at most three after the point, so that
 * a token costs whole nano-dollars (cost.h). mid_conversation_system: does the model take system messages between others?
 * capabilities: what an agent may ask of the model, {"efforts":["low",..]? (default all, [] none), "fast"? (default false), "geos":
 * ["us","global"]? (default global)}. fast and us are passed on to providers of the anthropic dialect and have prices of their own (cost.h).
 *
 * An absent price, mid_conversation_system or capabilities keeps what is stored, so that a list of models from elsewhere takes no price
 * away; null removes a price or capabilities.
 *
 * Every complaint names the line and the field: "line 7: models[0].price.currency: ...". An absent api_key keeps the stored one, null
 * removes it. Whether a route's provider exists is known only with the database, so routes carry their line.
 */
#ifndef ROOST_STORE_CATFILE_H
#define ROOST_STORE_CATFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define CATFILE_MAX (1u << 20)		/* bytes of a file */
#define CATFILE_PROVIDERS 200
#define CATFILE_MODELS 2000
#define CATFILE_ROUTES 16		/* of one model */

enum catfile_key { CATFILE_KEY_KEEP, CATFILE_KEY_NONE, CATFILE_KEY_SET };

struct catfile_provider {
	char *name, *dialect, *base_url;
	enum catfile_key key;
	char *api_key;		/* CATFILE_KEY_SET; wiped by catfile_free */
	int line;
};

struct catfile_route {
	char *provider, *upstream;
	int line;
};

struct catfile_model {
	char *id, *display_name;
	struct catfile_route *routes;
	int nroutes;
	int64_t context_window, max_output_tokens;
	char *price;		/* compact JSON, or NULL */
	char *capabilities;	/* compact JSON, or NULL */
	bool keep_price, keep_mid_system, keep_capabilities;	/* the file does not say: what is stored stays */
	bool mid_system;
	bool elsewhere;		/* the capabilities hold a speed or geography that only the anthropic dialect can ask for */
};

struct catfile {
	struct catfile_provider *providers;
	int nproviders;
	struct catfile_model *models;
	int nmodels;
};

/* Read text. On success the caller frees with catfile_free; on failure (EK_INVALID) there is nothing to free. */
int catfile_parse(const char *text, size_t len, struct catfile *out, struct err *e);
/* Wipes the keys and frees; accepts a zeroed one. */
void catfile_free(struct catfile *f);

/* The provider of this name in the file, or NULL. */
const struct catfile_provider *catfile_provider(const struct catfile *f, const char *name);

#endif
