/*
 * agentcfg: see agentcfg.h. Plain fields follow the update rules of the shape table; model, tools, multiagent and execution_identity
 * have rules of their own, which are here. Trees are copied before they are changed.
 */
#include "agentcfg.h"

#include <string.h>

#include "catalogue.h"
#include "jx.h"
#include "shape.h"
#include "toolset.h"

#define EFFORT_DEFAULT "high"

static json_t *
identity_default(void)
{
	return json_pack("{ss}", "type", "service_account");
}

/* Effort in object form: given, or kept, or the default. A new reference. */
static json_t *
effort_of(const json_t *given, const json_t *kept)
{
	if (json_is_string(given))
		return json_pack("{sO}", "type", given);
	if (json_is_object(given))
		return json_incref((json_t *)given);
	if (!given && kept)
		return json_incref((json_t *)kept);
	return json_pack("{ss}", "type", EFFORT_DEFAULT);
}

/*
 * A model parameter (string or object) as ModelConfig. before: the stored one, or NULL; its effort survives when the id stays and the
 * parameter does not name one (contract 2.1).
 */
static int
model_resolve(struct db *db, const json_t *param, const json_t *before, json_t **out, struct err *e)
{
	const char *id = json_is_string(param) ? json_string_value(param) : jx_str(param, "id");
	const char *was = jx_str(before, "id"), *speed = jx_str(param, "speed"), *geo = jx_str(param, "inference_geo");
	const json_t *kept = was && strcmp(was, id) == 0 ? json_object_get(before, "effort") : NULL;
	bool known;

	if (catalogue_known(db, id, &known, e) < 0)
		return -1;
	if (!known)
		return err_set(e, EK_INVALID, 0, "model: \"%.128s\" is not a known model", id);
	if (speed && strcmp(speed, "standard") != 0)
		return err_set(e, EK_INVALID, 0, "model.speed: \"%s\" is not supported by this model", speed);
	if (geo && strcmp(geo, "global") != 0)
		return err_set(e, EK_INVALID, 0, "model.inference_geo: \"%.64s\" is not supported by this model", geo);
	*out = json_pack("{ss so ss}", "id", id, "effort", effort_of(json_object_get(param, "effort"), kept), "speed", "standard");
	if (geo)
		json_object_set_new(*out, "inference_geo", json_string(geo));
	return 0;
}

/* The fields with rules of their own, where body names them. cfg is changed. */
static int
own_fields(struct db *db, const json_t *body, json_t *cfg, struct err *e)
{
	const json_t *model = json_object_get(body, "model"), *identity = json_object_get(body, "execution_identity");
	json_t *resolved;

	if (model) {
		if (model_resolve(db, model, json_object_get(cfg, "model"), &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "model", resolved);
	}
	if (json_object_get(body, "tools")) {
		if (toolset_resolve(json_object_get(cfg, "tools"), &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "tools", resolved);
	}
	if (identity)
		json_object_set_new(cfg, "execution_identity", json_is_null(identity) ? identity_default() : json_incref((json_t *)identity));
	return shape_pairs(json_object_get(cfg, "metadata"), e);
}

int
agentcfg_create(struct db *db, const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_pack("{sn sn sn sn s[] s[] s[] sn so s{}}", "name", "description", "model", "system", "tools",
	    "mcp_servers", "skills", "multiagent", "execution_identity", identity_default(), "metadata");

	shape_update(&shape_agent_create, cfg, body);
	if (own_fields(db, body, cfg, e) < 0)
		return -1;
	*out = steal(cfg);
	return 0;
}

int
agentcfg_update(struct db *db, const json_t *stored, const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_copy((json_t *)stored);

	shape_update(&shape_agent_update, cfg, body);
	if (own_fields(db, body, cfg, e) < 0)
		return -1;
	*out = steal(cfg);
	return 0;
}

int
agentcfg_session(struct db *db, const char *id, int version, const json_t *stored, const json_t *overrides, json_t **out,
    struct err *e)
{
	AUTO(json) json_t *cfg = json_pack("{ss ss si}", "type", "agent", "id", id, "version", version);
	json_t *model = json_object_get(overrides, "model"), *effort_free;
	AUTO(json) json_t *bare = overrides ? json_copy((json_t *)overrides) : NULL;

	json_object_update(cfg, (json_t *)stored);
	json_object_del(cfg, "metadata");
	if (overrides) {
		if (json_is_null(model))
			return err_coded(e, EC_AGENT_MODEL_REQUIRED, "agent.model: a model is required and cannot be cleared");
		if (model) {
			/* an override's effort is ignored and the agent's own dropped: the model's default holds */
			effort_free = json_is_object(model) ? json_copy(model) : json_incref(model);
			if (json_is_object(effort_free))
				json_object_del(effort_free, "effort");
			json_object_set_new(bare, "model", effort_free);
			json_object_del(cfg, "model");
		}
		shape_update(&shape_agent_overrides, cfg, bare);
		if (own_fields(db, bare, cfg, e) < 0)
			return -1;
	}
	*out = steal(cfg);
	return 0;
}
