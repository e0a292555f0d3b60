/*
 * agentcfg: an agent's configuration as it is stored: one JSON object with everything of the wire's Agent but ids, version and times
 * (agent_version.body). Made from a create body, changed by an update body, turned into a session's snapshot.
 */
#ifndef ROOST_GATEWAY_AGENTCFG_H
#define ROOST_GATEWAY_AGENTCFG_H

#include <jansson.h>

#include "db.h"
#include "err.h"

/* A new configuration. Bodies have passed their shapes; what needs other rows (the model's id) is checked here. The caller owns *out. */
int agentcfg_create(struct db *db, const json_t *body, json_t **out, struct err *e);

/* stored with body (agent_update) applied; stored is not changed. */
int agentcfg_update(struct db *db, const json_t *stored, const json_t *body, json_t **out, struct err *e);

/*
 * The tools and mcp_servers of cfg, to which body has just been applied by its shape: resolved, and fit for each other. cfg is changed.
 * Nothing happens when body names neither.
 */
int agentcfg_tools(const json_t *body, json_t *cfg, struct err *e);

/*
 * The wire's SessionAgent: id and version of the base, its configuration without metadata, and the overrides (agent_overrides, or NULL)
 * of contract 2.3.
 */
int agentcfg_session(struct db *db, const char *id, int version, const json_t *stored, const json_t *overrides, json_t **out,
    struct err *e);

#endif
