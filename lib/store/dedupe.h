/*
 * dedupe: the answers of requests that may be sent again (sql/functions/request_dedupe.sql says which row answers whom). A row is
 * written in the transaction of its request's effect, as the statement before the COMMIT.
 */
#ifndef ROOST_STORE_DEDUPE_H
#define ROOST_STORE_DEDUPE_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"

#define DEDUPE_UUID 37

enum dedupe_kind { DEDUPE_NONE = 0, DEDUPE_KEY = 'k', DEDUPE_TRACE = 't', DEDUPE_PLAIN = 'p' };

/* One attempt of a call. */
struct dedupe_id {
	enum dedupe_kind kind;
	int count;			/* of retries before it; -1: not told */
	char ident[DEDUPE_UUID];	/* of the call */
	char digest[DEDUPE_UUID];	/* of what it asks for */
	int64_t lock;			/* of the call */
	const char *request;		/* req_ of this attempt */
	const char *connection;		/* where its answer goes (gateway/conns.h); NULL: nothing can be told from it */
};

/* Statements with their parameters, which live in the struct: for db_outer. */
struct dedupe_step {
	struct db_step step;
	const char *params[12];
	struct db_num lock, count, status, keep;
	char kind[2];
};

/* Ask for an earlier attempt's answer. The step refers to id and to itself. */
void dedupe_enter_step(struct dedupe_step *s, const struct dedupe_id *id);

/* What is kept of an answer. NULL: nothing. */
struct dedupe_kept {
	int status;
	const char *reply, *events, *object;
	const char *request, *connection;	/* read only: of the attempt that was answered */
};
void dedupe_store_step(struct dedupe_step *s, const struct dedupe_id *id, const struct dedupe_kept *kept, int64_t keep_s);

/*
 * The same for a first attempt that is told by content, as the last seven parameters of a statement that makes an object (sql/stmts: what is
 * kept of the answer). pieces: a Postgres array of what stands before, between and behind the object's stamp in the reply; NULL: not kept.
 */
#define DEDUPE_MADE 7
struct dedupe_made { struct db_num lock, keep; };
void dedupe_made_params(struct dedupe_made *m, const struct dedupe_id *id, const char *pieces, int64_t keep_s, const char *out[DEDUPE_MADE]);

/* The same question alone, in a transaction of its own. *res without rows: there is none. The caller owns *res. EK_TIMEOUT: locked. */
int dedupe_find(struct db *db, const struct dedupe_id *id, PGresult **res, struct err *e);

/* The row of such a result. Strings are borrowed. *out_same false: it answered another request. */
void dedupe_row(const PGresult *res, const struct dedupe_id *id, struct dedupe_kept *out, bool *out_same);

/* The answer that this attempt was given has reached its client: forget it, so that no other call gets it. Kind plain only. */
int dedupe_delivered(struct db *db, const struct dedupe_id *id, const char *request, struct err *e);

/* Remove up to limit expired rows. */
int dedupe_sweep(struct db *db, int64_t limit, int64_t *out_n, struct err *e);

/* Forget what shows this object. */
int dedupe_forget(struct db *db, const char *object, struct err *e);

#endif
