/* pgcell: what goes into Postgres as text and what comes out of it: cells of a result, numbers and arrays as parameters. */
#ifndef ROOST_STORE_PGCELL_H
#define ROOST_STORE_PGCELL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "cleanup.h"

DEFINE_CLEANUP(PGresult *, pgres, PQclear)

/* Read cells of a result. NULL cells: pg_str gives NULL, pg_int 0. */
const char *pg_str(const PGresult *r, int row, int col);
int64_t pg_int(const PGresult *r, int row, int col);
bool pg_bool(const PGresult *r, int row, int col);

/* Text of an int64 for a parameter: DBN(v). Lives until the end of the enclosing block. */
struct db_num { char text[24]; };
const char *db_num(struct db_num *n, int64_t v);
#define DBN(v) db_num(&(struct db_num){ { 0 } }, (v))

/* One element of a Postgres array literal; NULL: its NULL. */
void pg_array_item(struct buf *b, const char *item);

/* A Postgres text array literal of n strings (NULL elements allowed); the caller frees. For text[], bigint[] and the like. */
char *pg_array(const char *const *items, int n);

#endif
