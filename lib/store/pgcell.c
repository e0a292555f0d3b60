/*
 * pgcell: see pgcell.h. No connection, no statement, nothing that can fail: texts are copied into arrays with their quotes and backslashes
 * escaped, so that whatever a client sends is one element and nothing else.
 */
#include "pgcell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
pg_str(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? NULL : PQgetvalue(r, row, col);
}

int64_t
pg_int(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? 0 : strtoll(PQgetvalue(r, row, col), NULL, 10);
}

bool
pg_bool(const PGresult *r, int row, int col)
{
	return !PQgetisnull(r, row, col) && PQgetvalue(r, row, col)[0] == 't';
}

const char *
db_num(struct db_num *n, int64_t v)
{
	snprintf(n->text, sizeof n->text, "%lld", (long long)v);
	return n->text;
}

void
pg_array_item(struct buf *b, const char *item)
{
	size_t plain;

	if (!item) {
		buf_str(b, "NULL");
		return;
	}
	buf_ch(b, '"');
	for (const char *p = item; *p; p += plain) {
		if (*p == '"' || *p == '\\') {
			buf_ch(b, '\\');
			buf_ch(b, *p++);
		}
		plain = strcspn(p, "\"\\");
		buf_put(b, p, plain);
	}
	buf_ch(b, '"');
}

char *
pg_array(const char *const *items, int n)
{
	struct buf b = BUF_INIT(0);

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_ch(&b, ',');
		pg_array_item(&b, items[i]);
	}
	buf_ch(&b, '}');
	return buf_steal(&b);
}
