/* link: tests/env/gateway_rig.c */
/*
 * Vaults from behind: what the gateway's own role can and cannot do to sealed secrets, that a box opens in its row and nowhere else, that
 * the database keeps its rules whoever writes, that a suspended organization is refused at once, and that a gateway's memory has no secret
 * when the request is over.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "credopen.h"
#include "db.h"
#include "xalloc.h"

#define DENIED "42501"
#define DUPLICATE "23505"
#define CHECK "23514"
#define SHADOW (1UL << 32)	/* larger mappings are a sanitizer's own */

static char vault[64];

static int
start(void **state)
{
	AUTO(json) json_t *v = NULL;

	gwr_start("");
	v = gwr_ok(GWR_A, "POST", "/v1/vaults", "{\"display_name\":\"V\"}");
	snprintf(vault, sizeof vault, "%s", jx_str(v, "id"));
	return 0;
}

/* The id of a new credential, in gwr_fmt's ring. */
static const char *
made(const char *auth)
{
	AUTO(json) json_t *c = gwr_ok(GWR_A, "POST", gwr_fmt("/v1/vaults/%s/credentials", vault), gwr_fmt("{\"auth\":{%s}}", auth));

	return gwr_fmt("%s", jx_str(c, "id"));
}

static PGconn *
connected(const char *role)
{
	PGconn *c = PQconnectdb(gwr_fmt("host=%s dbname=roost user=%s", gwr_dir, role));

	assert_int_equal(PQstatus(c), CONNECTION_OK);
	return c;
}

/* What a statement ends with: its SQLSTATE, "" when it ran. */
static const char *
state_of(PGconn *c, const char *sql)
{
	AUTO(pgres) PGresult *r = PQexec(c, sql);
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (PQresultStatus(r) == PGRES_COPY_OUT)
		return "";
	return state ? gwr_fmt("%s", state) : "";
}

/* --- rights ------------------------------------------------------------------------------------------------------------------------ */

static void
gateway_cannot_read_back(void **state)
{
	static const char *const denied[] = {
		"SELECT sealed FROM credential_secret", "SELECT version FROM credential_secret", "SELECT count(*) FROM credential_secret",
		"TABLE credential_secret", "COPY credential_secret TO STDOUT", "SELECT s FROM credential_secret s",
		"INSERT INTO credential_secret VALUES ('x', 'token', 1, 'k', '')", "DELETE FROM credential_secret", "TRUNCATE credential_secret",
		"UPDATE credential_secret SET version = 1", "UPDATE credential_secret SET sealed = sealed RETURNING sealed",
		"INSERT INTO credential (id) VALUES ('x')", "UPDATE credential SET allowed_hosts = NULL", "UPDATE credential SET archived_at = NULL",
		"SELECT credential_seal('x', 1, '{}', '{}', '{}')", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
		"CREATE VIEW v AS SELECT * FROM credential_secret", "SET ROLE roost_vault", "SET ROLE roost_admin",
		"SELECT pg_read_binary_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'true'",
		"CREATE TRIGGER t BEFORE UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
		"ALTER TABLE credential_secret OWNER TO roost_gw",
		"SELECT stavalues1 FROM pg_statistic",
	};
	PGconn *c = connected("roost_gw");
	AUTO(pgres) PGresult *r = NULL;

	made("\"type\":\"static_bearer\",\"mcp_server_url\":\"https://rights.example.com\",\"token\":\"t\"");
	free(gwr_sql("ANALYZE credential_secret"));
	for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
		if (strcmp(state_of(c, denied[i]), DENIED) != 0)
			fail_msg("%s: \"%s\"", denied[i], state_of(c, denied[i]));
	/* statistics hold values of columns: not for who may not read them */
	r = PQexec(c, "SELECT count(*) FROM pg_stats WHERE tablename = 'credential_secret'");
	assert_string_equal(PQgetvalue(r, 0, 0), "0");
	PQfinish(c);
}

