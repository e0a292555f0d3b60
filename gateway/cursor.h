/*
 * cursor: the opaque `page_...` of a list reply. It holds the list's kind, its order, the direction to read and a position, bound to
 * one workspace by a keyed hash, so that a forged, foreign or damaged one is a 400 and never a query.
 */
#ifndef ROOST_GATEWAY_CURSOR_H
#define ROOST_GATEWAY_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "id.h"

/* Which list a cursor belongs to: one letter each. */
enum cursor_list { CURSOR_AGENTS = 'a', CURSOR_VERSIONS = 'v', CURSOR_ENVIRONMENTS = 'e', CURSOR_SESSIONS = 's', CURSOR_EVENTS = 'l', CURSOR_FILES = 'f',
	CURSOR_THREADS = 't', CURSOR_THREAD_EVENTS = 'd',
	CURSOR_RESOURCES = 'r', CURSOR_VAULTS = 'k', CURSOR_CREDENTIALS = 'c' };

struct cursor_key {
	unsigned char bytes[32];
};

/* Position: what each list needs; unused parts are zero. */
struct cursor {
	enum cursor_list list;
	bool asc;		/* the order it was made under */
	bool back;		/* read towards the first page */
	char scope[ID_MAX];	/* the parent object whose list it is (session, agent), or "" */
	char id[ID_MAX];	/* of the item at the position */
	int64_t a, b;		/* numbers: created_at, version, seq, inbox_seq */
	int64_t at;		/* the position's time in microseconds, where created_at filters apply; 0: none */
};

#define CURSOR_TEXT 320

/* Derive the key from the pepper file, the one secret every gateway has. */
int cursor_key_load(const char *pepper_file, struct cursor_key *out, struct err *e);

/* Returns out. */
char *cursor_make(const struct cursor_key *k, const char *workspace_id, const struct cursor *c, char out[CURSOR_TEXT]);

/* EK_INVALID "invalid page cursor" unless it was made for this list, scope and workspace; "page token order ..." for the other order. */
int cursor_read(const struct cursor_key *k, const char *workspace_id, const char *text, enum cursor_list list, bool asc,
    const char *scope, struct cursor *out, struct err *e);

#endif
