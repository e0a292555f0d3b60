/*
 * fit: see fit.h. Agents and environments may say what no session can have yet (MCP servers, packages, an AWS role, a self-hosted
 * environment): they are kept as sent, and the session that would need it is refused here, clearly, instead of running without it.
 */
#include "fit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "jx.h"
#include "toolset.h"

/* Does a limited network let this host (len bytes) through? An entry is exact, or *.d: subdomains of d of any depth, not d itself. */
static bool
host_allowed(const json_t *allowed, const char *host, size_t len)
{
	json_t *v;
	size_t i;

	json_array_foreach(allowed, i, v) {
		const char *entry = json_string_value(v);
		size_t n = strlen(entry);

		if (entry[0] == '*' ? len > n - 1 && strncasecmp(host + len - (n - 1), entry + 1, n - 1) == 0 :
		    len == n && strncasecmp(host, entry, n) == 0)
			return true;
	}
	return false;
}

/* The host of an http(s) URL that has been checked: *out_len bytes within it. */
static const char *
url_host(const char *url, size_t *out_len)
{
	const char *host = strstr(url, "://") + 3;

	*out_len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
	return host;
}

static int
servers_check(const json_t *servers, const json_t *allowed, struct err *e)
{
	AUTO(buf) struct buf names = BUF_INIT(400);
	json_t *server;
	size_t i, len;

	json_array_foreach(servers, i, server) {
		const char *host = url_host(jx_str(server, "url"), &len);

		if (!host_allowed(allowed, host, len))
			buf_printf(&names, "%s\"%.80s\" (%.*s)", names.len ? ", " : "", jx_str(server, "name"), (int)len, host);
	}
	if (!names.len)
		return 0;
	return err_set(e, EK_INVALID, 0, "MCP server host(s) blocked by environment network policy: %s. Add these hosts to the environment's "
	    "allowed_hosts, or set allow_mcp_servers=true.", names.data);
}

static int
domains_check(const json_t *tools, const char *tool, const json_t *allowed, struct err *e)
{
	const json_t *config = toolset_usable(tools, tool) ? toolset_config(tools, tool) : NULL;
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(config, "allowed_domains"), i, v) {
		const char *domain = json_string_value(v);

		if (!host_allowed(allowed, domain, strcspn(domain, "/")))
			return err_set(e, EK_INVALID, 0, "%s: allowed_domains entry \"%.255s\" is not within the environment's allowed_hosts", tool, domain);
	}
	return 0;
}

static int
network_check(const json_t *agent, const json_t *network, struct err *e)
{
	const json_t *allowed = json_object_get(network, "allowed_hosts"), *tools = json_object_get(agent, "tools");
	const char *type = jx_str(network, "type");

	if (!type || strcmp(type, "limited") != 0)
		return 0;
	if (!jx_bool(network, "allow_mcp_servers", 0) && servers_check(json_object_get(agent, "mcp_servers"), allowed, e) < 0)
		return -1;
	if (domains_check(tools, "web_search", allowed, e) < 0 || domains_check(tools, "web_fetch", allowed, e) < 0)
		return -1;
	return 0;
}

static bool
has_packages(const json_t *packages)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)packages, key, v)
		if (json_array_size(v) > 0)
			return true;
	return false;
}

int
fit_tools(const json_t *agent, const json_t *environment, struct err *e)
{
	if (network_check(agent, json_object_get(json_object_get(environment, "config"), "networking"), e) < 0)
		return -1;
	if (json_array_size(json_object_get(agent, "mcp_servers")) > 0)
		return err_set(e, EK_INVALID, 0, "agent.mcp_servers: sessions with MCP servers are not supported yet");
	return 0;
}

int
fit_check(const json_t *agent, const json_t *environment, struct err *e)
{
	const json_t *config = json_object_get(environment, "config");
	const char *type = jx_str(config, "type"), *identity = jx_str(json_object_get(agent, "execution_identity"), "type");

	if (type && strcmp(type, "self_hosted") == 0)
		return err_set(e, EK_INVALID, 0, "environment_id: sessions in self-hosted environments are not supported yet");
	if (has_packages(json_object_get(config, "packages")))
		return err_set(e, EK_INVALID, 0, "environment_id: sessions in environments with packages are not supported yet");
	if (identity && strcmp(identity, "service_account") != 0)
		return err_set(e, EK_INVALID, 0, "agent.execution_identity: sessions that run as \"%.32s\" are not supported yet", identity);
	return fit_tools(agent, environment, e);
}
