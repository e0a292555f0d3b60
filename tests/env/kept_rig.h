/*
 * kept_rig: sessions that their worker keeps for a moment after a turn (workers/harness/kept.c), on a worker_rig with a bell: messages and
 * their turns, who is kept, what a log must then hold. A busy machine keeps a session now and then not, and reads what was told now and
 * then, as the product decides; so what a test counts on is waited for here, turn after turn. Each of these fails the test after RIG_MS.
 */
#ifndef ROOST_TEST_KEPT_RIG_H
#define ROOST_TEST_KEPT_RIG_H

#include <stdbool.h>

#include "worker_rig.h"

#define KEPT_OPEN "S:running T:running u.message M:start"
#define KEPT_CLOSE " a.message M:end T:idle s.usage S:idle"
#define KEPT_TURN KEPT_OPEN KEPT_CLOSE

/* Settings of a worker: a lease soon lost, and a moment that is as good as for ever. */
#define KEPT_LEASE "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\n"
#define KEPT_LONG KEPT_LEASE "linger_ms = 60000\n"

/* What every message says from now on; borrowed. "hello" before that. */
void kept_words(const char *text);
/* One message that is sent without telling, and its turn. */
void kept_read(const char *session);
/* One message that is not refused, in the way of a gateway that tells. */
void kept_put(const char *session);
/* Such a message, its ring and its turn. How the turn came, as rig_done(). */
const char *kept_turn(const char *session);

/* Has a worker the lease of this session? And has it prepared the next turn, and has nobody written the row since? */
typedef bool kept_as(const char *session);
kept_as kept_leased;
kept_as kept_ready;

/* A session of this model that is so: its client comes back at once, until the worker hears and is quick enough. */
void kept_keep(const char *session, const char *model, kept_as *as);
/* The same of a session that there is, if it is not so already. */
void kept_stay(const char *session, kept_as *as);
/* Turns of a session that is so until one has come in this way: "told" or "opened". */
void kept_comes(const char *session, kept_as *as, const char *how);

/* Each of its messages has one turn of its own, and one answer; nothing waits, nobody is blamed, no usage is missing. */
void kept_answered(const char *session);
/* Its log is as long and has answered as many messages as the other's: so has its row all else. */
void kept_same_totals(const char *session, const char *other);

#endif
