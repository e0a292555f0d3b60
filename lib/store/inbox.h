/*
 * inbox: what clients send to a session, waiting for its harness (design section 3), and the calls they answer.
 *
 * An item's stem is the event's JSON text without processed_at and its closing brace: `{"id":"sevt_..","type":"..",<fields>`.
 */
#ifndef ROOST_STORE_INBOX_H
#define ROOST_STORE_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"
#include "id.h"

#define INBOX_HASH 65
#define INBOX_OWNER 128

struct inbox_item {
	char id[ID_MAX];		/* sevt_ */
	const char *type;
	char *stem;			/* owned by the item, as is fragment */
	char *fragment;			/* what the model sees, or NULL */
	const char *role;		/* of the fragment: NULL "u" a user's, "s" the system's */
	bool on_receipt;		/* shown with a stamp at once (contract 3.1) */
	bool wakes;			/* starts or continues a turn; of an answer, the database decides */
	const char *refers_to;		/* the tool use an answer answers, or NULL */
	const char *answer, *deny_message;	/* of a confirmation */
	char hash[INBOX_HASH];		/* of an answer's meaning, or "" */
};

void inbox_item_free(struct inbox_item *it);

/*
 * The last statement of a transaction that holds the session's lock (or has just created it): commits. owner receives who must be told, or
 * "". The items' texts, which may be large, are released on the way. EK_UNCERTAIN as db_commit().
 */
int inbox_put_commit(struct db *db, const char *session, struct inbox_item *const *items, int n, char owner[INBOX_OWNER], struct err *e);

/*
 * What a send of messages says: who must be told ("": nobody), and, if facts, what an owner that keeps the session for a moment would have
 * to read otherwise: the transaction that had written the session's row before, the numbers as they are now, the catalogue's generation.
 */
struct inbox_sent {
	char owner[INBOX_OWNER];
	bool facts;
	uint32_t prior;
	int64_t wake_gen, inbox_seq, catalogue;
	int64_t opened_us;	/* the send has opened the turn: the stamp of its first event; 0: the message waits in the inbox */
};
/* From a line of message_send's answer, len bytes long. */
void inbox_sent_read(const char *line, size_t len, struct inbox_sent *out);

/*
 * Lock, check and put at once, a transaction of its own (db_run_alone): for messages (user.message). EK_CONFLICT: something stands in
 * the way, nothing was written, and the caller has to look; the items keep their texts.
 */
struct inbox_caps { int64_t events, bytes; };
int inbox_send(struct db *db, const char *workspace, const char *session, struct inbox_item *const *items, int n, const struct inbox_caps *caps,
    struct inbox_sent *out, struct err *e);

/* Its statement alone, for who runs it otherwise (sendq.h): the step refers to the struct and to workspace and session. */
#define INBOX_SEND_ARRAYS 3
struct inbox_step {
	struct db_step step;
	const char *params[9];
	char *arrays[INBOX_SEND_ARRAYS];
	struct db_num num[4];
};
void inbox_step_make(struct inbox_step *s, const char *workspace, const char *session, struct inbox_item *const *items, int n,
    const struct inbox_caps *caps);
void inbox_step_free(struct inbox_step *s);

/* A call that waits, or waited, for the client (session_begin()). Strings are borrowed from the result. */
struct action_row {
	const char *tool_use_id, *kind, *state, *answer_id, *answer_hash;
};
void action_row(const PGresult *res, int row, struct action_row *out);

/*
 * The text of a client's event by id. Of one that still waits it is a stem, and *out_stamp what its echo shows (NULL: null); of one in
 * the log it is complete (*out_closed). EK_INTERNAL when there is none. The caller owns *res.
 */
int event_find(struct db *db, const char *session, const char *id, PGresult **res, const char **out_text, bool *out_closed,
    const char **out_stamp, struct err *e);

/*
 * A page of a thread's log, then of what waits; EK_NOT_FOUND: no such session. Positions: only what lies beyond them. Strings of filters as
 * in session_filter. Where only a position is given, a page is one quick statement. The caller owns *res, which out points into.
 */
struct event_filter {
	const char *thread;		/* of this session, as the caller has made sure; NULL: the primary one */
	const char *types, *gt, *gte, *lt, *lte;
	int64_t seq, inbox_seq, limit, bytes;
	bool desc;
};
struct event_page {
	const PGresult *res;
	int n;
	bool more;			/* there is something behind these n */
	bool quick;			/* what the columns are */
};
struct event_row {
	bool waiting;			/* text is a stem; stamp what it shows, NULL: null */
	int64_t seq;			/* in the log, or in the inbox */
	const char *text, *stamp;
};
int event_page(struct db *db, const char *workspace, const char *session, const struct event_filter *f, PGresult **res,
    struct event_page *out, struct err *e);
void event_row(const struct event_page *page, int row, struct event_row *out);

#endif
