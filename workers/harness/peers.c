/*
 * peers: see peers.h. Rendezvous hashing: when a worker comes to be at work or ceases, only the sessions that it wins or loses change their
 * favourite. One decides for its machine, the first in the line; the others repeat what its row says, so that all agree and whoever is
 * first after it goes on from there. Without an answer from the database the list is empty, and every worker takes what it hears of.
 */
#include "peers.h"

#include <string.h>

#include "id.h"

static uint32_t
weight(uint32_t worker, uint32_t session)
{
	uint32_t h = (worker ^ session) * 2654435761u;

	h ^= h >> 15;
	h *= 2246822519u;
	return h ^ h >> 13;
}

bool
peers_favourite(const struct peers *p, const char *session)
{
	uint32_t s = id_hash(session), mine = weight(p->me, s);

	if (p->nfirst > 0 && p->behind > 0)
		return false;
	for (int i = 0; i < p->nfirst; i++)
		if (weight(p->first[i], s) > mine)
			return false;
	return true;
}

/* Nobody says that it takes sessions (they have not beaten since Postgres came back, or all are full): everybody is at work. */
static void
look_at_all(struct peers *p)
{
	for (int i = 0; i < p->n; i++) {
		p->first[p->nfirst++] = p->all[i].hash;
		if (p->all[i].hash == p->me)
			p->behind = 0;
	}
}

/* This machine's first worker: how many are to be at work here, of `most`, whose loads are `sum` for the `at_work` there are. */
static void
decide(struct peers *p, int at_work, int sum, int most)
{
	bool calm = at_work > 1 && sum < PEERS_LOW * (at_work - 1);

	p->spread = at_work;
	p->calm = calm ? p->calm + 1 : 0;
	if (p->calm >= PEERS_CALM) {
		p->calm = 0;
		p->spread--;
	} else if (sum > PEERS_HIGH * at_work && at_work < most) {
		p->spread++;
	}
}

/* Whoever is at work on the machine of the i-th worker, the first one of it in the line; `line` are those who stand in it. */
static void
look_at_host(struct peers *p, const bool *line, int i)
{
	uint32_t host = p->all[i].host;
	int spread = p->all[i].spread > 1 ? p->all[i].spread : 1, place = 0, at_work = 0, sum = 0;

	for (int k = i; k < p->n; k++) {
		if (!line[k] || p->all[k].host != host)
			continue;
		if (place < spread) {
			p->first[p->nfirst++] = p->all[k].hash;
			sum += p->all[k].load;
			at_work++;
		}
		if (p->all[k].hash == p->me)
			p->behind = place < spread ? 0 : place - spread + 1;
		place++;
	}
	if (p->all[i].hash == p->me)
		decide(p, at_work, sum, place);
	else if (host == p->host)
		p->spread = spread;
}

void
peers_look(struct peers *p)
{
	bool line[PEERS_MAX] = { false }, open = false, hands = false;

	p->nfirst = 0;
	p->behind = p->n > 0 ? PEERS_MAX : 0;
	for (int i = 0; i < p->n; i++) {
		open = open || p->all[i].open;
		hands = hands || (p->all[i].open && p->all[i].hands);
	}
	if (!open) {
		look_at_all(p);
		return;
	}
	for (int i = 0; i < p->n; i++)
		line[i] = p->all[i].open && (p->all[i].hands || !hands);
	for (int i = 0; i < p->n; i++) {
		bool known = !line[i];

		for (int k = 0; k < i && !known; k++)
			known = line[k] && p->all[k].host == p->all[i].host;
		if (!known)
			look_at_host(p, line, i);
	}
}

static void
on_peers(void *ctx, const PGresult *r, const struct err *e)
{
	struct peers *p = ctx;

	p->asking = false;
	p->n = 0;
	for (int i = 0; e == NULL && i < PQntuples(r) && p->n < PEERS_MAX; i++)
		p->all[p->n++] = (struct peer){ .hash = id_hash(pg_str(r, i, 0)), .host = id_hash(pg_str(r, i, 1)),
		    .open = pg_bool(r, i, 2), .hands = pg_bool(r, i, 3), .load = (int)pg_int(r, i, 4), .spread = (int)pg_int(r, i, 5) };
	peers_look(p);
}

void
peers_begin(struct peers *p, const char *me, const char *host, int64_t fresh_ms)
{
	*p = (struct peers){ .me = id_hash(me), .host = id_hash(host), .fresh_ms = fresh_ms, .spread = 1 };
}

void
peers_refresh(struct peers *p, struct dbq *db)
{
	if (p->asking)
		return;
	p->asking = true;
	DBQ_RUN(db, STMT_WORKER_PEERS, on_peers, p, DBN(p->fresh_ms));
}
