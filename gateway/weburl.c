/*
 * weburl: see weburl.h. By hand, because only what these few rules name is taken; what a server is asked for is parsed by the library that
 * asks. Nothing is resolved here.
 */
#include "weburl.h"

#include <ctype.h>
#include <string.h>

bool
weburl_ok(const char *s)
{
	const char *host = strncmp(s, "https://", 8) == 0 ? s + 8 : strncmp(s, "http://", 7) == 0 ? s + 7 : NULL;

	if (!host || !*host || strchr("/:?#@", *host) || memchr(host, '@', strcspn(host, "/?#")))
		return false;
	for (; *host; host++)
		if ((unsigned char)*host <= ' ' || (unsigned char)*host >= 0x7f || strchr("\"<>\\", *host))
			return false;
	return true;
}

char *
weburl_key(const char *url, struct arena *a)
{
	const char *host = strstr(url, "://") + 3, *rest = host + strcspn(host, "/?#"), *query = rest + strcspn(rest, "?#");
	const char *dflt = url[4] == 's' ? ":443" : ":80", *end = rest;
	size_t path = (size_t)(query - rest), n = strlen(dflt);
	char *key, *c;

	if ((size_t)(rest - host) > n && strncmp(rest - n, dflt, n) == 0)
		end = rest - n;
	while (end > host + 1 && (end[-1] == '.' || end[-1] == ':'))	/* the root's dot, a port that is not given */
		end--;
	while (path > 0 && rest[path - 1] == '/')
		path--;
	key = arena_printf(a, "%.*s%.*s%.*s", (int)(end - url), url, (int)path, rest, (int)strcspn(query, "#"), query);
	for (c = key; c < key + (end - url); c++)
		*c = (char)tolower((unsigned char)*c);
	return key;
}

static int
wrong(const char *entry, const char *what, struct err *e)
{
	return err_set(e, EK_INVALID, 0, "`allowed_hosts` entry \"%.200s\" %s", entry, what);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Labels of 1 to 63 letters, digits, - and _, none with a hyphen at an end; 253 characters at most. */
static bool
is_name(const char *s)
{
	if (strlen(s) > 253)
		return false;
	for (;; s++) {
		size_t n = strcspn(s, ".");

		if (n < 1 || n > 63 || strspn(s, LETTERS DIGITS "-_") < n || s[0] == '-' || s[n - 1] == '-')
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

/* Four numbers up to 255, as people write them. */
static bool
is_ipv4(const char *s)
{
	for (int i = 0; i < 4; i++) {
		size_t n = strspn(s, DIGITS);
		int v = 0;

		for (size_t k = 0; k < n && k < 4; k++)
			v = v * 10 + (s[k] - '0');
		if (n < 1 || n > 3 || v > 255 || (n > 1 && s[0] == '0') || s[n] != (i < 3 ? '.' : '\0'))
			return false;
		s += n + 1;
	}
	return true;
}

static int
host_check(const char *entry, struct err *e)
{
	bool any = strncmp(entry, "*.", 2) == 0;
	const char *name = any ? entry + 2 : entry, *last;

	if (strstr(entry, "://"))
		return wrong(entry, "contains a URL scheme. Entries must be bare hostnames like \"google.com\".", e);
	if (strpbrk(entry, "/?#"))
		return wrong(entry, "is not a hostname: it contains a path.", e);
	if (strchr(entry, '[') || (strchr(entry, ':') && strchr(strchr(entry, ':') + 1, ':')))
		return wrong(entry, "is an IPv6 address, which is not supported.", e);
	if (strchr(entry, ':'))
		return wrong(entry, "contains a port. Entries must be bare hostnames without ports.", e);
	if (strchr(name, '*'))
		return wrong(entry, "is not a hostname: a wildcard can only be the first label, as in \"*.example.com\".", e);
	if (!is_name(name))
		return wrong(entry, "is not a hostname.", e);
	last = strrchr(name, '.') ? strrchr(name, '.') + 1 : name;
	if (strspn(last, DIGITS) == strlen(last) && (any || !is_ipv4(name)))	/* a name that ends in a number is taken for an address */
		return wrong(entry, "is not a hostname.", e);
	return 0;
}

int
weburl_hosts(const json_t *hosts, struct err *e)
{
	json_t *v;
	size_t i;

	json_array_foreach(hosts, i, v)
		if (host_check(json_string_value(v), e) < 0)
			return -1;
	return 0;
}
