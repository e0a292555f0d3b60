/*
 * conf: every setting of every process, declared in one table (conf.def): name, type, default, range, help.
 *
 * A process is started with `-c FILE` and nothing else; the file holds `name = value` lines and # comments. Unknown names, bad
 * values and values out of range stop the start with file, line and name. Secrets are not settings: a setting names the 0400 file.
 */
#ifndef ROOST_BASE_CONF_H
#define ROOST_BASE_CONF_H

#include <stdint.h>

#include "err.h"

struct conf {
#define CONF_STR(name, dflt, help) char name[256];
#define CONF_INT(name, dflt, min, max, help) int64_t name;
#include "conf.def"
#undef CONF_STR
#undef CONF_INT
};

/* Defaults, then the file. EK_INVALID with the line in pub. */
int conf_load(struct conf *c, const char *path, struct err *e);

/*
 * main()'s first lines: handles -c FILE (loads it), -h/--help (prints the table, exits 0), -V; anything else exits 2. Prints the
 * error and exits 1 when the file is bad.
 */
void conf_args(struct conf *c, int argc, char **argv);

#endif
