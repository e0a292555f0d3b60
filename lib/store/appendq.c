/*
 * appendq: see appendq.h. A set is open from its first append on until dbq sends it (or it is full), and has its first append's place in
 * the queue. What it becomes is decided then: one append alone goes by session_append_one, which is faster for one.
 *
 * A set that fails as a whole, and every append of it of which the answer says so, is sent one by one by session_append_one. A set whose
 * fate nobody knows is answered with EK_UNCERTAIN to each.
 */
#include "appendq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "db_stmts.h"
#include "xalloc.h"

#define SET_MAX 64
#define SET_BYTES (256 << 10)		/* of texts in one set */
#define PLAIN_BYTES (32 << 10)		/* what is larger is not copied once more */
#define CLASS_RUNTIME (COST_CLASSES + 1)
#define ALONE (-4)			/* says session_append_many: only session_append_one can tell */

struct set {
	LIST_ENTRY(set) entry;
	struct appendq *q;
	int n;
	size_t bytes;
	struct append *appends[SET_MAX];
};

struct appendq {
	struct dbq *db;
	void (*at_hand)(struct append *a);
	LIST_HEAD(, set) sets;		/* not answered yet */
	struct set *open;		/* the one that takes more; NULL: none */
};

struct appendq *
appendq_new(struct dbq *db, void (*at_hand)(struct append *a))
{
	struct appendq *q = xcalloc(1, sizeof *q);

	q->db = db;
	q->at_hand = at_hand;
	return q;
}

void
appendq_free(struct appendq **q)
{
	while (*q && !LIST_EMPTY(&(*q)->sets)) {
		struct set *set = LIST_FIRST(&(*q)->sets);

		LIST_REMOVE(set, entry);
		free(set);
	}
	free(*q);
	*q = NULL;
}

/* --- one by session_append_one ----------------------------------------------------------------------------------------------------- */

static char *
number(int64_t v)
{
	return xasprintf("%lld", (long long)v);
}

static char *
number_or_null(bool present, int64_t v)
{
	return present ? number(v) : NULL;
}

static char *
numbers(const int64_t *v, int n)
{
	struct buf b = BUF_INIT(0);

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s%lld", i > 0 ? "," : "", (long long)v[i]);
	buf_ch(&b, '}');
	return buf_steal(&b);
}

/* The column of the pointers at `offset` in n structs of `size` bytes; NULL when it has elements and all are NULL. */
static char *
column(const void *first, int n, size_t size, size_t offset)
{
	struct buf b = BUF_INIT(0);
	bool any = false;

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++) {
		const char *item;

		memcpy(&item, (const char *)first + (size_t)i * size + offset, sizeof item);
		any = any || item;
		if (i > 0)
			buf_ch(&b, ',');
		pg_array_item(&b, item);
	}
	buf_ch(&b, '}');
	if (any || n == 0)
		return buf_steal(&b);
	buf_free(&b);
	return NULL;
}

#define COLUMN(first, n, field) column((first), (n), sizeof *(first), offsetof(__typeof__(*(first)), field))

static enum db_stmt
fill_one(const struct append *a, char **p)
{
	char **at = p;

	*at++ = xstrdup(a->session);
	*at++ = number(a->epoch);
	*at++ = number(a->base_us);
	*at++ = COLUMN(a->events, a->nevents, id);
	*at++ = COLUMN(a->events, a->nevents, type);
	*at++ = COLUMN(a->events, a->nevents, body);
	*at++ = COLUMN(a->events, a->nevents, role);
	*at++ = COLUMN(a->events, a->nevents, fragment);
	*at++ = COLUMN(a->events, a->nevents, private);
	*at++ = a->ntaken > 0 ? numbers(a->taken, a->ntaken) : NULL;
	*at++ = xstrdup_opt(a->status);
	*at++ = number_or_null(a->open_k >= 0, a->open_k);
	*at++ = number_or_null(a->close_k >= 0, a->close_k);
	*at++ = a->tokens_known ? numbers(a->tokens, COST_CLASSES) : NULL;
	*at++ = number_or_null(a->tokens_k >= 0, a->tokens_k);
	*at++ = xstrdup_opt(a->model);
	*at++ = COLUMN(a->calls, a->ncalls, id);
	*at++ = COLUMN(a->calls, a->ncalls, kind);
	*at++ = COLUMN(a->calls, a->ncalls, name);
	*at++ = COLUMN(a->calls, a->ncalls, input);
	*at++ = a->nclosed > 0 ? pg_array(a->closed, a->nclosed) : NULL;
	*at++ = xstrdup_opt(a->release);
	*at++ = number(a->wake_gen);
	*at++ = number_or_null(a->due_us >= 0, a->due_us);
	*at++ = xstrdup(a->again ? "t" : "f");
	*at++ = number_or_null(a->context_bytes >= 0, a->context_bytes);
	*at++ = number_or_null(!a->unpriced, a->token_nano);
	*at++ = a->rates.known ? numbers(a->rates.token, COST_CLASSES) : NULL;
	*at++ = xstrdup(a->paused ? "t" : "f");
	*at++ = xstrdup_opt(a->judge_model);
	*at++ = a->judge_model ? numbers(a->judge_tokens, COST_CLASSES) : NULL;
	*at++ = a->judge_rates.known ? numbers(a->judge_rates.token, COST_CLASSES) : NULL;
	*at++ = xstrdup(a->judge_lost ? "t" : "f");
	*at++ = number(a->taken_bytes);
	*at++ = number(a->taken_wakes);
	*at++ = a->ready ? pg_array(a->ready, APPEND_READY) : NULL;
	must(at == p + db_stmts[STMT_SESSION_APPEND_ONE].nparams);
	return STMT_SESSION_APPEND_ONE;
}

