/*
 * toolset: see toolset.h. Resolution order of a setting: the tool's own config, the toolset's default_config, the toolset's default
 * (enabled; always_allow for the built-in tools, always_ask for those of an MCP server). Nothing here knows which tools the worker really
 * offers; names are the contract's eight.
 */
#include "toolset.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "jx.h"
#include "webtool.h"
#include "weburl.h"

#define AGENT_TOOLSET "agent_toolset_20260401"
#define MCP_TOOLSET "mcp_toolset"
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
policy_or(json_t *policy, const char *dflt)
{
	return policy ? policy : json_pack("{ss}", "type", dflt);
}

static json_t *
true_or(json_t *enabled)
{
	return enabled ? enabled : json_true();
}

/* A toolset's default_config in full. A new reference. */
static json_t *
default_resolve(const json_t *dflt, const char *policy)
{
	return json_pack("{so so}", "enabled", true_or(setting(dflt, NULL, "enabled")),
	    "permission_policy", policy_or(setting(dflt, NULL, "permission_policy"), policy));
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
	json_object_set_new(r, "permission_policy", policy_or(setting(config, dflt, "permission_policy"), "always_allow"));
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
	*out = json_pack("{ss so so}", "type", AGENT_TOOLSET, "default_config", default_resolve(dflt, "always_allow"), "configs",
	    steal(configs));
	return 0;
}

static int
mcp_toolset(size_t at, const json_t *tool, const json_t *tools, json_t **out, struct err *e)
{
	const json_t *dflt = json_object_get(tool, "default_config");
	const char *server = jx_str(tool, "mcp_server_name");
	AUTO(json) json_t *configs = json_array();
	json_t *config, *resolved;
	size_t i;

	for (i = 0; i < at; i++) {
		const char *other = jx_str(json_array_get(tools, i), "mcp_server_name");

		if (other && strcmp(other, server) == 0)
			return err_set(e, EK_INVALID, 0, "tools.%zu." MCP_TOOLSET ": duplicate entry for server \"%.255s\"; each MCP server may have at "
			    "most one " MCP_TOOLSET, at, server);
	}
	json_array_foreach(json_object_get(tool, "configs"), i, config) {
		const char *name = jx_str(config, "name");

		for (size_t k = 0; k < i; k++)
			if (strcmp(jx_str(json_array_get(configs, k), "name"), name) == 0)
				return err_set(e, EK_INVALID, 0, "tools.%zu." MCP_TOOLSET ".configs.%zu: duplicate entry for tool \"%.128s\"", at, i, name);
		resolved = default_resolve(NULL, "always_ask");
		json_object_set_new(resolved, "name", json_string(name));
		json_object_set_new(resolved, "enabled", true_or(setting(config, dflt, "enabled")));
		json_object_set_new(resolved, "permission_policy", policy_or(setting(config, dflt, "permission_policy"), "always_ask"));
		json_array_append_new(configs, resolved);
	}
	*out = json_pack("{ss ss so so}", "type", MCP_TOOLSET, "mcp_server_name", server, "default_config",
	    default_resolve(dflt, "always_ask"), "configs", steal(configs));
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
		if (!json_is_string(v) || jx_is_exact(v))
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
	size_t i, count = 0;
	json_t *tool;

	json_array_foreach(tools, i, tool) {
		bool builtin = strcmp(jx_str(tool, "type"), AGENT_TOOLSET) == 0, mcp = strcmp(jx_str(tool, "type"), MCP_TOOLSET) == 0;
		json_t *resolved = NULL;

		count += builtin ? BUILTINS : mcp ? json_array_size(json_object_get(tool, "configs")) : 1;
		if (count > TOOLSET_MAX)
			return err_set(e, EK_INVALID, 0, "tools: at most %d tools are allowed", TOOLSET_MAX);
		if (builtin && toolset_seen)
			return err_set(e, EK_INVALID, 0, "tools.%zu." AGENT_TOOLSET ": duplicate entry; at most one " AGENT_TOOLSET " is allowed", i);
		toolset_seen = toolset_seen || builtin;
		if ((builtin ? agent_toolset : mcp ? mcp_toolset : custom_tool)(i, tool, tools, &resolved, e) < 0)
			return -1;
		json_array_append_new(list, resolved);
	}
	*out = steal(list);
	return 0;
}

/* --- MCP servers ------------------------------------------------------------------------------------------------------------- */

static bool
names(const json_t *list, const char *key, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *other = jx_str(v, key);

		if (other && strcmp(other, name) == 0)
			return true;
	}
	return false;
}

int
toolset_servers(const json_t *tools, const json_t *servers, struct err *e)
{
	AUTO(buf) struct buf alone = BUF_INIT(300);
	json_t *v;
	size_t i;

	json_array_foreach(servers, i, v) {
		const char *name = jx_str(v, "name");

		for (size_t k = 0; k < i; k++)
			if (strcmp(jx_str(json_array_get(servers, k), "name"), name) == 0)
				return err_set(e, EK_INVALID, 0, "mcp_servers.%zu.name: duplicate name \"%.255s\"", i, name);
		if (!weburl_ok(jx_str(v, "url")))
			return err_set(e, EK_INVALID, 0, "mcp_servers.%zu.url: must be an http or https URL without credentials", i);
	}
	json_array_foreach(tools, i, v) {
		const char *name = jx_str(v, "mcp_server_name");

		if (name && !names(servers, "name", name))
			return err_set(e, EK_INVALID, 0, "tools.%zu." MCP_TOOLSET ": references server \"%.255s\" which is not defined in mcp_servers", i,
			    name);
	}
	json_array_foreach(servers, i, v)
		if (!names(tools, "mcp_server_name", jx_str(v, "name")))
			buf_printf(&alone, "%s%.255s", alone.len ? " " : "", jx_str(v, "name"));
	if (!alone.len)
		return 0;
	return err_set(e, EK_INVALID, 0, "mcp_servers [%s] declared but no " MCP_TOOLSET " in tools references them", alone.data);
}

/* --- what a resolved list says ------------------------------------------------------------------------------------------------ */

static const json_t *
toolset_entry(const json_t *tools)
{
	json_t *v;
	size_t i;

	json_array_foreach(tools, i, v)
		if (strcmp(jx_str(v, "type"), AGENT_TOOLSET) == 0)
			return v;
	return NULL;
}

const json_t *
toolset_config(const json_t *tools, const char *builtin)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(toolset_entry(tools), "configs"), i, v)
		if (strcmp(jx_str(v, "name"), builtin) == 0)
			return v;
	return NULL;
}

bool
toolset_usable(const json_t *tools, const char *builtin)
{
	const json_t *entry = toolset_entry(tools), *own = toolset_config(tools, builtin);

	return entry && jx_bool(own ? own : json_object_get(entry, "default_config"), "enabled", 0);
}
