/* link: tests/env/pg_rig.c */
/*
 * roost-vault with its openers against a real Postgres: what is released and to whom, what a refresh may store, that rows cannot be swapped,
 * that two refreshes do not meet, that keys can be rotated, and that every opening left a row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../env/child.h"
#include "../../env/pg_rig.h"
#include "ask.h"
#include "clock.h"
#include "credopen.h"
#include "db.h"
#include "frame.h"
#include "log.h"
#include "jx.h"
#include "xalloc.h"

#define WAIT_MS 30000

static char sock[96], keys[96], pub[96], conf[96];
static pid_t vault;

/* --- the process ------------------------------------------------------------------------------------------------------------- */

static void
vault_start(void)
{
	AUTO(str) char *program = xasprintf("%s/bin/roost-vault", getenv("OUT") ? getenv("OUT") : "build/release");
	int64_t until = clock_mono_ms() + WAIT_MS;
	struct err e = ERR_INIT;
	int fd = -1;

	vault = child_fork(SIGKILL);
	if (vault == 0) {
		execl(program, program, "-c", conf, NULL);
		_exit(127);
	}
	while (fd < 0 && clock_mono_ms() < until) {
		fd = ask_connect(sock, &e);
		usleep(5000);
	}
	assert_true(fd >= 0);
	close(fd);
}

static void
vault_stop(int sig)
{
	int status = 0;

	kill(vault, sig);
	assert_int_equal(waitpid(vault, &status, 0), vault);
	if (sig == SIGTERM)
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The openers of who has hung up have ended, and their places are free. */
static void
until_alone(void)
{
	AUTO(str) char *any = xasprintf("pgrep -P %d >/dev/null", (int)vault);

	for (int64_t until = clock_mono_ms() + WAIT_MS; system(any) == 0; usleep(5000))	/* the step of a wait with a deadline */
		assert_true(clock_mono_ms() < until);
}

static int
start(void **state)
{
	char id[CREDSEAL_KEY_ID];
	struct err e = ERR_INIT;
	const struct passwd *me = getpwuid(geteuid());
	FILE *f;

	(void)state;
	pgr_start("vault");
	snprintf(sock, sizeof sock, "%s/vault.sock", pgr_dir);
	snprintf(keys, sizeof keys, "%s/keys", pgr_dir);
	snprintf(pub, sizeof pub, "%s/vault.pub", pgr_dir);
	snprintf(conf, sizeof conf, "%s/vault.conf", pgr_dir);
	assert_int_equal(chmod(pgr_dir, 0711), 0);
	assert_int_equal(mkdir(keys, 0700), 0);
	assert_int_equal(credkeys_make(keys, pub, 1, id, NULL, &e), 0);
	f = fopen(conf, "we");
	assert_non_null(f);
	assert_non_null(me);
	assert_true(fprintf(f, "pg_dsn = host=%s dbname=roost user=roost_vault\nvault_socket = %s\nvault_users = %s\nvault_key_dir = %s\n"
	    "vault_pub_file = %s\nopeners_max = 8\n", pgr_dir, sock, me->pw_name, keys, pub) > 0);
	assert_int_equal(fclose(f), 0);
	run("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One')");
	run("INSERT INTO vault VALUES ('vlt_1', 'org', 'w1', '{}', now(), now(), NULL)");
	vault_start();
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	vault_stop(SIGTERM);
	return pgr_stop();
}

/* --- rows -------------------------------------------------------------------------------------------------------------------- */

static void
put_secret(const char *credential, const char *slot, int64_t version, const char *secret)
{
	AUTO(str) char *url = xasprintf("https://%s.example/mcp", credential);
	struct cred_bind b = { .organization = "org", .vault = "vlt_1", .credential = credential, .type = "mcp_oauth", .slot = slot,
	    .version = version, .mcp_server_url = url, .token_endpoint = "https://auth.example/t", .client_id = "me" };
	AUTO(str) char *box = NULL;
	struct credseal_pub p;
	char id[CREDSEAL_KEY_ID];
	struct err e = ERR_INIT;

	assert_int_equal(credseal_pub_load(pub, &p, &e), 0);
	assert_int_equal(credseal_secret(&p, &b, secret, strlen(secret), &box, id, &e), 0);
	run("INSERT INTO credential_secret (credential_id, slot, version, key_id, sealed) VALUES ('%s', '%s', %lld, '%s', '%s') "
	    "ON CONFLICT (credential_id, slot) DO UPDATE SET version = excluded.version, sealed = excluded.sealed, key_id = excluded.key_id",
	    credential, slot, (long long)version, id, box);
	run("UPDATE credential SET secret_version = greatest(secret_version, %lld) WHERE id = '%s'", (long long)version, credential);
}

/* A credential with all three secrets, and a probe of it (p_<credential>). */
static void
make(const char *credential)
{
	run("INSERT INTO credential (id, vault_id, organization_id, workspace_id, type, match_key, body, mcp_server_url, token_endpoint, client_id,"
	    " endpoint_auth, refresh_scope, created_at, updated_at) VALUES ('%s', 'vlt_1', 'org', 'w1', 'mcp_oauth', '%s', '{}',"
	    " 'https://%s.example/mcp', 'https://auth.example/t', 'me', 'client_secret_post', 'a b', now(), now())", credential, credential, credential);
	put_secret(credential, "access_token", 1, "access-one");
	put_secret(credential, "refresh_token", 2, "refresh-one");
	put_secret(credential, "client_secret", 3, "client-secret");
	expect("ok", "SELECT credential_probe_begin('p_%s', 'org', 'w1', 'vlt_1', '%s', 'key_1', 100)", credential, credential);
}

/* --- talking ----------------------------------------------------------------------------------------------------------------- */

/* One question; the caller owns the answer. NULL: the connection was closed. */
static json_t *
say(int fd, const char *fmt, ...)
{
	AUTO(buf) struct buf in = BUF_INIT(FRAME_MAX);
	AUTO(str) char *text = NULL;
	struct err e = ERR_INIT;
	json_t *v = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&text, fmt, ap) > 0);
	va_end(ap);
	if (ask_send(fd, text, strlen(text), clock_mono_ms() + WAIT_MS, &e) < 0 || ask_recv(fd, FRAME_MAX, clock_mono_ms() + WAIT_MS, &in, &e) < 0)
		return NULL;
	assert_int_equal(jx_parse(in.data, in.len, &v, &e), 0);
	return v;
}

