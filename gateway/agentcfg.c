/*
 * agentcfg: see agentcfg.h. Plain fields follow the update rules of the shape table; model, tools, MCP servers, skills, multiagent and
 * execution_identity have rules of their own, which are here. Trees are copied before they are changed.
 *
 * There is no store of skills yet, so a skill that is named does not exist.
 */
#include "agentcfg.h"

#include <string.h>

#include "catalogue.h"
#include "jx.h"
#include "shape.h"
#include "toolset.h"

static json_t *
identity_default(void)
{
	return json_pack("{ss}", "type", "service_account");
}

/* The level of an effort in either form: "low" or {"type":"low"}; NULL when there is none. */
static const char *
level_of(const json_t *effort)
{
	return json_is_string(effort) ? json_string_value(effort) : jx_str(effort, "type");
}

/*
 * The level of a model parameter: as it says, or the one before, or the model's usual one; NULL when the model takes none. One that was
 * kept gives way when the catalogue has changed since, one that is asked for is refused.
 */
static int
effort_of(const json_t *param, const char *kept, const struct modelcaps *caps, const char **out, struct err *e)
{
	const json_t *given = json_object_get(param, "effort");
	const char *level = level_of(given);

	if (level && !modelcaps_effort(caps, level))
		return err_set(e, EK_INVALID, 0, "model.effort: \"%s\" is not supported by this model", level);
	if (!given && kept && modelcaps_effort(caps, kept))
		level = kept;
	*out = level ? level : modelcaps_usual_effort(caps);
	return 0;
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
	const char *kept = was && strcmp(was, id) == 0 ? level_of(json_object_get(before, "effort")) : NULL, *level = NULL;
	struct modelcaps caps;
	bool known;

	if (catalogue_known(db, id, &known, &caps, e) < 0)
		return -1;
	if (!known)
		return err_set(e, EK_INVALID, 0, "model: \"%.128s\" is not a known model", id);
	if (effort_of(param, kept, &caps, &level, e) < 0)
		return -1;
	if (speed && !modelcaps_speed(&caps, speed))
		return err_set(e, EK_INVALID, 0, "model.speed: \"%s\" is not supported by this model", speed);
	if (geo && !modelcaps_geo(&caps, geo))
		return err_set(e, EK_INVALID, 0, "model.inference_geo: \"%.64s\" is not supported by this model", geo);
	*out = json_pack("{ss ss}", "id", id, "speed", speed ? speed : "standard");
	if (level)
		json_object_set_new(*out, "effort", json_pack("{ss}", "type", level));
	if (geo)
		json_object_set_new(*out, "inference_geo", json_string(geo));
	return 0;
}

int
agentcfg_tools(const json_t *body, json_t *cfg, struct err *e)
{
	bool tools = json_object_get(body, "tools") != NULL;
	json_t *resolved;

	if (tools) {
		if (toolset_resolve(json_object_get(cfg, "tools"), &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "tools", resolved);
	}
	if (!tools && !json_object_get(body, "mcp_servers"))
		return 0;
	return toolset_servers(json_object_get(cfg, "tools"), json_object_get(cfg, "mcp_servers"), e);
}

/* for_session: the words in which a session's create is refused. */
static int
skills_check(const json_t *skills, bool for_session, struct err *e)
{
	const json_t *first = json_array_get(skills, 0);
	const char *version = jx_str(first, "version");
	size_t i;
	json_t *v;

	if (!first)
		return 0;
	json_array_foreach(skills, i, v)
		for (size_t k = 0; k < i; k++)
			if (strcmp(jx_str(json_array_get(skills, k), "skill_id"), jx_str(v, "skill_id")) == 0)
				return err_set(e, EK_INVALID, 0, "Agent has invalid configuration: duplicate skill_id \"%.128s\"", jx_str(v, "skill_id"));
	return err_set(e, EK_INVALID, 0, for_session ? "Could not resolve one or more skills: skill \"%.128s\" version \"%.128s\" not found" :
	    "Agent has invalid configuration: `skill_id` `%.128s` version `%.128s` not found", jx_str(first, "skill_id"),
	    version ? version : "latest");
}

static int
identity_resolve(const json_t *given, json_t **out, struct err *e)
{
	const char *arn = jx_str(given, "role_arn"), *account;

	if (arn) {
		account = strncmp(arn, "arn:aws", 7) == 0 ? strstr(arn, ":iam::") : NULL;
		if (!account || strspn(account + 6, "0123456789") != 12 || strncmp(account + 18, ":role/", 6) != 0 || !account[24])
			return err_set(e, EK_INVALID, 0, "execution_identity.role_arn: must be the ARN of an IAM role");
	}
	*out = json_is_null(given) ? identity_default() : json_incref((json_t *)given);
	return 0;
}

/* The fields with rules of their own, where body names them. cfg is changed. */
static int
own_fields(struct db *db, const json_t *body, bool for_session, json_t *cfg, struct err *e)
{
	const json_t *model = json_object_get(body, "model"), *identity = json_object_get(body, "execution_identity");
	json_t *resolved = NULL;

	if (model) {
		if (model_resolve(db, model, json_object_get(cfg, "model"), &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "model", resolved);
	}
	if (agentcfg_tools(body, cfg, e) < 0 || skills_check(json_object_get(body, "skills"), for_session, e) < 0)
		return -1;
	if (identity) {
		if (identity_resolve(identity, &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "execution_identity", resolved);
	}
	return shape_pairs(json_object_get(cfg, "metadata"), e);
}

int
agentcfg_create(struct db *db, const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_pack("{sn sn sn sn s[] s[] s[] sn so s{}}", "name", "description", "model", "system", "tools",
	    "mcp_servers", "skills", "multiagent", "execution_identity", identity_default(), "metadata");

	shape_update(&shape_agent_create, cfg, body);
	if (own_fields(db, body, false, cfg, e) < 0)
		return -1;
	*out = steal(cfg);
	return 0;
}

int
agentcfg_update(struct db *db, const json_t *stored, const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_copy((json_t *)stored);

	shape_update(&shape_agent_update, cfg, body);
	if (own_fields(db, body, false, cfg, e) < 0)
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
		if (own_fields(db, bare, true, cfg, e) < 0)
			return -1;
	}
	*out = steal(cfg);
	return 0;
}