/* No function that it may call gives out a row or bytes of them; the other roles have nothing to do with vaults at all. */
static void
nobody_else_reads(void **state)
{
	static const char *const others[] = { "roost_stream", "roost_worker" };
	AUTO(str) char *given = gwr_sql("SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p WHERE p.pronamespace = "
	    "'public'::regnamespace AND has_function_privilege('roost_gw', p.oid, 'EXECUTE') AND p.prosrc ILIKE '%%credential_secret%%' AND "
	    "p.prorettype NOT IN ('void'::regtype, 'boolean'::regtype)");
	AUTO(str) char *bytes = gwr_sql("SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND "
	    "has_function_privilege('roost_gw', p.oid, 'EXECUTE') AND (p.prorettype = 'bytea'::regtype OR 'bytea'::regtype = ANY (p.proallargtypes))");

	assert_string_equal(given, "");
	assert_string_equal(bytes, "0");
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		PGconn *c = connected(others[i]);

		assert_string_equal(state_of(c, "SELECT slot FROM credential_secret"), DENIED);
		assert_string_equal(state_of(c, "SELECT id FROM credential"), DENIED);
		assert_string_equal(state_of(c, "SELECT credential_archive('w', 'v', 'c')"), DENIED);
		assert_string_equal(state_of(c, "SELECT credential_insert(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,"
		    "NULL,NULL,NULL,NULL)"), DENIED);
		PQfinish(c);
	}
}

/* --- rules of the database ----------------------------------------------------------------------------------------------------------- */

static void
rules_hold_for_every_writer(void **state)
{
	PGconn *owner = connected("roost_admin"), *gw = connected("roost_gw");
	const char *insert = "INSERT INTO credential (id, vault_id, organization_id, workspace_id, type, match_key, body, created_at, updated_at%s) "
	    "SELECT 'vcrd_%d', id, organization_id, workspace_id, '%s', '%s', '{}', now(), now()%s FROM vault WHERE id = '%s'";

	made("\"type\":\"environment_variable\",\"secret_name\":\"TAKEN\",\"secret_value\":\"s\",\"networking\":{\"type\":\"unrestricted\"}");
#define INSERT(columns, n, type, key, values) gwr_fmt(insert, columns, n, type, key, values, vault)
	assert_string_equal(state_of(owner, INSERT(", secret_name, inject_header, inject_body", 1, "environment_variable", "TAKEN", ", 'TAKEN', true, true")),
	    DUPLICATE);
	assert_string_equal(state_of(owner, INSERT(", secret_name, inject_header, inject_body", 2, "environment_variable", "N", ", 'N', false, false")), CHECK);
	assert_string_equal(state_of(owner, INSERT(", mcp_server_url, expires_at", 3, "static_bearer", "u", ", 'u', now()")), CHECK);
	assert_string_equal(state_of(owner, INSERT(", mcp_server_url, token_endpoint", 4, "mcp_oauth", "u", ", 'u', 't'")), CHECK);
	assert_string_equal(state_of(owner, INSERT("", 5, "static_bearer", "u", "")), CHECK);
	/* secrets are for the next version only: an older request's boxes do not come back */
	{
		const char *id = made("\"type\":\"static_bearer\",\"mcp_server_url\":\"https://versions.example.com\",\"token\":\"t\"");
		static const struct { int version; const char *slots, *keys, *boxes, *want; } puts[] = {
			{ 1, "{token}", "{k}", "{x}", "f" }, { 3, "{token}", "{k}", "{x}", "f" }, { 2, "{}", "{}", "{}", "f" }, { 1, "{}", "{}", "{}", "t" },
			{ 2, "{token}", "{k}", "{x}", "t" },
		};

		for (size_t i = 0; i < sizeof puts / sizeof *puts; i++) {
			AUTO(pgres) PGresult *r = PQexec(gw, gwr_fmt("SELECT credential_put('wrkspc_A', '%s', '%s', %d, '{}', NULL, NULL, NULL, NULL, NULL, '%s', '%s', '%s')",
			    vault, id, puts[i].version, puts[i].slots, puts[i].keys, puts[i].boxes));

			assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
			assert_string_equal(PQgetvalue(r, 0, 0), puts[i].want);
		}
	}
	PQfinish(owner);
	PQfinish(gw);
}

