/*
 * once: see once.h. One outer transaction (db.h) per attempt:
 *
 *   BEGIN, "has an earlier attempt been answered?", the handler's statements ..., its last one, keep the answer, COMMIT
 *
 * in as many round trips as the handler has alone when its reply is complete at its commit, else one more. The question takes the call's
 * lock, so that of attempts that arrive together one works and the others wait for its answer. By content alone (kind plain) a first
 * attempt asks nothing; a retry asks before and, under the lock, again at its end.
 *
 * A crash before the COMMIT leaves nothing, after it both effect and answer. A COMMIT whose outcome is unknown is settled by asking for
 * the row that it would have left; while Postgres cannot be asked the client gets a 503, and its retry finds the row. A transaction that
 * Postgres took back for another's sake (EK_UNDONE) is run again here, at most twice; a body too large to be kept for it is the client's.
 */
#include "once.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "after.h"
#include "again.h"
#include "clock.h"
#include "create.h"
#include "conns.h"
#include "log.h"
#include "replay.h"
#include "route.h"
#include "together.h"
#include "xalloc.h"

#define SWEEP_MS 1000
#define SWEEP_SOON_MS 100		/* after one that found more than it took */
#define SWEEP_ROWS 500

struct once {
	struct gw_req *r;
	const struct dedupe_id *id;
	struct dedupe_step enter, store;
};

static int64_t
keep_s(const struct conf *c, enum dedupe_kind kind)
{
	return kind == DEDUPE_KEY ? c->dedupe_key_s : kind == DEDUPE_TRACE ? c->dedupe_trace_s : c->dedupe_plain_s;
}

/* The id of what a reply shows: its first member of that name. */
static const char *
object_of(struct gw_req *r)
{
	const char *p = strstr(r->out.data, "\"id\":\"");

	return p ? arena_strndup(r->arena, p + 6, strcspn(p + 6, "\"")) : NULL;
}

/* db_outer's question at a commit: a reply that is complete is kept now, another one when the handler is done. */
static bool
store(void *arg, struct db_step *out)
{
	struct once *o = arg;
	struct gw_req *r = o->r;
	struct dedupe_kept kept = { .status = r->status };

	if (r->out.len == 0)
		return false;
	if (r->sent.len > 0) {
		kept.events = r->sent.data;
	} else {
		kept.object = strcmp(r->route->method, "DELETE") == 0 ? NULL : object_of(r);
		kept.reply = r->out.len <= (size_t)r->conf->dedupe_reply_bytes || !kept.object ? r->out.data : NULL;
	}
	dedupe_store_step(&o->store, o->id, &kept, keep_s(r->conf, o->id->kind));
	*out = o->store.step;
	return true;
}

/*
 * Has the answer's client read it? Its connection carried another request, or its caller has named what it made: unless this call names the
 * object itself, and so every attempt of it does.
 */
static bool
was_read(const struct once *o, const struct dedupe_kept *kept)
{
	const struct gw_req *r = o->r;

	if (conns_went_on(r->conns, kept->connection))
		return true;
	for (int i = 0; kept->object && i < REQ_PARAMS; i++)
		if (r->param[i] && strcmp(r->param[i], kept->object) == 0)
			return false;
	return kept->object && conns_was_named(r->conns, r->who.key_id, kept->object);
}

/* Ask alone. Returns 1 with the answer replayed, 0 when there is none, or -1. */
static int
ask(struct once *o, struct err *e)
{
	for (;;) {
		AUTO(pgres) PGresult *res = NULL;
		struct dedupe_kept kept;
		bool same;

		if (dedupe_find(o->r->db, o->id, &res, e) < 0)
			return -1;
		if (PQntuples(res) == 0)
			return 0;
		dedupe_row(res, o->id, &kept, &same);
		/* by content alone: an answer that has been read was not lost, so this is no retry of that call */
		if (o->id->kind != DEDUPE_PLAIN || strcmp(kept.request, o->id->request) == 0 || !was_read(o, &kept))
			return replay_answer(o->r, o->id, res, e) < 0 ? -1 : 1;
		if (dedupe_delivered(o->r->db, o->id, kept.request, e) < 0)
			return -1;
	}
}

