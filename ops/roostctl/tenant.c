/*
 * tenant: organizations, workspaces and API keys, one statement each.
 *
 * A key's text exists in this process and on stdout only; the database gets its keyed hash. Does not: tell running gateways; they
 * reuse a positive lookup for at most key_cache_s seconds (30), which bounds how long a revoked key still works.
 */
#include "ctl.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey.h"
#include "clock.h"
#include "id.h"

#define NAME_MAX_BYTES 256

/* A bare UUID (version 7: time-ordered, as all our ids). */
static void
uuid_new(char out[37])
{
	unsigned char b[16];
	uint64_t ms = (uint64_t)(clock_wall_us() / 1000);

	id_random(b, sizeof(b));
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(ms >> (40 - 8 * i));
	b[6] = (unsigned char)(0x70 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6],
	    b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static bool
name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len > 0 && len <= NAME_MAX_BYTES && name[0] != '-' && !strpbrk(name, "\n\t\r"))
		return true;
	fprintf(stderr, "roostctl: a name has 1 to %d bytes, no tabs and no line breaks\n", NAME_MAX_BYTES);
	return false;
}

/* Print the rows of a change; none means that what it names is not there. */
static int
changed(struct ctl *c, const PGresult *res, const char *what, const char *id)
{
	if (PQntuples(res) == 0) {
		fprintf(stderr, "roostctl: no such %s: %s\n", what, id);
		return CTL_FAILED;
	}
	ctl_print(c, res);
	return CTL_OK;
}

int
cmd_org_create(struct ctl *c, int argc, char **argv)
{
	struct err e = ERR_INIT;
	char id[37];

	if (argc != 2)
		return CTL_USAGE;
	if (!name_ok(argv[1]))
		return CTL_FAILED;
	uuid_new(id);
	if (DB_RUN(c->db, STMT_ORG_CREATE, NULL, &e, id, argv[1]) < 0)
		return ctl_fail("org create", &e);
	puts(id);
	return CTL_OK;
}

int
cmd_org_list(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_ORG_LIST, &res, &e) < 0)
		return ctl_fail("org list", &e);
	ctl_print(c, res);
	return CTL_OK;
}

static int
org_state(struct ctl *c, int argc, char **argv, const char *state)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_ORG_STATE, &res, &e, argv[1], state) < 0)
		return ctl_fail("org", &e);
	return changed(c, res, "organization", argv[1]);
}

int
cmd_org_suspend(struct ctl *c, int argc, char **argv)
{
	return org_state(c, argc, argv, "suspended");
}

int
cmd_org_resume(struct ctl *c, int argc, char **argv)
{
	return org_state(c, argc, argv, "active");
}

int
cmd_workspace_create(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	char id[ID_MAX];

	if (argc != 3)
		return CTL_USAGE;
	if (!name_ok(argv[2]))
		return CTL_FAILED;
	id_new("wrkspc_", id);
	if (DB_RUN(c->db, STMT_WORKSPACE_CREATE, &res, &e, id, argv[1], argv[2]) < 0)
		return ctl_fail("workspace create", &e);
	return changed(c, res, "organization", argv[1]);
}

int
cmd_workspace_list(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	const char *org = ctl_option(&argc, argv, "--org");

	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_WORKSPACE_LIST, &res, &e, org) < 0)
		return ctl_fail("workspace list", &e);
	ctl_print(c, res);
	return CTL_OK;
}

int
cmd_workspace_archive(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_WORKSPACE_ARCHIVE, &res, &e, argv[1]) < 0)
		return ctl_fail("workspace archive", &e);
	return changed(c, res, "workspace", argv[1]);
}

/* Insert the row of a fresh key and print the key's text, then its id. */
static int
key_make(struct ctl *c, bool admin, const char *owner, const char *name, const char *days)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct apikey_pepper pepper;
	char id[ID_MAX], key[APIKEY_LEN + 1], public_id[APIKEY_PUBLIC_LEN + 1], hash[APIKEY_HEX], hint[APIKEY_HINT];
	int rc;

	if (apikey_pepper_load(c->conf.pepper_file, &pepper, &e) < 0)
		return ctl_fail("key create", &e);
	apikey_new(&pepper, key, public_id);
	apikey_hash(&pepper, key, hash);
	sodium_memzero(&pepper, sizeof(pepper));
	apikey_hint(key, hint);
	id_new("apikey_", id);
	rc = DB_RUN(c->db, admin ? STMT_KEY_CREATE_ADMIN : STMT_KEY_CREATE_WORKSPACE, &res, &e, id, owner, name, public_id, hash, hint, days);
	if (rc < 0)
		return ctl_fail("key create", &e);
	if (PQntuples(res) == 0)
		return changed(c, res, admin ? "organization" : "workspace (or it is archived)", owner);
	if (c->quiet)
		puts(key);
	else
		printf("%s\t%s\n", key, id);
	sodium_memzero(key, sizeof(key));
	return CTL_OK;
}

int
cmd_key_create(struct ctl *c, int argc, char **argv)
{
	const char *days = ctl_option(&argc, argv, "--days");
	bool admin = ctl_flag(&argc, argv, "--admin");
	char *end;

	if (argc != 3)
		return CTL_USAGE;
	if (!name_ok(argv[2]))
		return CTL_FAILED;
	if (days && (strtol(days, &end, 10) < 1 || *end || strtol(days, NULL, 10) > 36500)) {
		fprintf(stderr, "roostctl: --days takes a number from 1 to 36500\n");
		return CTL_FAILED;
	}
	return key_make(c, admin, argv[1], argv[2], days);
}

int
cmd_key_list(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_KEY_LIST, &res, &e) < 0)
		return ctl_fail("key list", &e);
	ctl_print(c, res);
	return CTL_OK;
}

int
cmd_key_revoke(struct ctl *c, int argc, char **argv)
{
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;

	if (argc != 2)
		return CTL_USAGE;
	if (DB_RUN(c->db, STMT_KEY_REVOKE, &res, &e, argv[1]) < 0)
		return ctl_fail("key revoke", &e);
	return changed(c, res, "key", argv[1]);
}