/* --- boxes ---------------------------------------------------------------------------------------------------------------------------- */

/* Open a slot of a credential as its row says, with one thing changed by `odd`. Returns what comes out, or NULL. */
static char *
opened(const char *id, const char *slot, void (*odd)(struct cred_bind *b))
{
	AUTO(str) char *box = gwr_sql("SELECT sealed FROM credential_secret WHERE credential_id = '%s' AND slot = '%s'", id, slot);
	AUTO(str) char *version = gwr_sql("SELECT version FROM credential_secret WHERE credential_id = '%s' AND slot = '%s'", id, slot);
	PGconn *c = connected("roost_admin");
	AUTO(pgres) PGresult *r = PQexec(c, gwr_fmt("SELECT organization_id, vault_id, id, type, secret_name, mcp_server_url, token_endpoint, client_id "
	    "FROM credential WHERE id = '%s'", id));
	struct cred_bind b = { .organization = pg_str(r, 0, 0), .vault = pg_str(r, 0, 1), .credential = pg_str(r, 0, 2), .type = pg_str(r, 0, 3),
	    .slot = slot, .version = strtoll(version, NULL, 10), .secret_name = pg_str(r, 0, 4), .mcp_server_url = pg_str(r, 0, 5),
	    .token_endpoint = pg_str(r, 0, 6), .client_id = pg_str(r, 0, 7) };
	struct err e = ERR_INIT;
	struct credkeys *keys = credkeys_open(gwr_fmt("%s/vault", gwr_dir), &e);
	char *text = NULL, *copy = NULL;
	size_t len;

	assert_non_null(keys);
	if (odd)
		odd(&b);
	if (cred_open_text(keys, &b, box, &text, &len, &e) == 0) {
		copy = xstrndup(text, len);
		sodium_free(text);
	}
	credkeys_close(&keys);
	PQfinish(c);
	return copy;
}

static void other_organization(struct cred_bind *b) { b->organization = "org-2"; }
static void other_vault(struct cred_bind *b) { b->vault = "vlt_011111111111111111111111"; }
static void other_credential(struct cred_bind *b) { b->credential = "vcrd_011111111111111111111111"; }
static void other_slot(struct cred_bind *b) { b->slot = "refresh_token"; }
static void other_version(struct cred_bind *b) { b->version--; }
static void other_server(struct cred_bind *b) { b->mcp_server_url = "https://evil.example.com"; }
static void other_endpoint(struct cred_bind *b) { b->token_endpoint = "https://evil.example.com"; }
static void other_client(struct cred_bind *b) { b->client_id = "evil"; }
static void other_name(struct cred_bind *b) { b->secret_name = "X"; }

static void
boxes_open_in_their_row_only(void **state)
{
	static void (*const odd[])(struct cred_bind *b) = { other_organization, other_vault, other_credential, other_slot, other_version, other_server,
	    other_endpoint, other_client, other_name };
	AUTO(str) char *id = xstrdup(made("\"type\":\"mcp_oauth\",\"mcp_server_url\":\"https://Boxes.example.com/\",\"access_token\":\"acc\xc3\xa9ss\",\"refresh\":"
	    "{\"token_endpoint\":\"https://t.example.com\",\"client_id\":\"c\",\"refresh_token\":\"fresh\",\"token_endpoint_auth\":"
	    "{\"type\":\"client_secret_post\",\"client_secret\":\"client\"}}"));
	AUTO(str) char *access = opened(id, "access_token", NULL), *refresh = opened(id, "refresh_token", NULL), *client = opened(id, "client_secret", NULL);
	AUTO(str) char *rotated = NULL, *kept = NULL;

	assert_string_equal(access, "acc\xc3\xa9ss");
	assert_string_equal(refresh, "fresh");
	assert_string_equal(client, "client");
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
		if (opened(id, "access_token", odd[i]))
			fail_msg("a box opens elsewhere (%zu)", i);
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/vaults/%s/credentials/%s", vault, id),
	    "{\"auth\":{\"type\":\"mcp_oauth\",\"access_token\":\"second\"}}"));
	rotated = opened(id, "access_token", NULL);
	kept = opened(id, "refresh_token", NULL);
	assert_string_equal(rotated, "second");
	assert_string_equal(kept, "fresh");
}

