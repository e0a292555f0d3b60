/*
 * worker_rig: Postgres, Redis, a fake hands, a fake provider and real roost-worker processes in a temporary folder, for the
 * integration tests of the harness. One per test program. A rig that cannot be set up aborts the program; with RIG_LOGS set the end
 * of the workers' logs goes to stderr.
 */
#ifndef ROOST_TEST_WORKER_RIG_H
#define ROOST_TEST_WORKER_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "fake_hands.h"

#define RIG_MS 40000		/* the longest a test waits for anything */

extern struct fake_hands *rig_hands;
extern char rig_dir[64];

/* Start everything but workers. */
void rig_start(void);
void rig_stop(void);
/* rig_stop() as cmocka's teardown of a group. */
int rig_over(void **state);
/* Teardown of a test whose workers are all its own and gone by its end: those that are left are killed, and the work with them, so that
 * the next test stands on its own. */
int rig_clear(void **state);
/* The fake model provider (tests/provider); model `fake` goes to it from now on. */
void rig_provider(void);

/* Workers that start from now on have a bell (lib/bus/bell.h), by which rig_send() rings who has the session. */
void rig_bell(void);

/* A worker with these further settings ("lease_s = 2\n..."). Returns its pid. */
pid_t rig_worker(const char *settings);
/* Kill (or otherwise signal) a worker; 9 and 15 also wait for it. */
void rig_signal(pid_t pid, int sig);
/* Wait until this worker has died by itself, of a failpoint. */
void rig_await(pid_t pid);

/* First cell of the answer, as the database's owner; the caller frees. */
char *rig_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Wait until hands has had n frames of this kind. */
void rig_hands_has(const char *op, const char *session, int n);
/* What reaches hands is not ordered with what reaches the log: wait for the n-th frame of this kind, then there must be n. */
void rig_hands_saw(const char *op, const char *session, int n);
/* Wait until the query's first cell is want. When it is not, the end of the workers' logs goes to stderr. */
void rig_wait(const char *want, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A session of this model whose agent has the usual toolset (edit disabled, write asks) and the custom tool weather. */
void rig_session(const char *id, const char *model);
/* One client event, or several: each of these joins the batch that rig_send() puts. */
void rig_message(const char *text);
void rig_interrupt(void);
void rig_result(const char *tool_use_id, const char *text);
void rig_confirm(const char *tool_use_id, const char *deny_message);	/* NULL: allow; "": deny without words */
void rig_note(void);							/* a session.updated */
void rig_send(const char *session);
/*
 * One message in the way of a gateway that tells the worker which keeps the session (told.h): it is put, false if it was refused; and its
 * owner is rung with its record.
 */
bool rig_put(const char *session);
void rig_tell(const char *session);

/* Wait until no turn of the session is under way and nothing is due, as the database has it; it may be kept for a moment. Its worker may
 * not know it yet: a ring that comes now finds it at the turn. */
void rig_settled(const char *session);
/* And until the worker whose turn it was has said so: a ring finds it kept, or given back. How that turn came: "claim", "read", "told"
 * along with the ring, or "opened" by the send; good until the next call. Not where another has written the end of the log. */
const char *rig_done(const char *session);
/* How many of its turns that are over came so. */
int rig_came(const char *session, const char *how);
/* The types of the log after seq `after`, abbreviated: S: session.status_, T: session.thread_status_, M: span.model_request_, a. agent.,
 * u. user., s. session. The caller frees. */
char *rig_log(const char *session, int after);
/* How long it is. */
int rig_last_seq(const char *session);
void rig_same_log(const char *session, int after, const char *want);
/* Id of the k-th (from 1) event of this type. The caller frees. */
char *rig_event(const char *session, const char *type, int k);

/* What must be true of every log: no gap, stamps rising, one result per call, meter equal to totals. Fails the test otherwise. */
void rig_check(const char *session);

#endif
