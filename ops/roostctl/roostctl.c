/*
 * roostctl: the operator's tool. Finds the command in one table, loads the settings, runs it.
 *
 *   roostctl -c FILE [-q] NOUN VERB [ARGUMENTS]
 *
 * Talks to Postgres as roost_admin over the instance's socket, so it works while no other process of ours runs. Promises: a failing
 * command changes nothing and says why on stderr; exit status 0 done, 1 failed, 2 wrong usage. Does not: keep anything running.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "log.h"

static const struct command {
	const char *noun, *verb;	/* verb NULL: the noun is the whole command */
	CTL_COMMAND((*run));
	const char *args, *help;
} commands[] = {
	{ "org", "create", cmd_org_create, "NAME", "make an organization; prints its id" },
	{ "org", "list", cmd_org_list, "", "id, name, state, created, workspaces" },
	{ "org", "suspend", cmd_org_suspend, "ID", "refuse all work of an organization" },
	{ "org", "resume", cmd_org_resume, "ID", "allow it again" },
	{ "workspace", "create", cmd_workspace_create, "ORG NAME", "make a workspace; prints its id" },
	{ "workspace", "list", cmd_workspace_list, "[--org ORG]", "id, organization, name, state, created" },
	{ "workspace", "archive", cmd_workspace_archive, "ID", "its keys stop working, for good" },
	{ "key", "create", cmd_key_create, "WORKSPACE NAME | --admin ORG NAME  [--days N]", "make an API key; prints it this once" },
	{ "key", "list", cmd_key_list, "", "id, hint, kind, of, state, created, expires, name" },
	{ "key", "revoke", cmd_key_revoke, "ID", "a key id or the 12 characters after rst_; works within 30 s" },
	{ "models", "apply", cmd_models_apply, "FILE", "make the catalogue what FILE says" },
	{ "models", "list", cmd_models_list, "", "the models and where they go" },
	{ "models", "export", cmd_models_export, "", "the catalogue as a file for apply, without keys" },
	{ "migrate", NULL, cmd_migrate, "DIR", "apply the migrations of DIR (sql/) that are missing and the functions that changed" },
	{ "keygen", NULL, cmd_keygen, "PRIVATE PUBLIC", "make the instance key pair unless it exists" },
	{ "vault", "init", cmd_vault_init, "", "make the vault's first key unless there is one" },
	{ "vault", "keys", cmd_vault_keys, "", "the vault's keys: id, current or old, made, secrets" },
	{ "vault", "rotate", cmd_vault_rotate, "", "make a new key for what is sealed from now on" },
	{ "vault", "reseal", cmd_vault_reseal, "", "seal with the current key what older ones sealed" },
	{ "vault", "forget", cmd_vault_forget, "ID", "remove an old key that no secret needs any more" },
	{ "vault", "uses", cmd_vault_uses, "ORG [--credential ID]", "the last openings: when, what, secrets, credential, vault, for which key and request" },
	{ "status", NULL, cmd_status, "", "processes, versions, sessions, workers, queue" },
	{ "check", NULL, cmd_check, "[--session ID] [--json] [--history FILE...]", "prove from the database that every promise was kept" },
	{ "gaps", NULL, cmd_gaps, "[--days N]", "organization, model, cause, how many, the latest of requests that may have cost us and nobody was billed for (30 days)" },
	{ "restored", NULL, cmd_restored, "", "after a restore, before anybody else may connect: nobody is at work, a new timeline (ops/restore)" },
	{ "dead", "list", cmd_dead_list, "", "session, attempts, last worker, reason, when, waiting events of what was given up" },
	{ "dead", "retry", cmd_dead_retry, "ID", "let a session that was given up try again" },
	{ "failpoints", NULL, cmd_failpoints, "", "where a debug build can be made to fail, and what a crash there leaves" },
	{ "uncache", NULL, cmd_uncache, "DIR", "what is below DIR is read from the disk next, not from memory (before Postgres recovers)" },
	{ "listen", NULL, cmd_listen, "MS ADDRESS... -- PROGRAM ARGUMENT...", "become nginx with listening sockets whose clients are given up after MS of silence" },
	{ "doctor", NULL, cmd_doctor, "", "check this machine and instance, and say what to do" },
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
usage_line(FILE *out, const struct command *cmd)
{
	char left[96];

	snprintf(left, sizeof(left), "%s%s%s %s", cmd->noun, cmd->verb ? " " : "", cmd->verb ? cmd->verb : "", cmd->args);
	fprintf(out, "  %-66s %s\n", left, cmd->help);
}

static void
usage(FILE *out, const char *noun)
{
	fputs("usage: roostctl [-c FILE] [-q] COMMAND      -c: settings (default: the built-in ones)  -q: only the first column\n", out);
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (!noun || strcmp(noun, commands[i].noun) == 0)
			usage_line(out, &commands[i]);
}

static const struct command *
find(int argc, char **argv)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		const struct command *cmd = &commands[i];

		if (argc >= 1 && strcmp(argv[0], cmd->noun) == 0 &&
		    (!cmd->verb || (argc >= 2 && strcmp(argv[1], cmd->verb) == 0)))
			return cmd;
	}
	return NULL;
}