static int
dial(void)
{
	struct err e = ERR_INIT;
	int fd = ask_connect(sock, &e);

	assert_true(fd >= 0);
	return fd;
}

#define says(fd, member, want, ...) do {						\
	AUTO(json) json_t *v_ = say((fd), __VA_ARGS__);					\
	const char *got_ = jx_str(v_, (member));					\
	assert_string_equal(got_ ? got_ : "(none)", (want));				\
} while (0)

#define RELEASE(c) "{\"op\":\"release\",\"probe\":\"p_" c "\"}"
#define REFRESH "{\"op\":\"refresh\"}"

/* --- tests ------------------------------------------------------------------------------------------------------------------- */

static void
test_release(void **state)
{
	AUTO(fd) int fd = dial();
	AUTO(json) json_t *v = NULL;

	(void)state;
	make("a");
	v = say(fd, RELEASE("a"));
	assert_string_equal(jx_str(v, "access_token"), "access-one");
	assert_string_equal(jx_str(v, "mcp_server_url"), "https://a.example/mcp");
	assert_string_equal(jx_str(v, "scope"), "a b");
	assert_true(jx_bool(v, "has_refresh", 0));
	assert_null(json_object_get(v, "refresh_token"));
	expect("release {access_token} p_a", "SELECT deed || ' ' || slots::text || ' ' || probe_id FROM credential_use WHERE credential_id = 'a'");
	says(fd, "error", "INVALID", "{\"op\":\"release\",\"probe\":\"p_b\"}");	/* one probe to a connection */
	says(fd, "error", "INVALID", "{\"op\":\"store\",\"access_token\":\"x\"}");	/* nothing is being refreshed */
	says(fd, "error", "INVALID", "{\"op\":\"nonsense\"}");
	says(fd, "error", "INVALID", "no json");
}

