/*
 * envcfg: see envcfg.h. Sub-fields of config that are left out keep their value. Networking, packages and self_hosted are checked and
 * kept here; what a session can have of them is fit.c's (sandboxes have no network yet: the strictest reading of every networking setting).
 */
#include "envcfg.h"

#include <string.h>

#include "jx.h"
#include "shape.h"
#include "weburl.h"

static const char *const managers[] = { "apt", "cargo", "gem", "go", "npm", "pip" };

/* given, unless it is absent or null; else kept; else dflt (taken). A new reference. */
static json_t *
choose(const json_t *given, const json_t *kept, json_t *dflt)
{
	const json_t *v = given && !json_is_null(given) ? given : kept && !json_is_null(kept) ? kept : NULL;

	if (!v)
		return dflt;
	json_decref(dflt);
	return json_incref((json_t *)v);
}

/* A new reference, or NULL with e set. */
static json_t *
networking(const json_t *given, const json_t *stored, struct err *e)
{
	const char *type = jx_str(given, "type"), *was = jx_str(stored, "type");
	const json_t *kept = type && was && strcmp(type, was) == 0 ? stored : NULL;

	if (!type)
		return stored ? json_incref((json_t *)stored) : json_pack("{ss}", "type", "unrestricted");
	if (strcmp(type, "unrestricted") == 0)
		return json_pack("{ss}", "type", type);
	if (weburl_hosts(json_object_get(given, "allowed_hosts"), e) < 0)
		return NULL;
	return json_pack("{ss so so so}", "type", type,
	    "allowed_hosts", choose(json_object_get(given, "allowed_hosts"), json_object_get(kept, "allowed_hosts"), json_array()),
	    "allow_mcp_servers", choose(json_object_get(given, "allow_mcp_servers"), json_object_get(kept, "allow_mcp_servers"), json_false()),
	    "allow_package_managers",
	    choose(json_object_get(given, "allow_package_managers"), json_object_get(kept, "allow_package_managers"), json_false()));
}

static json_t *
packages(const json_t *given, const json_t *stored)
{
	json_t *out = json_pack("{ss}", "type", "packages");

	for (size_t i = 0; i < sizeof managers / sizeof *managers; i++)
		json_object_set_new(out, managers[i],
		    choose(json_object_get(given, managers[i]), json_object_get(stored, managers[i]), json_array()));
	return out;
}

/* Under a limited network packages can only be installed where package managers are allowed (contract 8.1). */
static int
packages_check(const json_t *net, const json_t *lists, struct err *e)
{
	if (strcmp(jx_str(net, "type"), "limited") != 0 || jx_bool(net, "allow_package_managers", 0))
		return 0;
	for (size_t i = 0; i < sizeof managers / sizeof *managers; i++)
		if (json_array_size(json_object_get(lists, managers[i])) > 0)
			return err_set(e, EK_INVALID, 0, "config.packages.%s: packages require networking.allow_package_managers to be true under limited "
			    "networking", managers[i]);
	return 0;
}

static int
config(const json_t *given, const json_t *stored, json_t **out, struct err *e)
{
	const char *type = jx_str(given, "type"), *was = jx_str(stored, "type");
	AUTO(json) json_t *net = NULL, *lists = NULL;

	if (type && was && strcmp(type, was) != 0)
		return err_coded(e, EC_INVALID_CONFIG_TYPE_CHANGE, "config.type: cannot change from \"%s\" to \"%s\"", was, type);
	if (type && strcmp(type, "self_hosted") == 0) {
		*out = json_pack("{ss}", "type", type);
		return 0;
	}
	net = networking(json_object_get(given, "networking"), json_object_get(stored, "networking"), e);
	lists = packages(json_object_get(given, "packages"), json_object_get(stored, "packages"));
	if (!net || packages_check(net, lists, e) < 0)
		return -1;
	*out = json_pack("{ss sO sO}", "type", "cloud", "networking", net, "packages", lists);
	return 0;
}

static int
scope_check(const json_t *body, struct err *e)
{
	const char *scope = jx_str(body, "scope");

	if (scope && strcmp(scope, "organization") != 0)
		return err_set(e, EK_INVALID, 0, "scope: \"%s\" is not available to this organization", scope);
	return 0;
}

/* Merge patch in which null and "" delete. */
static void
metadata(json_t *cfg, const json_t *patch)
{
	json_t *merged = json_copy(json_object_get(cfg, "metadata")), *v;
	const char *key;

	json_object_foreach((json_t *)patch, key, v) {
		if (json_is_string(v) && json_string_length(v) > 0)
			json_object_set(merged, key, v);
		else
			json_object_del(merged, key);
	}
	json_object_set_new(cfg, "metadata", merged);
}

int
envcfg_create(const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_pack("{ss s{} ss}", "description", "", "metadata", "scope", "organization");
	json_t *resolved = NULL;

	if (scope_check(body, e) < 0 || config(json_object_get(body, "config"), NULL, &resolved, e) < 0)
		return -1;
	shape_update(&shape_environment_create, cfg, body);
	json_object_set_new(cfg, "config", resolved);
	metadata(cfg, json_object_get(body, "metadata"));
	*out = steal(cfg);
	return 0;
}

int
envcfg_update(const json_t *stored, const json_t *body, json_t **out, struct err *e)
{
	AUTO(json) json_t *cfg = json_copy((json_t *)stored);
	const json_t *given = json_object_get(body, "config");
	json_t *resolved = NULL;

	if (scope_check(body, e) < 0)
		return -1;
	shape_update(&shape_environment_update, cfg, body);
	if (given && !json_is_null(given)) {
		if (config(given, json_object_get(stored, "config"), &resolved, e) < 0)
			return -1;
		json_object_set_new(cfg, "config", resolved);
	}
	metadata(cfg, json_object_get(body, "metadata"));
	if (shape_pairs(json_object_get(cfg, "metadata"), e) < 0)
		return -1;
	*out = steal(cfg);
	return 0;
}
