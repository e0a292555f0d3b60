/*
 * entry: the one place that knows the fields of the Redis streams of bus.h: builds the XADD commands and reads entries back.
 */
#ifndef ROOST_BUS_ENTRY_H
#define ROOST_BUS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "id.h"

#define ENTRY_ARGS 18

/* A Redis command: arguments are borrowed from the caller, `num` holds a printed sequence number. */
struct entry_cmd {
	int argc;
	const char *argv[ENTRY_ARGS];
	size_t len[ENTRY_ARGS];
	char num[24], mark[48];
};

/* XADD to BUS_JOBS. owner may be NULL. */
void entry_job_cmd(struct entry_cmd *c, const char *workspace, const char *session, const char *owner);

/*
 * XADD to BUS_SSE. body of len bytes; over BUS_BODY_MAX an empty one is sent and the hub reads the log. seq 0: a preview; over
 * BUS_PREVIEW_MAX an empty one is sent, which cuts the session's open previews.
 */
void entry_event_cmd(struct entry_cmd *c, const char *session, const char *type, int64_t seq, const char *body, size_t len);

/*
 * A pack: what one session has to tell, collected and sent as one entry of at most BUS_BODY_MAX bytes. Zero-initialised is valid and empty.
 */
struct entry_pack {
	struct buf text;	/* the items, as field `e` has them */
	char session[ID_MAX];
	int n;
	size_t last;		/* where the last committed event's item begins (else the last item's) */
	int64_t seq;		/* its number; 0: nothing but previews */
	int previews;		/* how many of them are previews */
};

/* Takes a copy. False, and nothing is done: another session's, or there is no room; send this one first. */
bool entry_pack_add(struct entry_pack *p, const char *session, const char *type, int64_t seq, const char *body, size_t len);
/*
 * XADD to BUS_SSE; one item makes the entry that entry_event_cmd makes. Borrows from p, which is not empty. Its previews are numbered first,
 * first + 1, ..., in the order in which entries are sent, counted by their writer over all sessions and over those that could not be sent;
 * writers are not 0.
 */
void entry_pack_cmd(struct entry_cmd *c, const struct entry_pack *p, uint64_t writer, int64_t first);
void entry_pack_reset(struct entry_pack *p);

/* One field of an entry that was read. Values are NUL-terminated; the length is there because bodies are long. */
struct busq_field { const char *key, *val; size_t len; };

/* owner NULL: for any worker. */
struct entry_job { const char *workspace, *session, *owner; };

/* seq 0: a preview; len 0: it cuts. Otherwise len 0: the body is in the log only. Everything is borrowed from the fields. */
struct entry_event { const char *type, *body; size_t len; int64_t seq; };

/* All that an entry of BUS_SSE tells, in order. Its items are whole: reading it has checked them. */
struct entry_events {
	const char *session;
	const char *at, *end;		/* unread items; NULL: the entry is one item */
	struct entry_event one;
	uint64_t writer;
	int64_t number;			/* of the first preview */
	int previews;
};

/* 0, or -1 when the entry is not one of this kind (then it is skipped: Redis decides nothing). */
int entry_job_read(const struct busq_field *f, int n, struct entry_job *out);
int entry_events_read(const struct busq_field *f, int n, struct entry_events *out);
/* The next one; false: there are no more. */
bool entry_events_next(struct entry_events *all, struct entry_event *out);

#endif
