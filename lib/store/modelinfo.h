/* modelinfo: the model catalogue as the API shows it. */
#ifndef ROOST_STORE_MODELINFO_H
#define ROOST_STORE_MODELINFO_H

#include <stdint.h>

#include "db.h"
#include "err.h"

/* Strings are borrowed from the result. */
struct modelinfo_row {
	const char *id, *display_name, *created;
	int64_t context_window, max_output_tokens;
};

void modelinfo_row(const PGresult *res, int row, struct modelinfo_row *out);

/* All models, newest first. The caller owns *res. */
int modelinfo_list(struct db *db, PGresult **res, struct err *e);
/* EK_NOT_FOUND. The caller owns *res. */
int modelinfo_get(struct db *db, const char *id, PGresult **res, struct modelinfo_row *out, struct err *e);

struct health {
	int64_t workers;	/* that live */
	bool hands;		/* one of them reached hands at its latest heartbeat */
	int64_t timeline;	/* how often the database was restored to an earlier time */
	bool archive_fails;	/* Postgres could not get rid of its log when it tried last */
};
int health_ask(struct db *db, struct health *out, struct err *e);

#endif
