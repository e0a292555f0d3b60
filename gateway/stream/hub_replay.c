/*
 * hub_replay: see hub_replay.h. Pieces are STMT_STREAM_REPLAY (sql/stmts/stream.sql), which bounds them in rows and bytes.
 *
 * Promises: never blocks; a subscriber gets each event above its `seen` once and in order, and is handed over when it has what the log
 * is known to hold, so that there is neither a gap nor a duplicate to what it follows from then on. Memory: at most READS_MAX pieces,
 * and one piece beside the queue's bound for each subscriber. While Postgres is away it waits and tries again each second. The end of
 * the session in the log ends the stream, as it would have live.
 */
#include "hub_replay.h"

#include <stdlib.h>
#include <string.h>

#include "dbq.h"
#include "failpoint.h"
#include "hub_frame.h"
#include "log.h"
#include "xalloc.h"

#define READS_MAX 4
#define RETRY_MS 1000

struct hub_replay_read {
	struct hub_replay *r;
	struct hub_sub *sub;		/* NULL: it was freed meanwhile */
};

struct hub_replay {
	struct loop *loop;
	const struct conf *conf;
	struct hub_io *io;
	struct dbq *db;			/* opened when it is first needed: most hubs replay rarely */
	void (*live)(void *ctx, struct hub_sub *s);
	void *ctx;
	TAILQ_HEAD(, hub_sub) queue;
	int reading;
	struct loop_timer *pause;	/* a read has failed: none until it fires */
};

static void pump(struct hub_replay *r);

static void
enqueue(struct hub_replay *r, struct hub_sub *s)
{
	s->replay = REPLAY_QUEUED;
	TAILQ_INSERT_TAIL(&r->queue, s, replays);
}

static void
on_pause(void *ctx)
{
	struct hub_replay *r = ctx;

	r->pause = NULL;
	pump(r);
}

static void
caught_up(struct hub_replay *r, struct hub_sub *s)
{
	s->replay = REPLAY_NONE;
	r->live(r->ctx, s);
}

/* Add the events that come next for this subscriber. Is the last one the session's end? */
static bool
put_rows(struct hub_sub *s, const PGresult *res, struct buf *out)
{
	for (int i = 0; i < PQntuples(res); i++) {
		const struct hub_event ev = { pg_int(res, i, 0), pg_str(res, i, 1), pg_str(res, i, 2), (size_t)PQgetlength(res, i, 2) };
		struct hub_frame f;
		struct buf *records;

		if (ev.seq != s->seen + 1)	/* the log has no gaps */
			return false;
		hub_frame_init(&f, &ev, 1);
		records = hub_frame_bytes(&f, s->as_message);
		buf_put(out, records->data, records->len);
		hub_frame_free(&f);
		s->seen = ev.seq;
		if (strcmp(ev.type, HUB_LAST_EVENT) == 0)
			return true;
	}
	return false;
}

static void
send_piece(struct hub_replay *r, struct hub_sub *s, const PGresult *res)
{
	AUTO(buf) struct buf piece = BUF_INIT(0);
	int64_t before = s->seen;
	bool last = put_rows(s, res, &piece);

	if (piece.len > 0)
		hub_io_write(s, &piece);
	if (!hub_sub_live(s))
		return;
	if (last)
		hub_io_end(s);
	else if (s->seen >= s->watch->known || s->seen == before)	/* no progress: the session is gone, which the round finds */
		caught_up(r, s);
	else if (s->out.len == 0)
		enqueue(r, s);
	else {
		s->replay = REPLAY_UNREAD;
		hub_io_choke(s);
	}
}

static void
on_piece(void *ctx, const PGresult *res, const struct err *e)
{
	struct hub_replay_read *read = ctx;
	struct hub_replay *r = read->r;
	struct hub_sub *s = read->sub;

	free(read);
	r->reading--;
	if (s)
		s->read = NULL;
	if (e) {
		log_err("replay_failed", e, NULL);
		if (!r->pause)
			r->pause = loop_after(r->loop, RETRY_MS, on_pause, r);
	}
	if (s && e)
		enqueue(r, s);
	else if (s && hub_sub_live(s))
		send_piece(r, s, res);
	pump(r);
	r->io->after(r->io->ctx);
}

/* Read for those who wait, as many as may be read at a time. */
static void
pump(struct hub_replay *r)
{
	struct hub_sub *s;

	while (!r->pause && r->reading < READS_MAX && (s = TAILQ_FIRST(&r->queue))) {
		TAILQ_REMOVE(&r->queue, s, replays);
		s->replay = REPLAY_NONE;
		if (!hub_sub_live(s))
			continue;
		s->replay = REPLAY_READING;
		s->read = xcalloc(1, sizeof *s->read);
		*s->read = (struct hub_replay_read){ r, s };
		r->reading++;
		FAILPOINT(HUB_FETCH);
		if (!r->db)
			r->db = dbq_new(r->loop, r->conf->pg_dsn, DB_STREAM, (int)r->conf->pg_timeout_ms);
		DBQ_RUN(r->db, STMT_STREAM_REPLAY, on_piece, s->read, s->watch->session, DBN(s->seen));
	}
}

void
hub_replay_start(struct hub_replay *r, struct hub_sub *s)
{
	must(s->replay == REPLAY_NONE || s->replay == REPLAY_UNREAD);
	enqueue(r, s);
	pump(r);
}

void
hub_replay_forget(struct hub_replay *r, struct hub_sub *s)
{
	if (s->replay == REPLAY_QUEUED)
		TAILQ_REMOVE(&r->queue, s, replays);
	if (s->read)
		s->read->sub = NULL;
	s->replay = REPLAY_NONE;
	s->read = NULL;
}

struct hub_replay *
hub_replay_new(struct loop *loop, const struct conf *c, struct hub_io *io, void (*live)(void *ctx, struct hub_sub *s), void *ctx)
{
	struct hub_replay *r = xcalloc(1, sizeof *r);

	r->loop = loop;
	r->conf = c;
	r->io = io;
	r->live = live;
	r->ctx = ctx;
	TAILQ_INIT(&r->queue);
	return r;
}

void
hub_replay_free(struct hub_replay **rp)
{
	struct hub_replay *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	loop_cancel(r->loop, &r->pause);
	dbq_free(&r->db);
	free(r);
}