/* What no gateway asked for, asked for too long ago, or that has ended, is not given out; nor what was archived since. */
static void
test_refused(void **state)
{
	AUTO(fd) int fd = dial();

	(void)state;
	make("b");
	says(fd, "error", "NOT_FOUND", "{\"op\":\"release\",\"probe\":\"b\"}");
	run("UPDATE credential_probe SET created_at = now() - interval '2 minutes' WHERE id = 'p_b'");
	says(fd, "error", "NOT_FOUND", RELEASE("b"));
	run("UPDATE credential_probe SET created_at = now(), workspace_id = 'w2' WHERE id = 'p_b'");
	says(fd, "error", "NOT_FOUND", RELEASE("b"));
	run("UPDATE credential_probe SET workspace_id = 'w1' WHERE id = 'p_b'");
	run("SELECT credential_probe_end('p_b', 'valid')");
	says(fd, "error", "NOT_FOUND", RELEASE("b"));
	run("UPDATE credential_probe SET ended_at = NULL WHERE id = 'p_b'");
	run("UPDATE credential SET archived_at = now() WHERE id = 'b'");
	says(fd, "error", "NOT_FOUND", RELEASE("b"));
	run("UPDATE credential SET archived_at = NULL, type = 'static_bearer', token_endpoint = NULL, client_id = NULL, endpoint_auth = NULL WHERE id = 'b'");
	says(fd, "error", "NOT_FOUND", RELEASE("b"));
	expect("0", "SELECT count(*) FROM credential_use WHERE credential_id = 'b'");
	says(fd, "error", "INVALID", REFRESH);
	run("DELETE FROM credential WHERE id = 'b'");
}

/* Who can write the database can neither move a box, nor bring back an old one, nor send a secret elsewhere. */
static void
test_swaps(void **state)
{
	(void)state;
	make("c1");
	make("c2");
	put_secret("c2", "access_token", 1, "of-c2");
	for (int i = 0; i < 5; i++) {
		AUTO(fd) int fd = dial();

		switch (i) {
		case 0:
			run("UPDATE credential_secret s SET sealed = o.sealed FROM credential_secret o WHERE s.credential_id = 'c1' AND s.slot = 'access_token'"
			    " AND o.credential_id = 'c2' AND o.slot = 'access_token'");
			break;
		case 1:
			run("UPDATE credential_secret s SET sealed = o.sealed FROM credential_secret o WHERE s.credential_id = 'c1' AND s.slot = 'access_token'"
			    " AND o.credential_id = 'c1' AND o.slot = 'refresh_token'");
			break;
		case 2:
			put_secret("c1", "access_token", 1, "access-one");
			run("UPDATE credential_secret SET version = 9 WHERE credential_id = 'c1' AND slot = 'access_token'");
			break;
		case 3:
			run("UPDATE credential_secret SET version = 1 WHERE credential_id = 'c1' AND slot = 'access_token'");
			run("UPDATE credential SET mcp_server_url = 'https://evil.example/mcp' WHERE id = 'c1'");
			break;
		default:
			run("UPDATE credential SET mcp_server_url = 'https://c1.example/mcp', token_endpoint = 'https://evil.example/t' WHERE id = 'c1'");
		}
		says(fd, "error", "INTERNAL", RELEASE("c1"));
	}
	run("UPDATE credential SET token_endpoint = 'https://auth.example/t' WHERE id = 'c1'");
	AUTO(fd) int fd = dial();
	says(fd, "access_token", "access-one", RELEASE("c1"));
}