/* n numbers from an array's text. */
static void
numbers_of(const char *array, int64_t *v, int n)
{
	for (int i = 0; i < n; i++) {
		char *end;

		v[i] = strtoll(array + 1, &end, 10);	/* behind the brace or a comma */
		must(end > array + 1);
		array = end;
	}
}

/* v: as the functions say it, at least -3. xid: of 64 bits, of which a row keeps the lower half. */
static void
answer(struct append *a, int64_t v, int64_t now_us, int64_t xid)
{
	static const enum append_result refused[] = { [1] = APPEND_FENCED, [2] = APPEND_WOKEN, [3] = APPEND_STAMP };

	a->xid = v >= 0 ? (uint32_t)xid : 0;
	if (v >= 0)
		a->done(a, APPEND_OK, v + a->nevents, now_us, NULL);
	else
		a->done(a, refused[-v], 0, now_us, NULL);
}

static void
on_one(void *ctx, const PGresult *r, const struct err *e)
{
	struct append *a = ctx;
	int64_t v[3];

	if (e) {
		a->done(a, APPEND_OK, 0, 0, e);
		return;
	}
	numbers_of(pg_str(r, 0, 0), v, 3);
	answer(a, v[0], v[1], v[2]);
}

static void
run_alone(struct appendq *q, struct append *a)
{
	char *params[DBQ_PARAMS_MAX];
	enum db_stmt stmt = fill_one(a, params);

	dbq_give(q->db, stmt, db_stmts[stmt].nparams, params, on_one, a);
}

/* --- several by session_append_many ------------------------------------------------------------------------------------------------ */

/* Its parameters: arrays, in this order. */
enum {
	SESSION, EPOCH, BASE, EVENTS, STATUS, PAUSED, OPEN_K, CLOSE_K, WAKE_GEN, KEEP, CONTEXT_BYTES, TOKEN_NANO, TOKENS, RATES,
	TAKEN_EVENTS, TAKEN_BYTES, TAKEN_WAKES,
	E_APPEND, E_K, E_SESSION, E_THREAD, E_ID, E_TYPE, E_BODY, E_ROLE, E_FRAGMENT, E_PRIVATE,
	C_APPEND, C_SESSION, C_SEQ,
	M_APPEND, M_K, M_SESSION, M_MODEL, M_CLASS,
	READY,
	COLUMNS
};

static void
text(struct buf *b, const char *v)
{
	if (b->len > 0)
		buf_ch(b, ',');
	pg_array_item(b, v);
}

static void
num(struct buf *b, int64_t v)
{
	buf_printf(b, "%s%lld", b->len > 0 ? "," : "", (long long)v);
}

static void
num_opt(struct buf *b, bool present, int64_t v)
{
	if (present)
		num(b, v);
	else
		text(b, NULL);
}

static void
put_event(struct buf *c, const struct append *a, int o, int k)
{
	const struct append_event *ev = &a->events[k];

	num(&c[E_APPEND], o);
	num(&c[E_K], k);
	text(&c[E_SESSION], a->session);
	text(&c[E_THREAD], a->thread);
	text(&c[E_ID], ev->id);
	text(&c[E_TYPE], ev->type);
	text(&c[E_BODY], ev->body);
	text(&c[E_ROLE], ev->role);
	text(&c[E_FRAGMENT], ev->fragment);
	text(&c[E_PRIVATE], ev->private);
}

static void
put_meter(struct buf *c, const struct append *a, int o, int k, int class)
{
	num(&c[M_APPEND], o);
	num(&c[M_K], k);
	text(&c[M_SESSION], a->session);
	text(&c[M_MODEL], class == CLASS_RUNTIME ? NULL : a->model);
	num(&c[M_CLASS], class);
}