/* No key to seal with (F49): nothing is stored unsealed, and what needs no key goes on. */
static void
no_key_no_secret(void **state)
{
	AUTO(str) char *key = xasprintf("%s/vault.pub", gwr_dir), *away = xasprintf("%s.away", key), *before = NULL, *after = NULL;
	AUTO(str) char *uri = xasprintf("/v1/vaults/%s/credentials", vault);
	const char *body = "{\"auth\":{\"type\":\"static_bearer\",\"mcp_server_url\":\"https://nokey.example.com\",\"token\":\"t\"}}";
	const char *id = made("\"type\":\"static_bearer\",\"mcp_server_url\":\"https://key.example.com\",\"token\":\"t\"");
	AUTO(str) char *one = xasprintf("%s/%s", uri, id);

	before = gwr_state();
	assert_int_equal(rename(key, away), 0);
	gwr_bad(GWR_A, "POST", uri, body, 503, "api_error", "");
	gwr_bad(GWR_A, "POST", one, "{\"auth\":{\"type\":\"static_bearer\",\"token\":\"u\"}}", 503, "api_error", "");
	after = gwr_state();
	assert_string_equal(before, after);
	json_decref(gwr_ok(GWR_A, "POST", one, "{\"display_name\":\"named\"}"));
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("%s/archive", one), NULL));
	assert_int_equal(rename(away, key), 0);
	json_decref(gwr_ok(GWR_A, "POST", uri, body));
}

/* --- suspended --------------------------------------------------------------------------------------------------------------------- */

/* Seen in the transaction, although the key is still known as good. */
static void
suspended_at_once(void **state)
{
	AUTO(json) json_t *v = gwr_ok(GWR_C, "POST", "/v1/vaults", "{\"display_name\":\"C\"}"), *c = NULL;
	AUTO(str) char *at = xasprintf("/v1/vaults/%s", jx_str(v, "id")), *in = xasprintf("%s/credentials", at), *one = NULL, *auth = NULL;
	static const char *const create = "{\"auth\":{\"type\":\"static_bearer\",\"mcp_server_url\":\"https://%d.example.com\",\"token\":\"t\"}}";

	c = gwr_ok(GWR_C, "POST", in, gwr_fmt(create, 1));
	one = xasprintf("%s/%s", in, jx_str(c, "id"));
	auth = xasprintf(create, 2);
	free(gwr_sql("UPDATE organization SET state = 'suspended' WHERE id = 'org-2'"));
#define SUSPENDED(method, uri, body) gwr_bad(GWR_C, method, uri, body, 403, "permission_error", "This organization is suspended")
	SUSPENDED("POST", "/v1/vaults", "{\"display_name\":\"C\"}");
	SUSPENDED("POST", at, "{\"display_name\":\"D\"}");
	SUSPENDED("POST", in, auth);
	SUSPENDED("POST", one, "{\"auth\":{\"type\":\"static_bearer\",\"token\":\"u\"}}");
	SUSPENDED("POST", gwr_fmt("%s/archive", one), NULL);
	SUSPENDED("DELETE", one, NULL);
	SUSPENDED("POST", gwr_fmt("%s/archive", at), NULL);
	SUSPENDED("DELETE", at, NULL);
	json_decref(gwr_ok(GWR_C, "GET", one, NULL));
	free(gwr_sql("UPDATE organization SET state = 'active' WHERE id = 'org-2'"));
}

/* --- memory ------------------------------------------------------------------------------------------------------------------------- */