static void
test_refresh(void **state)
{
	AUTO(fd) int fd = dial();
	AUTO(json) json_t *v = NULL;

	(void)state;
	make("d");
	says(fd, "access_token", "access-one", RELEASE("d"));
	v = say(fd, REFRESH);
	assert_string_equal(jx_str(v, "state"), "go");
	assert_string_equal(jx_str(v, "refresh_token"), "refresh-one");
	assert_string_equal(jx_str(v, "client_secret"), "client-secret");
	expect("d", "SELECT credential_id FROM credential_lease");
	says(fd, "state", "stored", "{\"op\":\"store\",\"access_token\":\"access-two\",\"refresh_token\":\"refresh-two\",\"expires_in\":3600}");
	expect("", "SELECT credential_id FROM credential_lease");
	expect("4 5 5", "SELECT string_agg(s.version::text, ' ' ORDER BY slot) || ' ' || max(c.secret_version) FROM credential_secret s "
	    "JOIN credential c ON c.id = credential_id WHERE c.id = 'd' AND slot <> 'client_secret'");
	expect("t", "SELECT expires_at BETWEEN now() + interval '59 minutes' AND now() + interval '61 minutes' FROM credential WHERE id = 'd'");
	says(fd, "access_token", "access-two", RELEASE("d"));
	says(fd, "refresh_token", "refresh-two", REFRESH);
	/* one that does not rotate, and does not say how long it lasts */
	says(fd, "state", "stored", "{\"op\":\"store\",\"access_token\":\"access-three\",\"refresh_token\":null,\"expires_in\":null}");
	expect("", "SELECT expires_at::text FROM credential WHERE id = 'd'");
	says(fd, "access_token", "access-three", RELEASE("d"));
	says(fd, "refresh_token", "refresh-two", REFRESH);
	expect("release,refresh,store,release,refresh,store,release,refresh",
	    "SELECT string_agg(deed, ',' ORDER BY id) FROM credential_use WHERE credential_id = 'd'");
}

/* F48: of two that were refused with the same token one refreshes; the other is told to wait, then to look again. */
static void
test_single_flight(void **state)
{
	AUTO(fd) int one = dial();
	AUTO(fd) int two = dial();

	(void)state;
	make("f");
	says(one, "access_token", "access-one", RELEASE("f"));
	says(two, "access_token", "access-one", RELEASE("f"));
	says(one, "state", "go", REFRESH);
	says(two, "state", "busy", REFRESH);
	says(two, "error", "INVALID", "{\"op\":\"store\",\"access_token\":\"stolen\"}");
	says(one, "state", "stored", "{\"op\":\"store\",\"access_token\":\"access-two\",\"refresh_token\":\"refresh-two\"}");
	says(two, "state", "changed", REFRESH);
	says(two, "access_token", "access-two", RELEASE("f"));
	says(two, "state", "go", REFRESH);
	/* who goes away gives the lease back */
	close(steal_fd(two));
	for (int64_t until = clock_mono_ms() + WAIT_MS; clock_mono_ms() < until; usleep(10000)) {
		AUTO(str) char *left = ask("SELECT count(*) FROM credential_lease");

		if (strcmp(left, "0") == 0)
			break;
	}
	expect("0", "SELECT count(*) FROM credential_lease");
	/* one that was killed with it: it runs out */
	run("INSERT INTO credential_lease VALUES ('f', 'dead', now() - interval '1 second')");
	says(one, "access_token", "access-two", RELEASE("f"));
	says(one, "state", "go", REFRESH);
	says(one, "client_secret", "(none)", "{\"op\":\"end\"}");
}

