/*
 * sendq: the warm connection (warmq.h) by which messages are sent: one that goes alone by message_send, a set by one statement, too, and one
 * commit (message_send_many).
 *
 * A set waits for nobody's lock, and holds one send of a session at most: later ones of the same session follow it in a later set, in the
 * order they were queued.
 */
#ifndef ROOST_STORE_SENDQ_H
#define ROOST_STORE_SENDQ_H

#include "inbox.h"
#include "warmq.h"

#define SENDQ_NAME "sends"	/* what Postgres calls the connection: application_name */

/*
 * One send: inbox_send()'s, queued; with `kept` of one event. DONE: `sent` says who must be told. LOOK: something stands in its way
 * (inbox_send()'s EK_CONFLICT), or its session is locked.
 */
struct sendq_send {
	struct warmq_item item;		/* first; without `res` */
	const char *workspace, *session;
	struct inbox_item *const *items;
	int n;
	const char *const *kept;	/* NULL, or the parameters of a dedupe_store_step() (of a first attempt told by content): stored with it */
	struct inbox_sent sent;
};

/*
 * No connection yet. timeout_ms becomes statement_timeout; late_ms: an answer that takes longer is late, and one that goes alone waits no
 * longer for its session's lock; caps as for inbox_send().
 */
struct warmq *sendq_open(const char *dsn, int timeout_ms, int late_ms, const struct inbox_caps *caps, warmq_watch *watch, void *arg);

#endif
