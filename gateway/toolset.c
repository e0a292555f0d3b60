/*
 * toolset: see toolset.h. Resolution order of a setting: the tool's own config, the toolset's default_config, the toolset's default
 * (enabled, always_allow). Nothing here knows which tools the worker really offers; names are the contract's eight.
 */
#include "toolset.h"

#include <stdio.h>
#include <string.h>

#include "jx.h"
#include "webtool.h"

#define AGENT_TOOLSET "agent_toolset_20260401"
#define BUILTINS 8

static const char *const builtins[BUILTINS] = { "bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search" };

static bool
is_builtin(const char *name)
{
	for (int i = 0; i < BUILTINS; i++)
		if (strcmp(builtins[i], name) == 0)
			return true;
	return false;
}

/* The value of key in the first of two objects that has one which is not null; a new reference, or NULL. */
static json_t *
setting(const json_t *first, const json_t *second, const char *key)
{
	json_t *v = json_object_get(first, key);

	if (!v || json_is_null(v))
		v = json_object_get(second, key);
	return v && !json_is_null(v) ? json_incref(v) : NULL;
}

static json_t *
policy_or_allow(json_t *policy)
{
	return policy ? policy : json_pack("{ss}", "type", "always_allow");
}

static json_t *
true_or(json_t *enabled)
{
	return enabled ? enabled : json_true();
}

static int
config_resolve(const char *where, const json_t *config, const json_t *dflt, const json_t *tools, json_t **out, struct err *e)
{
	const char *name = jx_str(config, "name"), *type = jx_str(config, "type");
	AUTO(json) json_t *r = json_object();

	if (type && strcmp(type, name) != 0)
		return err_set(e, EK_INVALID, 0, "%s.type: must be equal to name \"%s\"", where, name);
	json_object_set_new(r, "type", json_string(name));
	json_object_set_new(r, "name", json_string(name));
	json_object_set_new(r, "enabled", true_or(setting(config, dflt, "enabled")));
	json_object_set_new(r, "permission_policy", policy_or_allow(setting(config, dflt, "permission_policy")));
	if (strncmp(name, "web_", 4) == 0 && webtool_resolve(where, name, config, tools, r, e) < 0)
		return -1;
	*out = steal(r);
	return 0;
}

static int
agent_toolset(size_t at, const json_t *tool, const json_t *tools, json_t **out, struct err *e)
{
	const json_t *dflt = json_object_get(tool, "default_config");
	AUTO(json) json_t *configs = json_array();
	json_t *config, *resolved = NULL;
	size_t i;

	json_array_foreach(json_object_get(tool, "configs"), i, config) {
		const char *name = jx_str(config, "name");
		char where[96];

		snprintf(where, sizeof where, "tools.%zu." AGENT_TOOLSET ".configs.%zu", at, i);
		for (size_t k = 0; k < i; k++)
			if (strcmp(jx_str(json_array_get(configs, k), "name"), name) == 0)
				return err_set(e, EK_INVALID, 0, "%s: duplicate entry for tool \"%s\"", where, name);
		if (config_resolve(where, config, dflt, tools, &resolved, e) < 0)
			return -1;
		json_array_append_new(configs, resolved);
	}
	*out = json_pack("{ss s{so so} so}", "type", AGENT_TOOLSET, "default_config",
	    "enabled", true_or(setting(dflt, NULL, "enabled")),
	    "permission_policy", policy_or_allow(setting(dflt, NULL, "permission_policy")), "configs", steal(configs));
	return 0;
}

static bool
name_ok(const char *s, size_t max, bool dot)
{
	size_t n = strlen(s);

	if (n == 0 || n > max)
		return false;
	for (; *s; s++)
		if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') && *s != '_' && *s != '-' &&
		    !(dot && *s == '.'))
			return false;
	return true;
}

/* Is the key anywhere in the tree? Its depth is bounded by the parser. */
static bool
has_key(const json_t *v, const char *key)
{
	const char *name;
	json_t *item;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, name, item)
			if (strcmp(name, key) == 0 || has_key(item, key))
				return true;
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			if (has_key(item, key))
				return true;
	}
	return false;
}

