/*
 * credcfg: see credcfg.h. Shapes have said what is there and how long it may be; here is what spans fields: URLs, names, hosts, times, what
 * an update may change. A secret is only pointed at: it stays in the request's tree, is sealed from there, and goes with it. Errors name
 * the field, never a secret's text.
 */
#include "credcfg.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "jx.h"
#include "weburl.h"

/* Variables that would not reach a program as they are meant, or change which program runs, how it loads or where it sends things. */
static const char *const reserved[] = {
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "TERM", "LANG", "TMPDIR", "IFS", "ENV", "BASH_ENV", "PS4",
	"NODE_OPTIONS", "PYTHONPATH", "PYTHONHOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
};

static int
name_check(const char *name, struct err *e)
{
	if (isdigit((unsigned char)name[0]) ||
	    name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")])
		return err_set(e, EK_INVALID, 0, "auth.secret_name: must be the name of an environment variable: letters, digits and underscores, "
		    "not beginning with a digit");
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (strcasecmp(reserved[i], name) == 0)
			return err_set(e, EK_INVALID, 0, "auth.secret_name: \"%s\" is reserved", reserved[i]);
	if (strncmp(name, "LD_", 3) == 0 || strncmp(name, "ROOST_", 6) == 0)
		return err_set(e, EK_INVALID, 0, "auth.secret_name: names that begin with LD_ or ROOST_ are reserved");
	return 0;
}

static int
url_check(const char *field, const char *url, struct err *e)
{
	if (weburl_ok(url) && !strchr(url, '#'))
		return 0;
	return err_set(e, EK_INVALID, 0, "auth.%s: must be an http or https URL without credentials and fragment", field);
}

/* Null and "" are none. */
static const char *
text_or_null(const json_t *obj, const char *key)
{
	const char *s = jx_str(obj, key);

	return s && *s ? s : NULL;
}

static void
secret_put(struct credcfg *c, const char *slot, const json_t *obj)
{
	const char *s = jx_str(obj, slot);

	if (!s)
		return;
	c->secret[c->n].slot = slot;
	c->secret[c->n++].secret = s;
}

/* expires_at of auth: absent keeps *io, null empties it. */
static int
expiry(const json_t *auth, int64_t now_us, struct arena *a, const char **io, struct err *e)
{
	const json_t *v = json_object_get(auth, "expires_at");
	int64_t us;

	if (!v)
		return 0;
	if (json_is_null(v)) {
		*io = NULL;
		return 0;
	}
	if (clock_parse(json_string_value(v), &us) < 0)
		return err_set(e, EK_INVALID, 0, "auth.expires_at: expected an RFC 3339 timestamp");
	if (us <= now_us)
		return err_set(e, EK_INVALID, 0, "auth.expires_at must be in the future.");
	*io = arena_printf(a, "%lld", (long long)us);
	return 0;
}

/* --- environment variables ----------------------------------------------------------------------------------------------------- */

static int
networking(const json_t *net, struct arena *a, const char **out, struct err *e)
{
	const json_t *hosts = json_object_get(net, "allowed_hosts");
	AUTO(str) char *text = NULL;
	json_t *v;
	size_t i;

	*out = NULL;
	if (!hosts)
		return 0;
	if (weburl_hosts(hosts, e) < 0)
		return -1;
	json_array_foreach(hosts, i, v) {
		const char *s = json_string_value(v);

		if (s[0] == '*' && !strchr(s + 2, '.'))
			return err_set(e, EK_INVALID, 0, "`allowed_hosts` entry \"%.200s\" is too wide: a wildcard needs a domain of two "
			    "labels, as in \"*.example.com\".", s);
	}
	text = jx_dump(hosts);
	*out = arena_strdup(a, text);
	return 0;
}

/* Members that are left out keep what they are. */
static int
injection(const json_t *given, struct credential_auth *io, struct err *e)
{
	io->inject_header = jx_bool(given, "header", io->inject_header);
	io->inject_body = jx_bool(given, "body", io->inject_body);
	if (io->inject_header || io->inject_body)
		return 0;
	return err_set(e, EK_INVALID, 0, "auth.injection_location: at least one of header and body must be true");
}

static int
variable_create(const json_t *auth, struct arena *a, struct credcfg *out, struct err *e)
{
	const json_t *where = json_object_get(auth, "injection_location");

	out->match_key = out->auth.secret_name = jx_str(auth, "secret_name");
	out->auth.inject_header = out->auth.inject_body = !where;
	if (name_check(out->auth.secret_name, e) < 0 || injection(where, &out->auth, e) < 0)
		return -1;
	secret_put(out, "secret_value", auth);
	return networking(json_object_get(auth, "networking"), a, &out->auth.allowed_hosts, e);
}

static int
variable_update(const json_t *auth, struct arena *a, struct credcfg *out, struct err *e)
{
	const json_t *net = json_object_get(auth, "networking");

	secret_put(out, "secret_value", auth);
	if (injection(json_object_get(auth, "injection_location"), &out->auth, e) < 0)
		return -1;
	return json_is_object(net) ? networking(net, a, &out->auth.allowed_hosts, e) : 0;
}

/* --- MCP servers ------------------------------------------------------------------------------------------------------------------ */

static int
server(const json_t *auth, struct arena *a, struct credcfg *out, struct err *e)
{
	out->auth.mcp_server_url = jx_str(auth, "mcp_server_url");
	if (url_check("mcp_server_url", out->auth.mcp_server_url, e) < 0)
		return -1;
	out->match_key = weburl_key(out->auth.mcp_server_url, a);
	return 0;
}

static int
bearer_create(const json_t *auth, struct arena *a, struct credcfg *out, struct err *e)
{
	secret_put(out, "token", auth);
	return server(auth, a, out, e);
}

static int
oauth_create(const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out, struct err *e)
{
	const json_t *refresh = json_object_get(auth, "refresh"), *how = json_object_get(refresh, "token_endpoint_auth");

	secret_put(out, "access_token", auth);
	if (server(auth, a, out, e) < 0 || expiry(auth, now_us, a, &out->auth.expires_us, e) < 0)
		return -1;
	if (!json_is_object(refresh))
		return 0;
	out->auth.token_endpoint = jx_str(refresh, "token_endpoint");
	out->auth.client_id = jx_str(refresh, "client_id");
	out->auth.endpoint_auth = jx_str(how, "type");
	out->auth.refresh_scope = text_or_null(refresh, "scope");
	out->auth.refresh_resource = text_or_null(refresh, "resource");
	secret_put(out, "refresh_token", refresh);
	secret_put(out, "client_secret", how);
	return url_check("refresh.token_endpoint", out->auth.token_endpoint, e);
}

static int
refresh_update(const json_t *refresh, struct credcfg *out, struct err *e)
{
	const json_t *how = json_object_get(refresh, "token_endpoint_auth"), *scope = json_object_get(refresh, "scope");

	if (!out->auth.token_endpoint)
		return err_set(e, EK_INVALID, 0, "auth.refresh: this credential was created without a refresh configuration");
	if (jx_str(how, "client_secret") && strcmp(out->auth.endpoint_auth, "none") == 0)
		return err_set(e, EK_INVALID, 0, "auth.refresh.token_endpoint_auth: the stored type is \"none\", which has no client_secret");
	secret_put(out, "refresh_token", refresh);
	secret_put(out, "client_secret", how);
	if (json_is_string(scope))
		out->auth.refresh_scope = text_or_null(refresh, "scope");
	return 0;
}

static int
oauth_update(const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out, struct err *e)
{
	const json_t *refresh = json_object_get(auth, "refresh");

	secret_put(out, "access_token", auth);
	if (expiry(auth, now_us, a, &out->auth.expires_us, e) < 0)
		return -1;
	return json_is_object(refresh) ? refresh_update(refresh, out, e) : 0;
}

/* --- both -------------------------------------------------------------------------------------------------------------------------- */

int
credcfg_create(const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out, struct err *e)
{
	const char *type = jx_str(auth, "type");

	*out = (struct credcfg){ .auth.type = type };
	if (strcmp(type, "environment_variable") == 0)
		return variable_create(auth, a, out, e);
	return strcmp(type, "static_bearer") == 0 ? bearer_create(auth, a, out, e) : oauth_create(auth, now_us, a, out, e);
}

int
credcfg_update(const struct credential_auth *stored, const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out,
    struct err *e)
{
	const char *type = jx_str(auth, "type");

	*out = (struct credcfg){ .auth = *stored };
	if (!auth)
		return 0;
	if (strcmp(type, stored->type) != 0)
		return err_set(e, EK_INVALID, 0, "auth.type: cannot change from \"%s\" to \"%s\"", stored->type, type);
	if (strcmp(type, "environment_variable") == 0)
		return variable_update(auth, a, out, e);
	if (strcmp(type, "mcp_oauth") == 0)
		return oauth_update(auth, now_us, a, out, e);
	secret_put(out, "token", auth);
	return 0;
}

static bool
same(const char *x, const char *y)
{
	return x && y ? strcmp(x, y) == 0 : x == y;
}

bool
credcfg_differs(const struct credential_auth *x, const struct credential_auth *y)
{
	return !same(x->expires_us, y->expires_us) || !same(x->refresh_scope, y->refresh_scope) || !same(x->allowed_hosts, y->allowed_hosts) ||
	    x->inject_header != y->inject_header || x->inject_body != y->inject_body;
}