/* --- run -------------------------------------------------------------------------------------------------------------------- */

static int
busy(struct err *e)
{
	err_clear(e);
	return err_set(e, EK_BUSY, 0, "Another attempt of this request is still under way; try again.");
}

/* The COMMIT was sent and its outcome is not known: the row says it. *out_replayed only when it is there. */
static int
settle(struct once *o, bool *out_replayed, struct err *e)
{
	struct err again = ERR_INIT;
	int rc = ask(o, &again);

	if (rc > 0) {
		err_clear(e);
		*out_replayed = true;
		return 0;
	}
	if (rc == 0) {
		e->kind = EK_UNAVAILABLE;
		return err_wrap(e, "not committed so far");
	}
	return err_wrap(e, "outcome unknown: %s", again.detail);
}

/*
 * The same without anything that tells attempts apart, and so without a row: what was made is looked for itself. Only what has an id of its
 * own that the reply shows, which was complete before the COMMIT: sent events and new objects.
 */
static int
settle_bare(struct once *o, struct err *e)
{
	struct gw_req *r = o->r;
	AUTO(str) char *reply = r->out.len > 0 ? xstrdup(r->out.data) : NULL;
	const char *object = reply ? object_of(r) : NULL;
	struct err again = ERR_INIT;
	int rc;

	if (!object || strcmp(r->route->method, "POST") != 0 || (r->sent.len == 0 && strchr(r->route->path, '{')))
		return -1;
	buf_reset(&r->out);
	rc = replay_exists(r, object, &again);
	if (rc > 0 && !create_stamped(r, reply))
		return err_clear(e);	/* the object itself says when it was made */
	buf_reset(&r->out);
	if (rc > 0) {
		buf_str(&r->out, reply);
		return err_clear(e);
	}
	if (rc < 0)
		return err_wrap(e, "outcome unknown: %s", again.detail);
	e->kind = EK_UNAVAILABLE;
	return err_wrap(e, "not committed so far");
}

static bool
plain_retry(const struct dedupe_id *id)
{
	return id->kind == DEDUPE_PLAIN && id->count > 0;
}

int
once_may_send(const struct dedupe_id *id)
{
	if (id->kind == DEDUPE_NONE)
		return INT_MAX;
	return id->kind == DEDUPE_PLAIN && id->count == 0 ? 1 : 0;	/* such an attempt asks nothing; its answer is kept with its message */
}

/* The handler has left a message to be sent: its answer, which is complete, is kept with it. */
static void
keep_later(const struct once *o)
{
	struct gw_req *r = o->r;
	struct dedupe_step *step = arena_alloc(r->arena, sizeof *step);
	struct dedupe_id *id = arena_alloc(r->arena, sizeof *id);
	const struct dedupe_kept kept = { .status = r->status, .events = r->sent.data };

	*id = *o->id;
	id->request = arena_strdup(r->arena, r->id);
	dedupe_store_step(step, id, &kept, keep_s(r->conf, id->kind));
	r->later->id = id;
	r->later->send.kept = step->params;
}

/* The same of a new object. */
static void
keep_write(const struct once *o)
{
	struct gw_req *r = o->r;
	struct dedupe_made *made = arena_alloc(r->arena, sizeof *made);
	struct dedupe_id *id = arena_alloc(r->arena, sizeof *id);

	*id = *o->id;
	id->request = arena_strdup(r->arena, r->id);
	dedupe_made_params(made, id, r->out.len <= (size_t)r->conf->dedupe_reply_bytes ? create_pieces(r) : NULL, keep_s(r->conf, id->kind),
	    r->write->kept);
	r->write->id = id;
	r->write->write.lock = id->lock;
}

