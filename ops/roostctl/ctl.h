/*
 * ctl: what every command of roostctl gets, and what it may call.
 *
 * A command is `int cmd_<noun>_<verb>(struct ctl *c, int argc, char **argv)`: argv[0] is the verb, argv[1..argc-1] its arguments.
 * It returns the exit status: CTL_OK, CTL_FAILED (it has printed why on stderr), CTL_USAGE (main prints the command's usage line).
 * Results go to stdout, one row a line, columns separated by tabs; with c->quiet only the first column (for scripts).
 * A new command is a row in roostctl.c's table.
 */
#ifndef ROOST_OPS_CTL_H
#define ROOST_OPS_CTL_H

#include <stdbool.h>

#include "conf.h"
#include "db.h"
#include "err.h"

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl {
	struct conf conf;	/* of -c FILE */
	const char *conf_path;
	struct db *db;		/* role roost_admin (owner of the schema); connects at first use, owned by main */
	bool quiet;		/* -q */
};

/* The reason of a failure in one line, for an operator. Valid until the next call. */
const char *ctl_reason(const struct err *e);

/* Print "roostctl: what: reason" and return CTL_FAILED. what may be NULL. */
int ctl_fail(const char *what, const struct err *e);

/* The value after `--name`, or NULL. Both argv cells are removed (argc shrinks), so that positional arguments remain. */
const char *ctl_option(int *argc, char **argv, const char *name);

/* Is `--name` there? The cell is removed. */
bool ctl_flag(int *argc, char **argv, const char *name);

/* Read a whole file of at most max bytes, NUL-terminated; the caller frees. NULL with e set. */
char *ctl_read_file(const char *path, size_t max, size_t *out_len, struct err *e);

/* Print all rows of a result, tab-separated (NULL as "-"); only the first column when c->quiet. */
void ctl_print(const struct ctl *c, const PGresult *res);

#define CTL_COMMAND(fn) int fn(struct ctl *c, int argc, char **argv)
CTL_COMMAND(cmd_org_create);
CTL_COMMAND(cmd_org_list);
CTL_COMMAND(cmd_org_suspend);
CTL_COMMAND(cmd_org_resume);
CTL_COMMAND(cmd_workspace_create);
CTL_COMMAND(cmd_workspace_list);
CTL_COMMAND(cmd_workspace_archive);
CTL_COMMAND(cmd_key_create);
CTL_COMMAND(cmd_key_list);
CTL_COMMAND(cmd_key_revoke);
CTL_COMMAND(cmd_models_apply);	/* models.c */
CTL_COMMAND(cmd_models_list);	/* models.c */
CTL_COMMAND(cmd_models_export);	/* models_export.c */
CTL_COMMAND(cmd_migrate);
CTL_COMMAND(cmd_restored);
CTL_COMMAND(cmd_status);
CTL_COMMAND(cmd_doctor);
CTL_COMMAND(cmd_check);	/* check.c */
CTL_COMMAND(cmd_gaps);
CTL_COMMAND(cmd_dead_list);	/* dead.c */
CTL_COMMAND(cmd_dead_retry);	/* dead.c */
CTL_COMMAND(cmd_failpoints);	/* failpoints.c */
CTL_COMMAND(cmd_uncache);
CTL_COMMAND(cmd_listen);	/* listen.c */
CTL_COMMAND(cmd_keygen);
CTL_COMMAND(cmd_vault_init);	/* vault.c */
CTL_COMMAND(cmd_vault_rotate);	/* vault.c */
CTL_COMMAND(cmd_vault_keys);	/* vault.c */
CTL_COMMAND(cmd_vault_reseal);	/* vault.c */
CTL_COMMAND(cmd_vault_forget);	/* vault.c */
CTL_COMMAND(cmd_vault_uses);	/* vault.c */

#endif
