/*
 * suffix: see suffix.h. The rules are kept as one text, NUL-terminated each, with a sorted list of where they begin: some 100 kB. Three kinds
 * of rules: a name; *.name, every label below it; !name, an exception to the latter. Rules that are not ASCII are left out: hosts come in
 * their xn-- form, which the list does not have. Without the list nothing is refused that has a dot.
 */
#include "suffix.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

#define LIST_MAX (4 << 20)
#define HOST_MAX 256

static char *text;
static uint32_t *rules;		/* where in text, sorted by what stands there */
static size_t n_rules;

static int
by_name(const void *a, const void *b)
{
	return strcmp(text + *(const uint32_t *)a, text + *(const uint32_t *)b);
}

static int
to_rule(const void *name, const void *rule)
{
	return strcmp(name, text + *(const uint32_t *)rule);
}

static bool
listed(const char *rule)
{
	return n_rules > 0 && bsearch(rule, rules, n_rules, sizeof *rules, to_rule) != NULL;
}

static bool
is_rule(const char *line)
{
	if (!*line || strncmp(line, "//", 2) == 0)
		return false;
	for (; *line; line++)
		if ((unsigned char)*line >= 0x80)
			return false;
	return true;
}

/* Move the rules of the ICANN part to the beginning of the text, and give the rest back. */
static void
rules_read(void)
{
	char *end = strstr(text, "===END ICANN DOMAINS==="), *save = NULL;
	size_t used = 0;

	n_rules = 0;
	if (end)
		*end = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t len = strcspn(line, " \t\r");

		line[len] = '\0';
		if (!is_rule(line))
			continue;
		if ((n_rules & (n_rules - 1)) == 0)
			rules = xrealloc(rules, (n_rules ? 2 * n_rules : 1) * sizeof *rules);
		rules[n_rules++] = (uint32_t)used;
		memmove(text + used, line, len + 1);	/* never forward: each line is behind all rules before it */
		used += len + 1;
	}
	text = xrealloc(text, used + 1);
	if (n_rules > 0)
		qsort(rules, n_rules, sizeof *rules, by_name);
}

int
suffix_load(const char *path, struct err *e)
{
	FILE *f = path[0] ? fopen(path, "re") : NULL;
	int failed;
	size_t n;

	if (!f)
		return !path[0] || errno == ENOENT ? 0 : err_fault(e, EK_INTERNAL, errno, "public suffix list %s", path);
	text = xrealloc(text, LIST_MAX + 1);
	n = fread(text, 1, LIST_MAX, f);
	failed = ferror(f) ? errno : 0;
	(void)fclose(f);
	if (failed)
		return err_fault(e, EK_INTERNAL, failed, "public suffix list %s", path);
	text[n] = '\0';
	rules_read();
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
