/*
 * vault: the vault's keys (lib/store/credopen.h). Making one needs write access to its folder, which only root has; nothing here opens a
 * secret.
 *
 * A lost key is the loss of what it sealed: keys are only ever added here, and removing one is the operator's own deed, when no secret
 * is sealed with it any more.
 */
#include "ctl.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "credopen.h"
#include "xalloc.h"

static int
make(struct ctl *c, int unless_any)
{
	struct err e = ERR_INIT;
	char id[CREDSEAL_KEY_ID];
	int made = 0;

	if (!c->conf.vault_key_dir[0] || !c->conf.vault_pub_file[0])
		return err_set(&e, EK_INVALID, 0, "vault_key_dir and vault_pub_file are not set"), ctl_fail("vault", &e);
	if (credkeys_make(c->conf.vault_key_dir, c->conf.vault_pub_file, unless_any, id, &made, &e) < 0)
		return ctl_fail("vault", &e);
	if (c->quiet)
		printf("%s\n", id);
	else
		printf("%s\t%s\n", id, made ? "made" : "kept");
	return CTL_OK;
}

int
cmd_vault_init(struct ctl *c, int argc, char **argv)
{
	(void)argv;
	return argc == 1 ? make(c, 1) : CTL_USAGE;
}

int
cmd_vault_rotate(struct ctl *c, int argc, char **argv)
{
	(void)argv;
	return argc == 1 ? make(c, 0) : CTL_USAGE;
}

static void
print_key(const struct ctl *c, const char *name, const char *current)
{
	AUTO(str) char *path = xasprintf("%s/%s", c->conf.vault_key_dir, name);
	char made[32] = "-";
	struct stat st;
	struct tm tm;

	if (stat(path, &st) == 0 && gmtime_r(&st.st_mtime, &tm))
		(void)strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%.16s", name);
	if (!c->quiet)
		printf("\t%s\t%s", strncmp(name, current, CREDSEAL_KEY_ID - 1) == 0 ? "current" : "old", made);
	putchar('\n');
}

int
cmd_vault_keys(struct ctl *c, int argc, char **argv)
{
	struct credseal_pub p;
	struct err e = ERR_INIT;
	const struct dirent *entry;
	DIR *d;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (credseal_pub_load(c->conf.vault_pub_file, &p, &e) < 0)
		return ctl_fail("vault", &e);
	if (!(d = opendir(c->conf.vault_key_dir)))
		return err_set(&e, EK_INVALID, 0, "cannot read %s", c->conf.vault_key_dir), ctl_fail("vault", &e);
	while ((entry = readdir(d)) != NULL)
		if (credkeys_is_file(entry->d_name))
			print_key(c, entry->d_name, p.id);
	closedir(d);
	return CTL_OK;
}
