/*
 * suffix: see suffix.h. The file is kept as it is read, cut into lines, and searched by halving. Three kinds of rules: a name; *.name, every
 * label below it; !name, an exception to the latter. Rules that are not ASCII are left out: hosts come in their xn-- form, which the list
 * does not have. Without the list nothing is refused that has a dot.
 */
#include "suffix.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

#define LIST_MAX (4 << 20)
#define HOST_MAX 256

static char *text;
static const char **rules;	/* sorted, into text */
static size_t n_rules;

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool
listed(const char *rule)
{
	return n_rules > 0 && bsearch(&rule, rules, n_rules, sizeof *rules, by_name) != NULL;
}

/* Cut the ICANN part into its rules. */
static void
rules_read(char *list)
{
	char *end = strstr(list, "===END ICANN DOMAINS==="), *save = NULL;

	if (end)
		*end = '\0';
	for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool ascii = true;

		line[strcspn(line, " \t\r")] = '\0';
		for (const char *p = line; *p; p++)
			ascii = ascii && (unsigned char)*p < 0x80;
		if (!*line || strncmp(line, "//", 2) == 0 || !ascii)
			continue;
		if ((n_rules & (n_rules - 1)) == 0)
			rules = xrealloc(rules, (n_rules ? 2 * n_rules : 1) * sizeof *rules);
		rules[n_rules++] = line;
	}
	if (n_rules > 0)
		qsort(rules, n_rules, sizeof *rules, by_name);
}

int
suffix_load(const char *path, struct err *e)
{
	FILE *f = path[0] ? fopen(path, "re") : NULL;
	size_t n;

	if (!f)
		return !path[0] || errno == ENOENT ? 0 : err_fault(e, EK_INTERNAL, errno, "public suffix list %s", path);
	text = xmalloc(LIST_MAX + 1);
	n = fread(text, 1, LIST_MAX, f);
	if (ferror(f)) {
		err_fault(e, EK_INTERNAL, errno, "public suffix list %s", path);
		(void)fclose(f);
		return -1;
	}
	(void)fclose(f);
	text[n] = '\0';
	text = xrealloc(text, n + 1);
	rules_read(text);
	return 0;
}

bool
suffix_public(const char *host)
{
	char name[HOST_MAX], rule[HOST_MAX + 2];
	const char *rest;
	size_t len = strlen(host);

	if (len >= sizeof name)
		return false;
	for (size_t i = 0; i <= len; i++)
		name[i] = (char)tolower((unsigned char)host[i]);
	rest = strchr(name, '.');
	snprintf(rule, sizeof rule, "!%s", name);
	if (listed(rule))
		return false;
	snprintf(rule, sizeof rule, "*%s", rest ? rest : "");
	return listed(name) || (rest && listed(rule));
}