/* o: its number in the set, from 1. */
static void
put_append(struct buf *c, const struct append *a, int o)
{
	AUTO(str) char *ready = a->ready ? pg_array(a->ready, APPEND_READY) : NULL;

	text(&c[SESSION], a->session);
	num(&c[EPOCH], a->epoch);
	num(&c[BASE], a->base_us);
	num(&c[EVENTS], a->nevents);
	text(&c[STATUS], a->status);
	text(&c[PAUSED], a->paused ? "t" : "f");
	num_opt(&c[OPEN_K], a->open_k >= 0, a->open_k);
	num_opt(&c[CLOSE_K], a->close_k >= 0, a->close_k);
	num_opt(&c[WAKE_GEN], a->release != NULL, a->wake_gen);
	text(&c[KEEP], a->release != NULL && strcmp(a->release, "keep") == 0 ? "t" : "f");
	num(&c[CONTEXT_BYTES], a->context_bytes);
	num_opt(&c[TOKEN_NANO], !a->unpriced, a->token_nano);
	text(&c[READY], ready);
	for (int i = 0; i < COST_CLASSES; i++) {
		num(&c[TOKENS], a->tokens_known ? a->tokens[i] : 0);
		num(&c[RATES], a->rates.known ? a->rates.token[i] : -1);
		if (a->tokens_known && a->tokens[i] > 0)
			put_meter(c, a, o, a->tokens_k, i + 1);
	}
	if (a->close_k >= 0)
		put_meter(c, a, o, a->close_k, CLASS_RUNTIME);
	num(&c[TAKEN_EVENTS], a->ntaken);
	num(&c[TAKEN_BYTES], a->taken_bytes);
	num(&c[TAKEN_WAKES], a->taken_wakes);
	for (int i = 0; i < a->ntaken; i++) {
		num(&c[C_APPEND], o);
		text(&c[C_SESSION], a->session);
		num(&c[C_SEQ], a->taken[i]);
	}
	for (int k = 0; k < a->nevents; k++)
		put_event(c, a, o, k);
}

static enum db_stmt
fill_set(const struct set *set, char **p)
{
	struct buf columns[COLUMNS] = { 0 };

	for (int i = 0; i < set->n; i++) {
		if (set->q->at_hand)
			set->q->at_hand(set->appends[i]);
		put_append(columns, set->appends[i], i + 1);
	}
	for (int i = 0; i < COLUMNS; i++) {
		p[i] = xasprintf("{%s}", columns[i].len > 0 ? columns[i].data : "");
		buf_free(&columns[i]);
	}
	must(COLUMNS == db_stmts[STMT_SESSION_APPEND_MANY].nparams);
	return STMT_SESSION_APPEND_MANY;
}

/* dbq is about to send it: what it is now is what it is. */
static enum db_stmt
fill(void *ctx, char **p)
{
	struct set *set = ctx;

	if (set->q->open == set)
		set->q->open = NULL;
	if (set->n > 1)
		return fill_set(set, p);
	if (set->q->at_hand)
		set->q->at_hand(set->appends[0]);
	return fill_one(set->appends[0], p);
}

static void
on_set(void *ctx, const PGresult *r, const struct err *e)
{
	struct set *set = ctx;
	int64_t v[SET_MAX + 2] = { 0 };

	LIST_REMOVE(set, entry);
	if (set->n > 1 && !e)
		numbers_of(pg_str(r, 0, 0), v, set->n + 2);
	for (int i = 0; i < set->n; i++)
		if (set->n == 1 || (e && e->kind == EK_UNCERTAIN))
			on_one(set->appends[i], r, e);
		else if (e || v[i] == ALONE)
			run_alone(set->q, set->appends[i]);
		else
			answer(set->appends[i], v[i], v[set->n], v[set->n + 1]);
	free(set);
}

/* May it travel with others? session_append_many says what cannot. */
static bool
plain(const struct append *a)
{
	bool counted = false;

	for (int i = 0; i < COST_CLASSES; i++)
		counted = counted || a->tokens[i] > 0;
	return !a->again && !a->troubled && a->ncalls == 0 && a->nclosed == 0 && !a->judge_model && !a->judge_lost &&
	    (a->tokens_k < 0 || (a->tokens_known && counted)) && a->context_bytes >= 0 && a->bytes <= PLAIN_BYTES &&
	    (!a->release || strcmp(a->release, "idle") == 0 || strcmp(a->release, "keep") == 0) && (!a->status || strcmp(a->status, "terminated") != 0);
}

void
append_run(struct appendq *q, struct append *a)
{
	if (!plain(a)) {
		run_alone(q, a);
		return;
	}
	if (!q->open || q->open->n == SET_MAX || q->open->bytes + a->bytes > SET_BYTES) {
		q->open = xcalloc(1, sizeof *q->open);
		q->open->q = q;
		LIST_INSERT_HEAD(&q->sets, q->open, entry);
		dbq_late(q->db, fill, on_set, q->open);
	}
	q->open->appends[q->open->n++] = a;
	q->open->bytes += a->bytes;
}