/* What the customer writes during a refresh wins; a write beside it does not cost the rotated token. */
static void
test_races(void **state)
{
	AUTO(fd) int fd = dial();

	(void)state;
	make("g");
	says(fd, "access_token", "access-one", RELEASE("g"));
	says(fd, "state", "go", REFRESH);
	put_secret("g", "client_secret", 4, "client-two");
	says(fd, "state", "stored", "{\"op\":\"store\",\"access_token\":\"access-two\",\"refresh_token\":\"refresh-two\"}");
	says(fd, "access_token", "access-two", RELEASE("g"));
	says(fd, "client_secret", "client-two", REFRESH);
	put_secret("g", "access_token", 20, "customers");
	says(fd, "state", "changed", "{\"op\":\"store\",\"access_token\":\"access-three\",\"refresh_token\":\"refresh-three\"}");
	says(fd, "access_token", "customers", RELEASE("g"));
	says(fd, "refresh_token", "refresh-two", REFRESH);
	run("UPDATE credential SET archived_at = now() WHERE id = 'g'");
	run("DELETE FROM credential_secret WHERE credential_id = 'g'");
	says(fd, "state", "gone", "{\"op\":\"store\",\"access_token\":\"access-four\",\"refresh_token\":null}");
	expect("0", "SELECT count(*) FROM credential_secret WHERE credential_id = 'g'");
}

static void
test_rotation(void **state)
{
	char id[CREDSEAL_KEY_ID];
	struct err e = ERR_INIT;
	AUTO(fd) int fd = -1;
	AUTO(json) json_t *v = NULL;
	struct dirent *entry;
	DIR *d;

	(void)state;
	make("h");
	assert_int_equal(credkeys_make(keys, pub, 0, id, NULL, &e), 0);
	fd = dial();
	says(fd, "access_token", "access-one", RELEASE("h"));	/* by the old key, at once and without a restart */
	expect("f", "SELECT bool_or(key_id = '%s') FROM credential_secret", id);
	v = say(fd, "{\"op\":\"reseal\"}");
	expect("t", "SELECT bool_and(key_id = '%s') FROM credential_secret", id);
	expect(LOGN(jx_int(v, "resealed", -1)), "SELECT count(*) FROM credential_use WHERE deed = 'reseal'");
	assert_int_equal(jx_int(v, "failed", -1), 0);
	says(fd, "access_token", "access-one", RELEASE("h"));
	/* the old key is put away: nothing needs it */
	d = opendir(keys);
	while ((entry = readdir(d)) != NULL)
		if (credkeys_is_file(entry->d_name) && strncmp(entry->d_name, id, strlen(id)) != 0)
			assert_int_equal(unlinkat(dirfd(d), entry->d_name, 0), 0);
	closedir(d);
	close(fd);
	fd = dial();
	says(fd, "access_token", "access-one", RELEASE("h"));
}

