/*
 * webtool: see webtool.h. The web tools themselves come later; what an agent says about them is checked and kept now, so that a stored
 * agent never has to be refused afterwards.
 */
#include "webtool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "jx.h"
#include "suffix.h"

/* ISO 3166-1 alpha-2. */
static const char countries[] =
	"AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD "
	"CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF "
	"GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN "
	"KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA "
	"NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI "
	"SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI "
	"VN VU WF WS YE YT ZA ZM ZW ";

static const char *const private_names[] = { ".localhost", ".local", ".internal", ".localdomain", ".invalid" };

static bool
ends_with(const char *s, size_t len, const char *tail)
{
	size_t n = strlen(tail);

	return len >= n && strncasecmp(s + len - n, tail, n) == 0;
}

static bool
is_address(const char *s)
{
	struct in6_addr six;
	struct in_addr four;

	return inet_pton(AF_INET, s, &four) == 1 || inet_pton(AF_INET6, s, &six) == 1 || s[0] == '[' || s[strspn(s, "0123456789.")] == '\0';
}

/* Why a domain entry is refused, or NULL. path: a path may follow the host. */
static const char *
domain_refusal(const char *entry, bool path)
{
	char host[256];
	size_t len = strcspn(entry, "/");

	if (strstr(entry, "://"))
		return "URL schemes are not supported; provide a hostname";
	if (entry[len] == '/' && entry[len + 1] && !path)
		return "paths are not supported";
	if (entry[len] == '/' && strpbrk(entry + len, " ?#$,|^!"))
		return "the path contains an illegal character";
	if (len == 0 || len >= sizeof host)
		return "provide a hostname";
	snprintf(host, sizeof host, "%.*s", (int)len, entry);
	if (is_address(host))
		return "IP addresses are not supported; provide a hostname";
	for (const char *p = host; *p; p++)
		if ((unsigned char)*p >= 0x80)
			return "must be ASCII; use the xn-- form";
		else if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *p))
			return "must be a hostname without port, credentials, wildcard or whitespace";
	if (strcasecmp(host, "localhost") == 0 || !strchr(host, '.'))
		return "must be a registrable domain";
	for (size_t i = 0; i < sizeof private_names / sizeof *private_names; i++)
		if (ends_with(host, len, private_names[i]))
			return "must be a public domain";
	if (suffix_public(host))
		return "must be a registrable domain, not a public suffix";
	if (host[0] == '.' || host[len - 1] == '.' || strstr(host, ".."))
		return "must be a hostname";
	return NULL;
}

/* The same domain? A single trailing slash does not count, nor does case. */
static bool
same_domain(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	n -= n > 0 && a[n - 1] == '/';
	m -= m > 0 && b[m - 1] == '/';
	return n == m && strncasecmp(a, b, n) == 0;
}

static int
domains_check(const char *where, const char *key, const json_t *list, bool path, struct err *e)
{
	const char *refusal;
	json_t *v;
	size_t i;

	if (json_is_array(list) && json_array_size(list) == 0)
		return err_set(e, EK_INVALID, 0, "%s.%s: Empty list of domains is ambiguous. Provide at least one domain or null.", where, key);
	json_array_foreach(list, i, v) {
		if ((refusal = domain_refusal(json_string_value(v), path)))
			return err_set(e, EK_INVALID, 0, "%s.%s.%zu: %s", where, key, i, refusal);
		for (size_t k = 0; k < i; k++)
			if (same_domain(json_string_value(json_array_get(list, k)), json_string_value(v)))
				return err_set(e, EK_INVALID, 0, "%s.%s.%zu: duplicate entry", where, key, i);
	}
	return 0;
}

static bool
is_custom(const json_t *tools, const char *name)
{
	json_t *tool;
	size_t i;

	json_array_foreach(tools, i, tool) {
		const char *type = jx_str(tool, "type"), *other = jx_str(tool, "name");

		if (type && other && strcmp(type, "custom") == 0 && strcmp(other, name) == 0)
			return true;
	}
	return false;
}

