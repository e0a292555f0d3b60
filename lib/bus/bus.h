/*
 * bus: what travels through Redis, and the blocking client of the gateway.
 *
 * Redis carries hints and fan-out, Postgres decides: losing all of Redis costs delay, never data (design section 3). Streams:
 *   jobs       the doorbell. Fields: w <workspace> s <session> [o <lease owner>]. An idle worker that reads it dequeues from Postgres; an entry
 *              with `o` is for that owner: session s has news in its inbox. Trimmed to BUS_JOBS_MAX.
 *   sse:0      fan-out to hubs (one shard today). Fields, in this order:
 *              s <session> t <event type> q <seq, "" for deltas> p <the event's JSON, "" when over BUS_BODY_MAX>
 *              or several of one session at once: e <items, each `bytes seq type` NUL JSON NUL> behind the last one's s, t, q and an
 *              empty p (who does not know `e` reads the log);
 *              t = event_start / event_delta are previews; these carry n <writer>-<number of the first>, because later text must not
 *              follow a hole; one with an empty p cuts what is open. Trimmed to BUS_SSE_MAX. Readers use explicit ids, never $.
 * entry.h builds and reads these entries; nothing else knows the field names.
 * ACL: every user needs PING and AUTH; gateway XADD; worker XADD, XREAD, XREVRANGE; hub XREAD, XREVRANGE. Who writes is better off with
 * CLIENT REPLY, so that Redis need not answer what nobody reads.
 * Not redis pub/sub: entries are read in order from an explicit id, so a reconnect loses nothing that is still in the stream.
 */
#ifndef ROOST_BUS_BUS_H
#define ROOST_BUS_BUS_H

#include <stdint.h>

#include "conf.h"
#include "err.h"

#define BUS_JOBS "jobs"
#define BUS_JOBS_MAX "10000"
#define BUS_SSE "sse:0"
#define BUS_SSE_MAX "20000"
#define BUS_BODY_MAX 16384	/* larger bodies are read from Postgres by the hub; an entry takes 20 kB, the stream 410 MB: below maxmemory */
#define BUS_PREVIEW_MAX BUS_BODY_MAX	/* a larger piece cuts its preview; a model needs seconds for so much */

/*
 * Blocking client: reconnects by itself, each call waits at most redis_timeout_ms. One per thread. After a failure it fails at once
 * for 50 ms, doubling to 1 s, so that a dead Redis does not cost every request the timeout. Failures are EK_UNAVAILABLE.
 */
struct bus;
struct bus *bus_open(const struct conf *c);
void bus_close(struct bus **b);

/*
 * Ring the doorbell after a commit. owner may be NULL. Failing is no failure of the request: workers poll. Redis' answer is not waited
 * for: what it refuses is not told.
 */
int bus_ring(struct bus *b, const char *workspace, const char *session, const char *owner, struct err *e);
/* Tell the hubs about a committed event (gateway: archive, delete). */
int bus_publish(struct bus *b, const char *session, const char *type, int64_t seq, const char *body, struct err *e);
int bus_ping(struct bus *b, struct err *e);

#endif
