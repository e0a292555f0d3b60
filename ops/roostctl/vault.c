/*
 * vault: the vault's keys (lib/store/credopen.h). Making one needs write access to its folder, which only root has; nothing here opens a
 * secret: sealing anew is roost-vault's work, which root may ask for.
 *
 * A lost key is the loss of what it sealed. So none is replaced, and one is removed only when no row names it; a backup of the database
 * from before needs it still.
 */
#include "ctl.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "ask.h"
#include "clock.h"
#include "credopen.h"
#include "frame.h"
#include "xalloc.h"

#define RESEAL_MS 3600000

static int
make(struct ctl *c, int unless_any)
{
	struct err e = ERR_INIT;
	char id[CREDSEAL_KEY_ID];
	int made = 0;

	if (!c->conf.vault_key_dir[0] || !c->conf.vault_pub_file[0]) {
		(void)err_set(&e, EK_INVALID, 0, "vault_key_dir and vault_pub_file are not set");
		return ctl_fail("vault", &e);
	}
	if (credkeys_make(c->conf.vault_key_dir, c->conf.vault_pub_file, unless_any, id, &made, &e) < 0)
		return ctl_fail("vault", &e);
	printf(c->quiet ? "%s\n" : "%s\t%s\n", id, made ? "made" : "kept");
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

/* --- what keys there are ------------------------------------------------------------------------------------------------------ */

/* How many secrets a key opens, of credential_keys' result. */
static const char *
count_of(const PGresult *res, const char *id)
{
	for (int i = 0; i < PQntuples(res); i++)
		if (strncmp(pg_str(res, i, 0), id, CREDSEAL_KEY_ID - 1) == 0)
			return pg_str(res, i, 1);
	return "0";
}

static void
print_key(const struct ctl *c, const char *name, const char *current, const PGresult *counts)
{
	AUTO(str) char *path = xasprintf("%s/%s", c->conf.vault_key_dir, name);
	char made[32] = "-";
	struct stat st;
	struct tm tm;

	if (stat(path, &st) == 0 && gmtime_r(&st.st_mtime, &tm))
		(void)strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%.16s", name);
	if (!c->quiet)
		printf("\t%s\t%s\t%s", strncmp(name, current, CREDSEAL_KEY_ID - 1) == 0 ? "current" : "old", made, count_of(counts, name));
	putchar('\n');
}

int
cmd_vault_keys(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *counts = NULL;
	struct credseal_pub p;
	struct err e = ERR_INIT;
	const struct dirent *entry;
	DIR *d;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (credseal_pub_load(c->conf.vault_pub_file, &p, &e) < 0 || DB_RUN(c->db, STMT_CREDENTIAL_KEYS, &counts, &e) < 0)
		return ctl_fail("vault", &e);
	if (!(d = opendir(c->conf.vault_key_dir))) {
		(void)err_set(&e, EK_INVALID, 0, "cannot read %s", c->conf.vault_key_dir);
		return ctl_fail("vault", &e);
	}
	while ((entry = readdir(d)) != NULL)
		if (credkeys_is_file(entry->d_name))
			print_key(c, entry->d_name, p.id, counts);
	closedir(d);
	return CTL_OK;
}

int
cmd_vault_forget(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *counts = NULL;
	AUTO(str) char *path = NULL;
	struct credseal_pub p;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	path = xasprintf("%s/%s.key", c->conf.vault_key_dir, argv[1]);
	if (credseal_pub_load(c->conf.vault_pub_file, &p, &e) < 0 || DB_RUN(c->db, STMT_CREDENTIAL_KEYS, &counts, &e) < 0)
		return ctl_fail("vault", &e);
	if (strcmp(argv[1], p.id) == 0)
		(void)err_set(&e, EK_CONFLICT, 0, "%s is the current key", argv[1]);
	else if (strcmp(count_of(counts, argv[1]), "0") != 0)
		(void)err_set(&e, EK_CONFLICT, 0, "%s secrets need key %s: roostctl vault reseal first", count_of(counts, argv[1]), argv[1]);
	else if (!credkeys_is_file(strrchr(path, '/') + 1) || unlink(path) < 0)
		(void)err_set(&e, EK_NOT_FOUND, 0, "there is no key %s", argv[1]);
	return e.kind == EK_NONE ? CTL_OK : ctl_fail("vault", &e);
}

/* --- sealing anew ------------------------------------------------------------------------------------------------------------- */

static int
reseal(const struct ctl *c, json_t **out, struct err *e)
{
	AUTO(fd) int fd = ask_connect(c->conf.vault_socket, e);

	return fd < 0 ? -1 : ask_json(fd, "{\"op\":\"reseal\"}", FRAME_MAX, clock_mono_ms() + RESEAL_MS, out, e);
}

int
cmd_vault_reseal(struct ctl *c, int argc, char **argv)
{
	AUTO(json) json_t *answer = NULL;
	struct err e = ERR_INIT;
	json_int_t failed;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (reseal(c, &answer, &e) < 0)
		return ctl_fail("vault", &e);
	failed = jx_int(answer, "failed", 0);
	printf("%lld\tresealed\n", (long long)jx_int(answer, "resealed", 0));
	if (failed == 0)
		return CTL_OK;
	fprintf(stderr, "roostctl: vault: %lld secrets do not open and stay as they are: see roost-vault's log\n", (long long)failed);
	return CTL_FAILED;
}

/* --- what was opened ---------------------------------------------------------------------------------------------------------- */

int
cmd_vault_uses(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	const char *credential = ctl_option(&argc, argv, "--credential");

	if (argc != 2)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_CREDENTIAL_USES, &res, &e, argv[1], credential) < 0)
		return ctl_fail("vault", &e);
	ctl_print(c, res);
	return CTL_OK;
}