/* run: the handler, or, of one that left a message, its rest. */
static int
run_around(struct once *o, gw_handler *run, bool *out_replayed, struct err *e)
{
	struct gw_req *r = o->r;
	bool first = !r->later && !r->write;
	struct db_outer outer = { .last = store, .arg = o };
	int rc;

	if (o->id->kind != DEDUPE_PLAIN) {
		dedupe_enter_step(&o->enter, o->id);
		outer.first = &o->enter.step;
	}
	db_outer_begin(r->db, &outer);
	rc = run(r, e);
	if (rc == 0 && first && (r->later || r->write)) {
		db_outer_drop(r->db);
		if (r->later)
			keep_later(o);
		else
			keep_write(o);
		return 0;
	}
	if (rc == 0)
		rc = db_outer_end(r->db, e);
	else
		db_outer_drop(r->db);
	if (outer.hit && PQntuples(outer.hit) > 0) {
		r->after = NULL;
		*out_replayed = true;
		rc = replay_answer(r, o->id, outer.hit, e);
	} else if (rc < 0 && outer.refused && e->kind == EK_TIMEOUT) {
		rc = busy(e);
	} else if (rc < 0 && e->kind == EK_UNCERTAIN) {
		rc = settle(o, out_replayed, e);
	} else if (rc < 0 && e->kind == EK_CONFLICT && plain_retry(o->id)) {
		struct err again = ERR_INIT;
		int found = ask(o, &again);

		*out_replayed = found > 0;
		if (found > 0)
			rc = err_clear(e);
		else if (found == 0)
			rc = busy(e);		/* an equal call was answered meanwhile, whose client has read it */
	}
	PQclear(outer.hit);
	if (rc < 0)
		r->after = NULL;
	return rc;
}

/* A handler without anything that tells attempts apart has returned rc. What has something to be told has committed something. */
static int
run_bare(struct once *o, int rc, struct err *e)
{
	if (rc < 0 && e->kind == EK_UNCERTAIN)
		rc = settle_bare(o, e);
	if (rc < 0 && e->kind == EK_UNDONE && o->r->after)
		e->kind = EK_UNAVAILABLE;
	if (rc < 0)
		o->r->after = NULL;
	return rc;
}

static int
run_once(struct once *o, bool *out_replayed, struct err *e)
{
	struct gw_req *r = o->r;
	int rc;

	*out_replayed = false;
	if (o->id->kind == DEDUPE_NONE)
		return run_bare(o, r->route->handler(r, e), e);
	if (plain_retry(o->id) && (rc = ask(o, e)) != 0) {
		*out_replayed = rc > 0;
		return rc > 0 ? 0 : e->kind == EK_TIMEOUT ? busy(e) : -1;
	}
	return run_around(o, r->route->handler, out_replayed, e);
}

/* The handler has been run, in some way, and said rc: again as long as that is of use. */
static int
while_undone(struct once *o, int rc, bool *out_replayed, struct err *e)
{
	for (int runs = 1; rc < 0 && again(o->r, runs, e); runs++)
		rc = run_once(o, out_replayed, e);
	return rc;
}

int
once_sent(struct gw_req *r, struct err *e)
{
	const struct dedupe_id none = { .kind = DEDUPE_NONE };
	struct once o = { .r = r, .id = r->write ? r->write->id : r->later->id };
	gw_handler *rest = r->write ? r->write->written : r->later->sent;
	int rc = o.id ? run_around(&o, rest, &r->replayed, e) : run_bare(&o, rest(r, e), e);

	o.id = o.id ? o.id : &none;
	r->may_send = 0;
	r->may_write = false;
	return while_undone(&o, rc, &r->replayed, e);
}

int
once_run(struct gw_req *r, const struct dedupe_id *id, bool *out_replayed, struct err *e)
{
	struct once o = { .r = r, .id = id };
	int rc = while_undone(&o, run_once(&o, out_replayed, e), out_replayed, e);

	after_tell(r);
	return rc;
}

void
once_sweep(struct db *db)
{
	static atomic_llong next_ms;
	long long due = atomic_load(&next_ms), now = clock_mono_ms();
	struct err e = ERR_INIT;
	int64_t n = 0;

	if (now < due || !atomic_compare_exchange_strong(&next_ms, &due, now + SWEEP_MS))
		return;
	if (dedupe_sweep(db, SWEEP_ROWS, &n, &e) < 0)
		log_err("sweep", &e, NULL);
	else if (n == SWEEP_ROWS)
		atomic_store(&next_ms, now + SWEEP_SOON_MS);
}
