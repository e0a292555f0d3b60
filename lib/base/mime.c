/* mime: see mime.h. A table of what people put into files; a scan of it costs nothing beside storing one. */
#include "mime.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct { const char *ending, *type; } known[] = {
#define MIME(e, t) { "." e, t },
#include "mime.def"
#undef MIME
};

#define KNOWN (sizeof known / sizeof *known)

const char *
mime_of_name(const char *filename)
{
	const char *dot = strrchr(filename, '.');

	for (size_t i = 0; dot && i < KNOWN; i++)
		if (strcasecmp(known[i].ending, dot) == 0)
			return known[i].type;
	return MIME_ANY;
}

const char *
mime_ending(const char *type)
{
	if (strcmp(type, MIME_ANY) == 0)
		return "";
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(known[i].type, type) == 0)
			return known[i].ending;
	return "";
}

/* Length of an RFC 9110 token. */
static size_t
token(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || (s[n] && strchr("!#$&-^_.+", s[n])))
		n++;
	return n;
}

bool
mime_essence(const char *content_type, char out[MIME_MAX])
{
	size_t a, b, n;

	content_type += strspn(content_type, " \t");
	a = token(content_type);
	b = content_type[a] == '/' ? token(content_type + a + 1) : 0;
	n = a + 1 + b;
	out[0] = '\0';
	if (a == 0 || b == 0 || n >= MIME_MAX || !strchr("; \t", content_type[n]))
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)content_type[i]);
	out[n] = '\0';
	return true;
}
