/*
 * doctor_vault: can stored credentials be opened? Keys are whole and belong to root, the current one is there, no secret needs one that is
 * not, roost-vault and roost-egress answer.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ask.h"
#include "clock.h"
#include "credopen.h"
#include "service.h"
#include "xalloc.h"

#define ASK_MS 3000

static bool
check_folder(struct doctor *d, const struct conf *c)
{
	struct stat st;

	if (stat(c->vault_key_dir, &st) < 0)
		doctor_fail(d, "make up makes it; if there were credentials, bring it back from the backup", "no folder %s", c->vault_key_dir);
	else if (st.st_uid != 0 || (st.st_mode & 0027))
		doctor_fail(d, "make up mends it; think about who may have read the keys", "%s has mode %03o", c->vault_key_dir, st.st_mode & 0777);
	else
		return true;
	return false;
}

/* Does a row need a key that is not there? */
static bool
check_rows(struct doctor *d, const struct conf *c)
{
	AUTO(pgres) PGresult *counts = NULL;
	struct err e = ERR_INIT;
	bool ok = true;

	if (DB_RUN(d->ctl->db, STMT_CREDENTIAL_KEYS, &counts, &e) < 0) {
		doctor_fail(d, "first mend Postgres", "cannot ask which keys are needed");
		return false;
	}
	for (int i = 0; i < PQntuples(counts); i++) {
		AUTO(str) char *path = xasprintf("%s/%s.key", c->vault_key_dir, pg_str(counts, i, 0));
		struct stat st;

		if (stat(path, &st) < 0) {
			doctor_fail(d, "bring the file back from the backup; without it these credentials are lost", "%s secrets need key %s",
			    pg_str(counts, i, 1), pg_str(counts, i, 0));
			ok = false;
		}
	}
	return ok;
}

static bool
check_door(struct doctor *d, const struct conf *c)
{
	AUTO(json) json_t *v = NULL;
	struct err e = ERR_INIT;
	AUTO(fd) int fd = ask_connect(c->vault_socket, &e);

	if (fd < 0 || ask_json(fd, "{\"op\":\"end\"}", 4096, clock_mono_ms() + ASK_MS, &v, &e) < 0) {
		doctor_fail(d, "validations answer 503 until it is back: see its log", "roost-vault: %s", ctl_reason(&e));
		return false;
	}
	if (service_connect(c->egress_socket, ASK_MS, &e) < 0) {
		doctor_fail(d, "validations answer 503 until it is back: see its log", "roost-egress: %s", ctl_reason(&e));
		return false;
	}
	return true;
}

void
doctor_vault(struct doctor *d)
{
	const struct conf *c = &d->ctl->conf;
	struct credseal_pub p;
	struct err e = ERR_INIT;
	struct credkeys *keys;
	AUTO(str) char *current = NULL;
	struct stat st;

	if (!check_folder(d, c))
		return;
	keys = credkeys_open(c->vault_key_dir, &e);
	if (!keys || credseal_pub_load(c->vault_pub_file, &p, &e) < 0) {
		doctor_fail(d, "make up, or the files from the backup", "%s", ctl_reason(&e));
		credkeys_close(&keys);
		return;
	}
	credkeys_close(&keys);
	current = xasprintf("%s/%s.key", c->vault_key_dir, p.id);
	if (stat(current, &st) < 0)
		doctor_fail(d, "bring it back from the backup: what is sealed now cannot be opened", "the current key %s is not there", p.id);
	else if (check_rows(d, c) && check_door(d, c))
		doctor_ok(d, "key %s, vault and egress answer", p.id);
}
