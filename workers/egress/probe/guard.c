/*
 * guard: see guard.h. Asked with the very address that is about to be connected to, so a name that resolves to something else the second
 * time gains nothing. An IPv4 address in an IPv6 one (mapped) is judged as the IPv4 address; tunnels and translations that carry one (6to4,
 * Teredo, NAT64) are refused whole. Of IPv6 only 2000::/3 is public.
 */
#include "guard.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

static const struct net4 {
	uint32_t net;
	int bits;
} refused4[] = {
	{ 0x00000000, 8 },	/* this network */
	{ 0x0a000000, 8 },	/* private */
	{ 0x64400000, 10 },	/* carrier NAT */
	{ 0x7f000000, 8 },	/* loopback */
	{ 0xa9fe0000, 16 },	/* link-local, metadata services */
	{ 0xac100000, 12 },	/* private */
	{ 0xc0000000, 24 },	/* protocol assignments */
	{ 0xc0000200, 24 },	/* documentation */
	{ 0xc0586300, 24 },	/* 6to4 relays */
	{ 0xc0a80000, 16 },	/* private */
	{ 0xc6120000, 15 },	/* benchmarks */
	{ 0xc6336400, 24 },	/* documentation */
	{ 0xcb007100, 24 },	/* documentation */
	{ 0xe0000000, 4 },	/* multicast */
	{ 0xf0000000, 4 },	/* reserved, broadcast */
};

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool
public4(const unsigned char a[4])
{
	uint32_t addr = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];

	for (size_t i = 0; i < sizeof refused4 / sizeof *refused4; i++)
		if ((addr ^ refused4[i].net) >> (32 - refused4[i].bits) == 0)
			return false;
	return true;
}

static bool
public6(const unsigned char a[16])
{
	if (memcmp(a, mapped, sizeof mapped) == 0)
		return public4(a + 12);
	if (a[0] >> 5 != 1)
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && (a[2] < 0x02 || (a[2] == 0x0d && a[3] == 0xb8)))
		return false;	/* 2001::/23: Teredo, benchmarks, ORCHID; documentation */
	if (a[0] == 0x20 && a[1] == 0x02)
		return false;	/* 6to4 */
	return !(a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10);	/* documentation */
}

static bool
within(const struct guard_net *n, const unsigned char a[16])
{
	int whole = n->bits / 8, rest = n->bits % 8;

	return memcmp(n->addr, a, (size_t)whole) == 0 && (rest == 0 || (n->addr[whole] ^ a[whole]) >> (8 - rest) == 0);
}

static bool
listed(const struct guard *g, const unsigned char a[16])
{
	for (int i = 0; i < g->n; i++)
		if (within(&g->nets[i], a))
			return true;
	return false;
}

bool
guard_allows(const struct guard *g, const struct sockaddr *addr)
{
	unsigned char a[16];

	if (addr->sa_family == AF_INET) {
		memcpy(a, mapped, sizeof mapped);
		memcpy(a + 12, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
	} else if (addr->sa_family == AF_INET6) {
		memcpy(a, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, 16);
	} else {
		return false;
	}
	return listed(g, a) || public6(a);
}

/*
 * A machine's own public address looks like any other, and what listens there may be meant for nobody outside: but from no other one
 * does a connection have the same address at both ends.
 */
bool
guard_allows_peer(const struct guard *g, const char *peer, const char *own)
{
	unsigned char a[16];

	memcpy(a, mapped, sizeof mapped);
	if (strcmp(peer, own) != 0)
		return true;
	return (inet_pton(AF_INET, peer, a + 12) == 1 || inet_pton(AF_INET6, peer, a) == 1) && listed(g, a);
}

static int
parse_one(char *text, struct guard_net *out)
{
	char *slash = strchr(text, '/'), *end = NULL;
	long bits = -1;

	if (slash) {
		*slash = '\0';
		bits = strtol(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits < 0)
			return -1;
	}
	memcpy(out->addr, mapped, sizeof mapped);
	if (inet_pton(AF_INET, text, out->addr + 12) == 1)
		out->bits = bits < 0 ? 128 : 96 + (int)(bits > 32 ? -97 : bits);
	else if (inet_pton(AF_INET6, text, out->addr) == 1)
		out->bits = bits < 0 ? 128 : (int)(bits > 128 ? -1 : bits);
	else
		return -1;
	return out->bits < 0 ? -1 : 0;
}

int
guard_parse(const char *list, struct guard *out, struct err *e)
{
	AUTO(str) char *text = xstrdup(list);
	char *save = NULL;

	out->n = 0;
	for (char *one = strtok_r(text, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
		char name[64];

		snprintf(name, sizeof name, "%s", one);
		if (out->n == GUARD_NETS || parse_one(one, &out->nets[out->n]) < 0)
			return err_set(e, EK_INVALID, 0, "egress_allow: \"%s\" is no network, or one too many", name);
		out->n++;
	}
	return 0;
}
