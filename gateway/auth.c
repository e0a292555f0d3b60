/*
 * auth: see auth.h. A key is read from `Authorization: Bearer` or `x-api-key` (both only when identical), its check, a keyed hash, is
 * verified before any lookup, so invented keys cost no query, and its keyed hash is compared in constant time. Missing, malformed, unknown,
 * revoked and expired keys get one and the same 401.
 *
 * The cache is direct-mapped: a newer key evicts an older one of the same slot, which only costs a query. It holds hashes, no keys.
 */
#include "auth.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apikey.h"
#include "clock.h"
#include "xalloc.h"

#define SLOTS 1024
#define OLD_LOOKUPS_S 20
#define BETA_MANAGED "managed-agents-2026-04-01"

struct slot {
	char hash[APIKEY_HEX];
	int64_t until_ms;
	struct tenant_key key;
};

struct auth {
	struct apikey_pepper pepper;
	int64_t cache_ms;
	pthread_mutex_t lock;		/* guards what follows */
	int64_t old_from_ms;		/* the second in which old_lookups were made */
	int old_lookups;
	struct slot slots[SLOTS];
};

static const char *const versions[] = { "2026-10-21", "2023-06-01" };

static const char *const betas[] = {
#define BETA(value) value,
#include "betas.def"
#undef BETA
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* The value when line is NAME=value. */
static const char *
env_value(const char *line, const char *name)
{
	size_t n = strlen(name);

	return strncmp(line, name, n) == 0 && line[n] == '=' ? line + n + 1 : NULL;
}

static void
take(const char **field, const char *value, bool *conflict)
{
	if (*field && strcmp(*field, value) != 0)
		*conflict = true;
	*field = value;
}

void
auth_headers_read(struct auth_headers *h, char *const *envp)
{
	size_t n = 0;
	bool other = false;
	const char *v;

	memset(h, 0, sizeof *h);
	for (; *envp; envp++) {
		if (strncmp(*envp, "HTTP_", 5) != 0)
			continue;
		if ((v = env_value(*envp, "HTTP_AUTHORIZATION")))
			take(&h->authorization, v, &h->conflict);
		else if ((v = env_value(*envp, "HTTP_X_API_KEY")))
			take(&h->api_key, v, &h->conflict);
		else if ((v = env_value(*envp, "HTTP_ANTHROPIC_WORKSPACE_ID")))
			take(&h->workspace, v, &h->conflict);
		else if ((v = env_value(*envp, "HTTP_ANTHROPIC_VERSION")))
			take(&h->version, v, &other);
		else if ((v = env_value(*envp, "HTTP_ANTHROPIC_BETA")) && n < COUNT(h->beta))
			h->beta[n++] = v;
	}
}

struct auth *
auth_open(const struct conf *c, struct err *e)
{
	struct auth *a = xcalloc(1, sizeof *a);

	if (apikey_pepper_load(c->pepper_file, &a->pepper, e) < 0) {
		free(a);
		return NULL;
	}
	a->cache_ms = c->key_cache_s * 1000;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void
auth_close(struct auth **a)
{
	if (!*a)
		return;
	explicit_bzero(&(*a)->pepper, sizeof (*a)->pepper);
	pthread_mutex_destroy(&(*a)->lock);
	free(*a);
	*a = NULL;
}

/* The presented key, or NULL when there is none or two that differ. */
static const char *
credential(const struct auth_headers *h)
{
	const char *bearer = NULL;

	if (h->conflict)
		return NULL;
	if (h->authorization) {
		if (strncasecmp(h->authorization, "Bearer ", 7) != 0)
			return NULL;
		bearer = h->authorization + 7;
	}
	if (bearer && h->api_key && strcmp(bearer, h->api_key) != 0)
		return NULL;
	return bearer ? bearer : h->api_key;
}

static struct slot *
slot_of(struct auth *a, const char *hash)
{
	char head[8] = { 0 };

	memcpy(head, hash, 6);
	return &a->slots[strtoul(head, NULL, 16) % SLOTS];
}

static bool
cache_get(struct auth *a, const char *hash, struct tenant_key *out)
{
	struct slot *s = slot_of(a, hash);
	bool hit;

	pthread_mutex_lock(&a->lock);
	hit = s->until_ms > clock_mono_ms() && apikey_hash_equal(s->hash, hash);
	if (hit)
		*out = s->key;
	pthread_mutex_unlock(&a->lock);
	return hit;
}

static void
cache_put(struct auth *a, const char *hash, int64_t left_ms, const struct tenant_key *key)
{
	struct slot *s = slot_of(a, hash);
	int64_t keep = left_ms < a->cache_ms ? left_ms : a->cache_ms;

	pthread_mutex_lock(&a->lock);
	memcpy(s->hash, hash, APIKEY_HEX);
	s->until_ms = clock_mono_ms() + keep;
	s->key = *key;
	pthread_mutex_unlock(&a->lock);
}

/*
 * Keys whose check anybody can compute (made by a version before this one) are looked up so often in a second and no more: a flood of
 * invented ones costs no more than that. Who has a good one of them is or was in the cache, or tries again.
 */
static int
old_key_turn(struct auth *a, struct err *e)
{
	int64_t now = clock_mono_ms();
	bool turn;

	pthread_mutex_lock(&a->lock);
	if (now - a->old_from_ms >= 1000) {
		a->old_from_ms = now;
		a->old_lookups = 0;
	}
	turn = a->old_lookups++ < OLD_LOOKUPS_S;
	pthread_mutex_unlock(&a->lock);
	return turn ? 0 : err_set(e, EK_LIMIT, 0, "Too many API keys of the old form at the moment. Try again, or make a new key.");
}

/* Was this key found good before, however long ago? An invented one never was. */
static bool
cache_knew(struct auth *a, const char *hash)
{
	bool knew;

	pthread_mutex_lock(&a->lock);
	knew = apikey_hash_equal(slot_of(a, hash)->hash, hash);
	pthread_mutex_unlock(&a->lock);
	return knew;
}

static int
key_check(struct auth *a, struct db *db, const struct auth_headers *h, struct tenant_key *out, struct err *e)
{
	char public_id[APIKEY_PUBLIC_LEN + 1], hash[APIKEY_HEX], stored[APIKEY_HEX];
	const char *key = credential(h);
	struct tenant_key found;
	int64_t left_ms;
	enum apikey_form form;
	bool exists;

	if (!key || strnlen(key, APIKEY_LEN + 1) != APIKEY_LEN)
		return err_set(e, EK_AUTH, 0, "Authentication failed");
	apikey_hash(&a->pepper, key, hash);
	if (a->cache_ms > 0 && cache_get(a, hash, out))
		return 0;		/* it was checked when it was looked up */
	form = apikey_parse(&a->pepper, key, public_id);
	if (form == APIKEY_BAD)
		return err_set(e, EK_AUTH, 0, "Authentication failed");
	if (form == APIKEY_OLD && !cache_knew(a, hash) && old_key_turn(a, e) < 0)
		return -1;
	if (tenant_key_get(db, public_id, &found, stored, &left_ms, &exists, e) < 0)
		return -1;
	if (!exists || !apikey_hash_equal(hash, stored))
		return err_set(e, EK_AUTH, 0, "Authentication failed");
	if (a->cache_ms > 0)
		cache_put(a, hash, left_ms, &found);
	*out = found;
	return 0;
}

/* Call see() for each comma-separated value of the anthropic-beta lines; stops at the first that returns true. */
static bool
beta_any(const struct auth_headers *h, bool (*see)(const char *value, size_t len), const char **out_value, size_t *out_len)
{
	for (size_t i = 0; i < COUNT(h->beta) && h->beta[i]; i++) {
		const char *p = h->beta[i];

		while (*p) {
			size_t len;

			p += strspn(p, " \t,");
			len = strcspn(p, " \t,");
			if (len > 0 && see(p, len)) {
				*out_value = p;
				*out_len = len;
				return true;
			}
			p += len;
		}
	}
	return false;
}

static bool
beta_is_managed(const char *value, size_t len)
{
	return len == strlen(BETA_MANAGED) && memcmp(value, BETA_MANAGED, len) == 0;
}

bool
auth_managed(const struct auth_headers *h)
{
	const char *value = "";
	size_t len = 0;

	return beta_any(h, beta_is_managed, &value, &len);
}

static bool
beta_is_unknown(const char *value, size_t len)
{
	for (size_t i = 0; i < COUNT(betas); i++)
		if (strlen(betas[i]) == len && memcmp(betas[i], value, len) == 0)
			return false;
	return true;
}

static int
beta_check(const struct auth_headers *h, enum auth_beta rule, struct err *e)
{
	const char *value = "";
	size_t len = 0;

	if (rule == AUTH_BETA_MANAGED && !beta_any(h, beta_is_managed, &value, &len))
		return err_set(e, EK_NOT_FOUND, 0, "not found");
	if (rule == AUTH_BETA_KNOWN && beta_any(h, beta_is_unknown, &value, &len))
		return err_set(e, EK_INVALID, 0, "Unexpected value(s) `%.*s` for the `anthropic-beta` header",
		    len > 100 ? 100 : (int)len, value);
	return 0;
}

static int
version_check(const struct auth_headers *h, struct err *e)
{
	if (!h->version || !h->version[0])
		return err_set(e, EK_INVALID, 0, "anthropic-version: header is required");
	for (size_t i = 0; i < COUNT(versions); i++)
		if (strcmp(h->version, versions[i]) == 0)
			return 0;
	return err_set(e, EK_INVALID, 0, "anthropic-version: \"%.40s\" is not a valid version; expected one of \"%s\", \"%s\"",
	    h->version, versions[0], versions[1]);
}

static int
scope_check(const struct auth_headers *h, const struct tenant_key *key, enum auth_scope scope, struct err *e)
{
	if (key->admin != (scope == AUTH_ADMIN))
		return err_set(e, EK_FORBIDDEN, 0, key->admin ? "An admin key cannot be used on this endpoint" :
		    "A workspace key cannot be used on this endpoint");
	if (h->workspace && h->workspace[0] && strcmp(h->workspace, key->workspace_id) != 0)
		return err_set(e, EK_FORBIDDEN, 0, "anthropic-workspace-id does not match the workspace of the API key");
	return 0;
}

int
auth_check(struct auth *a, struct db *db, const struct auth_headers *h, enum auth_scope scope, enum auth_beta beta,
    struct tenant_key *out, struct err *e)
{
	if (key_check(a, db, h, out, e) < 0 || beta_check(h, beta, e) < 0 || version_check(h, e) < 0)
		return -1;
	return scope_check(h, out, scope, e);
}
