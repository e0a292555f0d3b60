/*
 * cursor: see cursor.h. Text form: "page_" + base64url(payload + 12 bytes of HMAC-SHA256). The payload is a short line of fields; the
 * workspace is in the hash only. No state is kept: a cursor stays good for as long as the rows around it.
 */
#include "cursor.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "apikey.h"

#define PREFIX "page_"
#define MAC 12
#define PAYLOAD 200

int
cursor_key_load(const char *pepper_file, struct cursor_key *out, struct err *e)
{
	struct apikey_pepper pepper;

	if (apikey_pepper_load(pepper_file, &pepper, e) < 0)
		return -1;
	crypto_auth_hmacsha256(out->bytes, (const unsigned char *)"page cursors", 12, pepper.bytes);
	sodium_memzero(&pepper, sizeof pepper);
	return 0;
}

static void
mac_of(const struct cursor_key *k, const char *workspace_id, const char *payload, size_t len, unsigned char out[MAC])
{
	crypto_auth_hmacsha256_state st;
	unsigned char full[crypto_auth_hmacsha256_BYTES];

	crypto_auth_hmacsha256_init(&st, k->bytes, sizeof k->bytes);
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)workspace_id, strlen(workspace_id) + 1);
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)payload, len);
	crypto_auth_hmacsha256_final(&st, full);
	memcpy(out, full, MAC);
}

char *
cursor_make(const struct cursor_key *k, const char *workspace_id, const struct cursor *c, char out[CURSOR_TEXT])
{
	unsigned char bytes[PAYLOAD + MAC];
	int n = snprintf((char *)bytes, PAYLOAD, "%c%c%c,%s,%s,%lld,%lld,%lld", (char)c->list, c->asc ? '+' : '-', c->back ? 'b' : 'f',
	    c->scope, c->id, (long long)c->a, (long long)c->b, (long long)c->at);

	mac_of(k, workspace_id, (const char *)bytes, (size_t)n, bytes + n);
	memcpy(out, PREFIX, sizeof PREFIX);
	sodium_bin2base64(out + sizeof PREFIX - 1, CURSOR_TEXT - sizeof PREFIX + 1, bytes, (size_t)n + MAC,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return out;
}

static bool
payload_read(char *text, struct cursor *out)
{
	char list, order, way;
	long long a, b, at = 0;
	char *scope, *id, *rest;

	if (strlen(text) < 4 || text[3] != ',')
		return false;
	list = text[0];
	order = text[1];
	way = text[2];
	scope = text + 4;
	if (!(id = strchr(scope, ',')))
		return false;
	*id++ = '\0';
	if (!(rest = strchr(id, ',')))
		return false;
	*rest++ = '\0';
	if (sscanf(rest, "%lld,%lld,%lld", &a, &b, &at) < 2 || strlen(scope) >= ID_MAX || strlen(id) >= ID_MAX)
		return false;
	memset(out, 0, sizeof *out);
	out->list = (enum cursor_list)list;
	out->asc = order == '+';
	out->back = way == 'b';
	snprintf(out->scope, sizeof out->scope, "%s", scope);
	snprintf(out->id, sizeof out->id, "%s", id);
	out->a = a;
	out->b = b;
	out->at = at;
	return true;
}

int
cursor_read(const struct cursor_key *k, const char *workspace_id, const char *text, enum cursor_list list, bool asc,
    const char *scope, struct cursor *out, struct err *e)
{
	unsigned char bytes[PAYLOAD + MAC + 1], mac[MAC];
	struct cursor c;
	size_t n;

	if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0 ||
	    sodium_base642bin(bytes, sizeof bytes - 1, text + sizeof PREFIX - 1, strlen(text) - sizeof PREFIX + 1, NULL, &n, NULL,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 || n <= MAC)
		return err_set(e, EK_INVALID, 0, "invalid page cursor");
	n -= MAC;
	mac_of(k, workspace_id, (const char *)bytes, n, mac);
	if (sodium_memcmp(mac, bytes + n, MAC) != 0)
		return err_set(e, EK_INVALID, 0, "invalid page cursor");
	bytes[n] = '\0';
	if (!payload_read((char *)bytes, &c) || c.list != list || strcmp(c.scope, scope) != 0)
		return err_set(e, EK_INVALID, 0, "invalid page cursor");
	if (c.asc != asc)
		return err_set(e, EK_INVALID, 0, "page token order does not match request");
	*out = c;
	return 0;
}