const char *
ctl_reason(const struct err *e)
{
	static char text[sizeof(e->detail) + sizeof(e->pub) + 4];
	bool fault = e->kind == EK_INTERNAL || err_http(e->kind) >= 503;
	size_t len;

	/* A fault's cause is in detail, and its public text says nothing; a refusal's reason is public, detail is where it happened. */
	if (!e->detail[0] || !fault)
		snprintf(text, sizeof(text), "%s%s%s", e->detail, e->detail[0] ? ": " : "", e->pub);
	else
		snprintf(text, sizeof(text), "%s", e->detail);
	for (len = strlen(text); len > 0 && strchr(" \t\n", text[len - 1]); len--)
		text[len - 1] = '\0';
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n' || text[i] == '\t')
			text[i] = ' ';
	return text;
}

int
ctl_fail(const char *what, const struct err *e)
{
	fprintf(stderr, "roostctl: %s%s%s\n", what ? what : "", what ? ": " : "", ctl_reason(e));
	return CTL_FAILED;
}

static void
remove_args(int *argc, char **argv, int at, int n)
{
	memmove(argv + at, argv + at + n, (size_t)(*argc - at - n) * sizeof(*argv));
	*argc -= n;
}

const char *
ctl_option(int *argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < *argc; i++)
		if (strcmp(argv[i], name) == 0) {
			const char *value = argv[i + 1];

			remove_args(argc, argv, i, 2);
			return value;
		}
	return NULL;
}

bool
ctl_flag(int *argc, char **argv, const char *name)
{
	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], name) == 0) {
			remove_args(argc, argv, i, 1);
			return true;
		}
	return false;
}

char *
ctl_read_file(const char *path, size_t max, size_t *out_len, struct err *e)
{
	struct buf b = BUF_INIT(max);
	FILE *f = fopen(path, "re");
	char chunk[8192];
	size_t n;

	if (!f) {
		err_set(e, EK_INVALID, errno, "%s: %s", path, strerror(errno));
		return NULL;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_put(&b, chunk, n);
	if (ferror(f) || b.over) {
		err_set(e, EK_INVALID, errno, "%s: %s", path, b.over ? "too large" : strerror(errno));
		fclose(f);
		buf_free(&b);
		return NULL;
	}
	fclose(f);
	*out_len = b.len;
	return buf_steal(&b);
}

void
ctl_print(const struct ctl *c, const PGresult *res)
{
	int columns = c->quiet ? 1 : PQnfields(res);

	for (int row = 0; row < PQntuples(res); row++)
		for (int col = 0; col < columns; col++)
			printf("%s%c", PQgetisnull(res, row, col) ? "-" : PQgetvalue(res, row, col), col + 1 < columns ? '\t' : '\n');
}

/* -c FILE and -q, before the command. Returns how many cells they took, or -1. */
static int
global_options(struct ctl *c, int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			c->conf_path = argv[++i];
		else if (strcmp(argv[i], "-q") == 0)
			c->quiet = true;
		else
			return -1;
	}
	return i;
}

int
main(int argc, char **argv)
{
	struct ctl c = { .conf_path = NULL };
	struct err e = ERR_INIT;
	const struct command *cmd;
	int used, status;

	log_open("roostctl", LOG_WARN_LEVEL);
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		usage(stdout, NULL);
		return CTL_OK;
	}
	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		puts("roostctl " ROOST_VERSION);
		return CTL_OK;
	}
	used = global_options(&c, argc, argv);
	cmd = used < 0 ? NULL : find(argc - used, argv + used);
	if (!cmd) {
		usage(stderr, NULL);
		return CTL_USAGE;
	}
	if (conf_load(&c.conf, c.conf_path ? c.conf_path : "/dev/null", &e) < 0)
		return ctl_fail(NULL, &e);
	c.db = db_open(c.conf.pg_dsn, DB_ADMIN, (int)c.conf.pg_timeout_ms);
	used += cmd->verb ? 1 : 0;
	status = cmd->run(&c, argc - used, argv + used);
	if (status == CTL_USAGE)
		usage(stderr, cmd->noun);
	db_close(&c.db);
	if (fflush(stdout) != 0 && status == CTL_OK) {
		fprintf(stderr, "roostctl: could not write the result\n");
		status = CTL_FAILED;
	}
	return status;
}
