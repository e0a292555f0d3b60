/*
 * peers: see peers.h. Rendezvous hashing: when a worker comes or goes, only the sessions that it wins or loses change their favourite.
 * Without an answer from the database the list is empty, and every worker takes what it hears of.
 */
#include "peers.h"

uint32_t
peers_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h;
}

static uint32_t
weight(uint32_t worker, uint32_t session)
{
	uint32_t h = (worker ^ session) * 2654435761u;

	h ^= h >> 15;
	h *= 2246822519u;
	return h ^ h >> 13;
}

bool
peers_favourite(const struct peers *p, const char *me, const char *session)
{
	uint32_t s = peers_hash(session), mine = weight(peers_hash(me), s);

	for (int i = 0; i < p->n; i++)
		if (weight(p->hash[i], s) > mine)
			return false;
	return true;
}

static void
on_peers(void *ctx, const PGresult *r, const struct err *e)
{
	struct peers *p = ctx;

	p->asking = false;
	p->n = 0;
	for (int i = 0; e == NULL && i < PQntuples(r) && p->n < PEERS_MAX; i++)
		p->hash[p->n++] = peers_hash(pg_str(r, i, 0));
}

void
peers_refresh(struct peers *p, struct dbq *db)
{
	if (p->asking)
		return;
	p->asking = true;
	DBQ_RUN(db, STMT_WORKER_PEERS, on_peers, p);
}
