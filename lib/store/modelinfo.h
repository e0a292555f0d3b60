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

#endif