/* Whatever a crash leaves, it is no picture of its memory. */
static void
no_core_dump(void **state)
{
	FILE *f = fopen(gwr_fmt("/proc/%d/limits", gwr_pid()), "r");
	char line[256];
	bool seen = false;

	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		seen = seen || (strncmp(line, "Max core file size ", 19) == 0 && strspn(line + 19, " 0") >= 20);
	fclose(f);
	assert_true(seen);
}

/* How often a text stands in the gateway's writable memory. */
static int
in_memory(const char *text)
{
	FILE *maps = fopen(gwr_fmt("/proc/%d/maps", gwr_pid()), "r");
	AUTO(fd) int mem = open(gwr_fmt("/proc/%d/mem", gwr_pid()), O_RDONLY | O_CLOEXEC);
	static char window[1 << 20];
	size_t n = strlen(text);
	char line[512], mode[8];
	unsigned long from, to;
	int found = 0;

	assert_true(maps && mem >= 0);
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' || strstr(line, "[v") ||
		    to - from > SHADOW)
			continue;
		for (unsigned long at = from; at < to; at += sizeof window - n) {
			size_t want = to - at < sizeof window ? to - at : sizeof window;
			ssize_t got = pread(mem, window, want, (off_t)at);

			for (ssize_t i = 0; i + (ssize_t)n <= got; i++)
				found += memcmp(window + i, text, n) == 0;
		}
	}
	fclose(maps);
	return found;
}

/* Taken, refused and broken requests alike. */
static void
memory_forgets(void **state)
{
	static const char *const auths[] = {
		"\"type\":\"static_bearer\",\"mcp_server_url\":\"https://m1.example.com\",\"token\":\"%s\"",
		"\"type\":\"static_bearer\",\"mcp_server_url\":\"https://m2.example.com\",\"token\":\"\\u0041%s\\u0042\"",
		"\"type\":\"mcp_oauth\",\"mcp_server_url\":\"https://m3.example.com\",\"access_token\":\"%s\"",
		"\"type\":\"environment_variable\",\"secret_name\":\"MEM\",\"secret_value\":\"%s\",\"networking\":{\"type\":\"unrestricted\"}",
	};
	char secret[3000];
	int before;

	memset(secret, 'q', sizeof secret - 1);
	memcpy(secret + 1000, "Xy7-forget-me-Zq9", 17);
	secret[sizeof secret - 1] = '\0';
	before = in_memory("Xy7-forget-me-Zq9");
	assert_int_equal(before, 0);
	for (size_t i = 0; i < sizeof auths / sizeof *auths; i++) {
		AUTO(str) char *auth = xasprintf(auths[i], secret), *body = xasprintf("{\"auth\":{%s}}", auth);
		AUTO(str) char *bad = xasprintf("{\"auth\":{%s,\"nope\":1}}", auth), *broken = xasprintf("{\"auth\":{%s", auth);
		AUTO(str) char *uri = xasprintf("/v1/vaults/%s/credentials", vault);

		json_decref(gwr_ok(GWR_A, "POST", uri, body));
		gwr_bad(GWR_A, "POST", uri, body, 409, "invalid_request_error", "A credential already exists");
		gwr_bad(GWR_A, "POST", uri, bad, 400, "invalid_request_error", "Failed to parse request body: unknown field \"nope\"");
		gwr_bad(GWR_A, "POST", uri, broken, 400, "invalid_request_error", "Failed to parse request body: invalid JSON");
	}
	assert_int_equal(in_memory("Xy7-forget-me-Zq9"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gateway_cannot_read_back), cmocka_unit_test(nobody_else_reads), cmocka_unit_test(rules_hold_for_every_writer),
		cmocka_unit_test(boxes_open_in_their_row_only), cmocka_unit_test(no_key_no_secret), cmocka_unit_test(suspended_at_once),
		cmocka_unit_test(no_core_dump), cmocka_unit_test(memory_forgets),
	};

	return cmocka_run_group_tests_name("vaults", tests, start, gwr_over);
}