/* Only the users that are named: another's connection is closed unread. */
static void
test_peer(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	int status = 0;
	pid_t pid;

	(void)state;
	if (geteuid() != 0 || !nobody)
		return skip();
	make("k");
	assert_int_equal(chmod(sock, 0666), 0);		/* the mode is the first fence; this is about the second */
	pid = child_fork(SIGKILL);
	if (pid == 0) {
		struct err e = ERR_INIT;
		int fd;

		if (setgid(nobody->pw_gid) < 0 || setuid(nobody->pw_uid) < 0 || (fd = ask_connect(sock, &e)) < 0)
			_exit(2);
		_exit(say(fd, RELEASE("k")) ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	expect("0", "SELECT count(*) FROM credential_use WHERE credential_id = 'k'");
}

/* Away is refused at once; back is back. Too many are told so. A process of a connection dies with the listener. */
static void
test_life(void **state)
{
	struct err e = ERR_INIT;
	int fds[9];
	AUTO(json) json_t *v = NULL;

	(void)state;
	make("m");
	until_alone();
	for (int i = 0; i < 8; i++) {
		fds[i] = dial();
		says(fds[i], "access_token", "access-one", RELEASE("m"));
	}
	fds[8] = dial();
	v = say(fds[8], RELEASE("m"));
	assert_true(!v || strcmp(jx_str(v, "error"), "OVERLOADED") == 0);
	vault_stop(SIGKILL);
	assert_null(say(fds[0], RELEASE("m")));
	assert_int_equal(ask_connect(sock, &e), -1);
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	for (int i = 0; i < 9; i++)
		close(fds[i]);
	vault_start();
	AUTO(fd) int fd = dial();
	says(fd, "access_token", "access-one", RELEASE("m"));
}

/*
 * Replaced: who has connected before SIGTERM is served, also when nobody had noticed; who comes meanwhile finds the next process, in time and
 * without an error.
 */
static void
test_replaced(void **state)
{
	struct err e = ERR_INIT;
	int heard, waits, status = 0;
	pid_t old = vault, late;

	(void)state;
	make("r");
	kill(old, SIGSTOP);
	heard = dial();
	waits = dial();
	kill(old, SIGTERM);
	kill(old, SIGCONT);
	says(heard, "access_token", "access-one", RELEASE("r"));
	assert_int_equal(ask_connect(sock, &e), -1);
	late = child_fork(SIGKILL);
	if (late == 0) {
		close(heard);
		close(waits);
		AUTO(fd) int fd = ask_reach(sock, INT64_MAX, &e);

		_exit(fd >= 0 && say(fd, RELEASE("r")) ? 0 : 1);
	}
	says(waits, "access_token", "access-one", RELEASE("r"));
	close(heard);
	close(waits);
	assert_int_equal(waitpid(old, &status, 0), old);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	vault_start();
	assert_int_equal(waitpid(late, &status, 0), late);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* F49: without keys, or without Postgres, the answer is that it is away; when they are back it is not. */
static void
test_away(void **state)
{
	AUTO(str) char *aside = xasprintf("%s.aside", keys);
	AUTO(str) char *halt = xasprintf("tests/env/postgres halt %s", pgr_dir), *resume = xasprintf("tests/env/postgres resume %s", pgr_dir);
	int fd;

	(void)state;
	make("q");
	assert_int_equal(rename(keys, aside), 0);
	fd = dial();
	says(fd, "error", "UNAVAILABLE", RELEASE("q"));
	close(fd);
	assert_int_equal(rename(aside, keys), 0);
	fd = dial();
	says(fd, "access_token", "access-one", RELEASE("q"));
	assert_int_equal(system(halt), 0);
	says(fd, "error", "UNAVAILABLE", RELEASE("q"));
	assert_int_equal(system(resume), 0);
	says(fd, "access_token", "access-one", RELEASE("q"));
	close(fd);
	PQreset(pgr_owner);
	assert_int_equal(PQstatus(pgr_owner), CONNECTION_OK);
}

/* An opener's memory and environment are nobody's, and it holds no key folder open. */
static void
test_process(void **state)
{
	AUTO(fd) int fd = -1;
	AUTO(str) char *cmd = xasprintf("pgrep -P %d -f roost-opener", (int)vault);
	char line[32] = "", path[64];
	struct stat st;
	FILE *p;

	(void)state;
	make("n");
	until_alone();
	fd = dial();
	says(fd, "access_token", "access-one", RELEASE("n"));
	p = popen(cmd, "r");
	assert_non_null(p);
	assert_non_null(fgets(line, sizeof line, p));
	assert_int_equal(pclose(p), 0);
	snprintf(path, sizeof path, "/proc/%d/mem", atoi(line));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);		/* not dumpable: root's, whoever runs it */
	AUTO(str) char *grep = xasprintf("grep -q -a access-one /proc/%d/environ /proc/%d/cmdline && exit 1;"
	    " grep -q 'Seccomp:.*2' /proc/%d/status && grep -q 'NoNewPrivs:.*1' /proc/%d/status && grep -q 'Max core file size *0 *0' /proc/%d/limits",
	    atoi(line), atoi(line), atoi(line), atoi(line), atoi(line));
	assert_int_equal(system(grep), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_swaps),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_races),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_rotation),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