/* One URL source in object form, null when it is not set; a new reference, or NULL with e set. */
static json_t *
source_resolve(const char *where, const char *key, const json_t *v, const json_t *tools, struct err *e)
{
	bool client = strcmp(key, "client_tool_results") == 0;
	json_t *ref;
	size_t i;

	if (!v || json_is_null(v))
		return json_null();
	if (json_is_string(v))
		return json_pack("{sO}", "type", v);
	json_array_foreach(json_object_get(v, "tools"), i, ref) {
		const char *name = jx_str(ref, "name");

		if (client ? !is_custom(tools, name) : strcmp(name, "web_search") != 0 && strcmp(name, "web_fetch") != 0) {
			err_set(e, EK_INVALID, 0, "%s.url_sources.%s.tools.%zu.name: \"%.80s\" is not %s", where, key, i, name,
			    client ? "a custom tool of this agent" : "web_search or web_fetch");
			return NULL;
		}
		for (size_t k = 0; k < i; k++)
			if (strcmp(jx_str(json_array_get(json_object_get(v, "tools"), k), "name"), name) == 0) {
				err_set(e, EK_INVALID, 0, "%s.url_sources.%s.tools.%zu.name: duplicate name \"%.80s\"", where, key, i, name);
				return NULL;
			}
	}
	return json_incref((json_t *)v);
}

static int
sources_resolve(const char *where, const json_t *sources, const json_t *tools, json_t *resolved, struct err *e)
{
	static const char *const keys[] = { "client_tool_results", "server_tool_results", "user_input" };
	AUTO(json) json_t *out = json_object();
	int none = 0;

	if (!sources || json_is_null(sources)) {
		json_object_set_new(resolved, "url_sources", json_null());
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		json_t *v = source_resolve(where, keys[i], json_object_get(sources, keys[i]), tools, e);

		if (!v)
			return -1;
		none += jx_str(v, "type") && strcmp(jx_str(v, "type"), "none") == 0;
		json_object_set_new(out, keys[i], v);
	}
	if (none == 3)
		return err_set(e, EK_INVALID, 0, "%s.url_sources: at least one source must be allowed", where);
	json_object_set_new(resolved, "url_sources", steal(out));
	return 0;
}

static void
copy_or_null(const json_t *from, const char *key, json_t *to)
{
	json_t *v = json_object_get(from, key);

	json_object_set_new(to, key, v ? json_incref(v) : json_null());
}

/* A domain list is shown where it is set: the wire's type has no null for it. */
static void
copy_list(const json_t *from, const char *key, json_t *to)
{
	json_t *v = json_object_get(from, key);

	if (json_is_array(v))
		json_object_set(to, key, v);
}

/* Area/Place of the IANA database, by its form. */
static bool
timezone_ok(const char *s)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";

	return s[0] >= 'A' && s[0] <= 'Z' && !s[strspn(s, legal)] && !strstr(s, "//") && s[strlen(s) - 1] != '/';
}

static int
location_check(const char *where, const json_t *location, struct err *e)
{
	const char *country = jx_str(location, "country"), *zone = jx_str(location, "timezone"), *at;

	at = country ? strstr(countries, country) : NULL;
	if (country && (!at || at[2] != ' '))
		return err_set(e, EK_INVALID, 0, "%s.user_location.country: not a country the search provider supports", where);
	if (zone && !timezone_ok(zone))
		return err_set(e, EK_INVALID, 0, "%s.user_location.timezone: must be an IANA timezone like \"America/Los_Angeles\"", where);
	return 0;
}

int
webtool_resolve(const char *where, const char *name, const json_t *config, const json_t *tools, json_t *resolved, struct err *e)
{
	const json_t *allowed = json_object_get(config, "allowed_domains"), *blocked = json_object_get(config, "blocked_domains");
	bool search = strcmp(name, "web_search") == 0;

	if (allowed && blocked && !json_is_null(allowed) && !json_is_null(blocked))
		return err_set(e, EK_INVALID, 0, "%s: Only one of allowed_domains or blocked_domains may be set.", where);
	if (domains_check(where, "allowed_domains", allowed, search, e) < 0 || domains_check(where, "blocked_domains", blocked, search, e) < 0)
		return -1;
	copy_list(config, "allowed_domains", resolved);
	copy_list(config, "blocked_domains", resolved);
	if (!search) {
		copy_or_null(config, "max_content_tokens", resolved);
		return sources_resolve(where, json_object_get(config, "url_sources"), tools, resolved, e);
	}
	if (location_check(where, json_object_get(config, "user_location"), e) < 0)
		return -1;
	copy_or_null(config, "user_location", resolved);
	return 0;
}