static int
schema_check(const char *where, const json_t *schema, struct err *e)
{
	static const char *const forbidden[] = { "oneOf", "anyOf", "allOf" };
	const json_t *props = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
	const char *type = jx_str(schema, "type"), *key;
	json_t *v;
	size_t i;

	if (!type || strcmp(type, "object") != 0)
		return err_set(e, EK_INVALID, 0, "%s.type: must be \"object\"", where);
	if (props && !json_is_null(props) && !json_is_object(props))
		return err_set(e, EK_INVALID, 0, "%s.properties: must be an object", where);
	if (required && !json_is_null(required) && !json_is_array(required))
		return err_set(e, EK_INVALID, 0, "%s.required: must be an array of strings", where);
	json_array_foreach(required, i, v)
		if (!json_is_string(v))
			return err_set(e, EK_INVALID, 0, "%s.required.%zu: must be a string", where, i);
	for (i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		if (json_object_get(schema, forbidden[i]))
			return err_set(e, EK_INVALID, 0, "%s: %s is not supported at the top level", where, forbidden[i]);
	if (has_key(schema, "$ref"))
		return err_set(e, EK_INVALID, 0, "%s: $ref is not supported", where);
	json_object_foreach((json_t *)props, key, v)
		if (!name_ok(key, 64, true))
			return err_set(e, EK_INVALID, 0, "%s.properties: \"%.80s\" must match [A-Za-z0-9_.-]{1,64}", where, key);
	return 0;
}

static int
custom_tool(size_t at, const json_t *tool, const json_t *tools, json_t **out, struct err *e)
{
	const char *name = jx_str(tool, "name"), *other;
	char where[64];

	snprintf(where, sizeof where, "tools.%zu.custom", at);
	if (!name_ok(name, 128, false))
		return err_set(e, EK_INVALID, 0, "%s.name: must match [A-Za-z0-9_-]{1,128}", where);
	if (is_builtin(name))
		return err_set(e, EK_INVALID, 0, "%s.name: \"%s\" is the name of a built-in tool", where, name);
	if (strncmp(name, "mcp__", 5) == 0)
		return err_set(e, EK_INVALID, 0, "%s.name: the prefix mcp__ is reserved", where);
	for (size_t i = 0; i < at; i++) {
		other = jx_str(json_array_get(tools, i), "name");
		if (other && strcmp(other, name) == 0)
			return err_set(e, EK_INVALID, 0, "%s.name: duplicate tool name \"%s\"", where, name);
	}
	snprintf(where, sizeof where, "tools.%zu.custom.input_schema", at);
	if (schema_check(where, json_object_get(tool, "input_schema"), e) < 0)
		return -1;
	*out = json_pack("{ss ss sO sO}", "type", "custom", "name", name, "description", json_object_get(tool, "description"),
	    "input_schema", json_object_get(tool, "input_schema"));
	return 0;
}

int
toolset_resolve(const json_t *tools, json_t **out, struct err *e)
{
	AUTO(json) json_t *list = json_array();
	bool toolset_seen = false;
	int count = 0;
	json_t *tool;
	size_t i;

	json_array_foreach(tools, i, tool) {
		bool builtin = strcmp(jx_str(tool, "type"), AGENT_TOOLSET) == 0;
		json_t *resolved = NULL;

		if (builtin && toolset_seen)
			return err_set(e, EK_INVALID, 0, "tools.%zu." AGENT_TOOLSET ": duplicate entry; at most one " AGENT_TOOLSET " is allowed", i);
		toolset_seen = toolset_seen || builtin;
		if ((builtin ? agent_toolset(i, tool, tools, &resolved, e) : custom_tool(i, tool, tools, &resolved, e)) < 0)
			return -1;
		json_array_append_new(list, resolved);
		count += builtin ? BUILTINS : 1;
	}
	if (count > TOOLSET_MAX)
		return err_set(e, EK_INVALID, 0, "tools: at most %d tools are allowed", TOOLSET_MAX);
	*out = steal(list);
	return 0;
}
