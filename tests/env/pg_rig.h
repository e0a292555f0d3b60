/*
 * pg_rig: a Postgres of a test program's own (tests/env/postgres) and questions to it as the database's owner. One per program; one that
 * cannot be set up ends the program.
 */
#ifndef ROOST_TESTS_PG_RIG_H
#define ROOST_TESTS_PG_RIG_H

#include <libpq-fe.h>

#include "cleanup.h"

extern char pgr_dir[64];	/* has its socket, and is removed with it */
extern PGconn *pgr_owner;

/* name: of the program, for the folder's. */
void pgr_start(const char *name);
/* The status of its end: for a group's teardown. */
int pgr_stop(void);

/* libpq's connection string for one of the roles. The caller frees. */
char *pgr_dsn(const char *role);

/* A connection of its own, in whose open transaction sql has run: whatever it has locked stays so until PQfinish() or its COMMIT. */
PGconn *pgr_begun(const char *sql);

/* The answer's first cell, "" for none or NULL; the caller frees. A statement that fails ends the test. */
char *ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Short names: tests consist of these. */
#define run(...) free(ask(__VA_ARGS__))
#define expect(want, ...) do { AUTO(str) char *got_ = ask(__VA_ARGS__); assert_string_equal(got_, (want)); } while (0)

#endif
