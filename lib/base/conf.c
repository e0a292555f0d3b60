/*
 * conf: see conf.h. The table conf.def is expanded three times: into the struct, into the defaults and parser below, and into --help.
 */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "failpoint.h"

#ifndef ROOST_VERSION
#define ROOST_VERSION "0.1"
#endif

struct setting {
	const char *name, *dflt, *help;
	size_t offset;
	int64_t num, min, max;	/* numbers: default and range; dflt is NULL */
};

static const struct setting settings[] = {
#define CONF_STR(name, dflt, help) { #name, dflt, help, offsetof(struct conf, name), 0, 0, 0 },
#define CONF_INT(name, dflt, min, max, help) { #name, NULL, help, offsetof(struct conf, name), dflt, min, max },
#include "conf.def"
#undef CONF_STR
#undef CONF_INT
};

#define NSETTINGS (sizeof settings / sizeof *settings)

static char *text_of(struct conf *c, const struct setting *s) { return (char *)c + s->offset; }
static int64_t *num_of(struct conf *c, const struct setting *s) { return (int64_t *)(void *)((char *)c + s->offset); }

static void
set_defaults(struct conf *c)
{
	const struct setting *s;

	for (s = settings; s < settings + NSETTINGS; s++) {
		if (s->dflt)
			snprintf(text_of(c, s), 256, "%s", s->dflt);
		else
			*num_of(c, s) = s->num;
	}
}

static int
set_one(struct conf *c, const char *where, int line, const char *name, const char *value, struct err *e)
{
	const struct setting *s;
	char *end;
	long long v;

	for (s = settings; s < settings + NSETTINGS; s++)
		if (strcmp(s->name, name) == 0)
			break;
	if (s == settings + NSETTINGS)
		return err_set(e, EK_INVALID, 0, "%s:%d: unknown setting \"%s\"", where, line, name);
	if (s->dflt) {
		if (strlen(value) > 255)
			return err_set(e, EK_INVALID, 0, "%s:%d: %s is longer than 255 bytes", where, line, name);
		snprintf(text_of(c, s), 256, "%s", value);
		return 0;
	}
	errno = 0;
	v = strtoll(value, &end, 10);
	if (errno || end == value || *end || v < s->min || v > s->max)
		return err_set(e, EK_INVALID, 0, "%s:%d: %s must be a whole number from %lld to %lld", where, line, name,
		    (long long)s->min, (long long)s->max);
	*num_of(c, s) = v;
	return 0;
}

static char *
trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]); end--)
		end[-1] = '\0';
	return s;
}

int
conf_load(struct conf *c, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	char text[1024], *name, *eq;
	int line = 0, rc = 0;

	set_defaults(c);
	if (!f)
		return err_set(e, EK_INVALID, errno, "cannot open %s", path);
	while (rc == 0 && fgets(text, sizeof text, f)) {
		line++;
		name = trim(text);
		if (*name == '\0' || *name == '#')
			continue;
		eq = strchr(name, '=');
		if (!eq) {
			rc = err_set(e, EK_INVALID, 0, "%s:%d: expected name = value", path, line);
			break;
		}
		*eq = '\0';
		rc = set_one(c, path, line, trim(name), trim(eq + 1), e);
	}
	fclose(f);
	return rc;
}

static void
print_help(const char *argv0)
{
	const struct setting *s;

	printf("usage: %s -c FILE\n\nFILE holds lines `name = value`; # begins a comment. Settings:\n\n", argv0);
	for (s = settings; s < settings + NSETTINGS; s++) {
		if (s->dflt)
			printf("  %-20s %s\n  %20s default: %s\n", s->name, s->help, "", *s->dflt ? s->dflt : "(empty)");
		else
			printf("  %-20s %s\n  %20s default: %lld, range: %lld..%lld\n", s->name, s->help, "", (long long)s->num,
			    (long long)s->min, (long long)s->max);
	}
}

void
conf_args(struct conf *c, int argc, char **argv)
{
	struct err e = ERR_INIT;

	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
		print_help(argv[0]);
		exit(0);
	}
	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		printf("%s\n", ROOST_VERSION);
		exit(0);
	}
	if (argc != 3 || strcmp(argv[1], "-c") != 0) {
		fprintf(stderr, "usage: %s -c FILE (see --help)\n", argv[0]);
		exit(2);
	}
	if (conf_load(c, argv[2], &e) < 0) {
		fprintf(stderr, "%s: %s%s%s\n", argv[0], e.pub, e.sys ? ": " : "", e.sys ? strerror(e.sys) : "");
		exit(1);
	}
	failpoint_open(c->failpoint_file);
}
