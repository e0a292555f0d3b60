/*
 * sending: a batch of events on its way to a session: what the session's state has to say to it (contract 3.2, 3.6, 9.3).
 *
 * Everything stands in the request's arena but the items' texts, which are theirs (inbox_item_free). The session's row is locked by the
 * caller; nothing is written here. A refusal names the event that it is for.
 */
#ifndef ROOST_GATEWAY_API_SENDING_H
#define ROOST_GATEWAY_API_SENDING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "inbox.h"
#include "req.h"
#include "session.h"
#include "together.h"

/* A call that waits for the client, as the batch sees it while it is walked. */
struct send_call {
	struct action_row row;
	bool open;
	size_t answered_by;		/* index + 1 of the event in this batch */
};

struct sending {
	struct send_later later;	/* first: r->later is this */
	struct gw_req *r;
	const json_t *events;
	size_t count;
	struct session_locked session;
	struct send_call *calls;
	int n_calls;
	struct inbox_item *items;	/* one per event; those with skip[i] are repeats and are not put */
	struct inbox_item **all;	/* pointers to all of them */
	bool *skip;
};

/* The call that an answer names, or NULL. */
struct send_call *sending_call(const struct sending *s, const char *tool_use_id);

/* May anything be sent to this session? 0 or -1: the organization's state, archived, terminated. */
int sending_check_state(const struct sending *s, struct err *e);

/*
 * The batch against state and calls, event by event as if each had been taken before the next: 0, skip[] and the items' wakes and
 * on_receipt are set, *out_n events are to be put; or -1.
 */
int sending_check(struct sending *s, int *out_n, struct err *e);

#endif
