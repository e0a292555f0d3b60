/*
 * check_history: what clients noted while faults struck, against what the database holds now.
 *
 * Files of JSON lines, one per happening, in the order in which the client saw them:
 *   {"op":"ack","session":S,"at":MS,"events":[ID..],"marks":[TEXT..],"once":BOOL}
 *          a send was acknowledged. marks: texts that stand in these events and nowhere else. once: the request carried a key, so that a
 *          second copy is a fault; without a key a retry after a lost reply may leave two (counted, not a fault)
 *   {"op":"fail","session":S,"marks":[TEXT..]}     a send whose outcome the client does not know, or that was refused
 *   {"op":"delete","session":S}                    the session is about to be deleted; without this line one that was acknowledged exists
 *   {"op":"list","session":S,"raw":TEXT}           the body of a reply to a list from the beginning, all types, ascending
 *   {"op":"open","sub":N,"session":S}              a stream was opened
 *   {"op":"base","sub":N,"id":ID}                  newest event of a list asked for after the opening ("": the list was empty)
 *   {"op":"event","sub":N,"raw":TEXT}              the data of one frame
 *   {"op":"end","sub":N}                           the client closed it after everything was quiet: nothing may be missing at its end
 * A stream without an end line was cut; it still may not have holes.
 *
 * Of a session that was deleted and is no longer in the database, what readers saw is compared among them only. Everything is kept in
 * memory: tens of bytes per event seen.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jspan.h"
#include "jx.h"
#include "xalloc.h"

#define BUCKETS 65536
#define EVENTS_PAGE "2000"
#define EVENTS_PAGE_N 2000

struct ack { char id[ID_MAX]; int64_t at_ms; };
struct mark { char *text; bool acked, once; int seen; };
struct seen { char id[ID_MAX]; uint64_t hash, stem; int reader, order; bool on_receipt; };
struct reader { int64_t sub; bool list, ended, based; char base[ID_MAX]; };

struct told {			/* about one session */
	struct told *next;
	char id[ID_MAX];
	struct ack *acks;
	struct mark *marks;
	struct seen *seen;
	struct reader *readers;
	int nacks, nmarks, nseen, nreaders;
	bool acked, deleted;	/* a create or a send was acknowledged; a delete was asked for */
};

struct logged { char id[ID_MAX]; int64_t seq, at_us; uint64_t hash, stem; };	/* by id, sorted */

struct history {
	struct check *ck;
	struct told *buckets[BUCKETS];
	struct told **subs;	/* by number of the stream, within one file */
	int nsubs;
};

static uint64_t
hash(const char *p, size_t n)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 1099511628211u;
	return h;
}

/* Of an event's text before its stamp, which is last. */
static uint64_t
stem_hash(const char *p, size_t n)
{
	static const char stamp[] = ",\"processed_at\":\"2026-11-20T05:37:51.123456Z\"}";

	return hash(p, n >= sizeof stamp - 1 ? n - (sizeof stamp - 1) : n);
}

static void *
grow(void *array, int n, size_t size)
{
	return (n & (n - 1)) == 0 ? xrealloc(array, (n > 0 ? (size_t)n * 2 : 1) * size) : array;
}

/* Room for one more, doubling. */
#define GROW(array, n) ((array) = grow((array), (n), sizeof (array)[0]))	// NOLINT(bugprone-sizeof-expression): also of pointers

static void
copy_id(char out[ID_MAX], const char *id)
{
	snprintf(out, ID_MAX, "%s", id != NULL ? id : "");
}

static struct told *
told_of(struct history *h, const char *session)
{
	struct told **at = &h->buckets[hash(session, strlen(session)) % BUCKETS];

	for (; *at != NULL; at = &(*at)->next)
		if (strcmp((*at)->id, session) == 0)
			return *at;
	*at = xcalloc(1, sizeof **at);
	copy_id((*at)->id, session);
	return *at;
}

/* --- reading the lines ----------------------------------------------------------------------------------------------------- */

static int
reader_add(struct told *t, int64_t sub, bool list)
{
	GROW(t->readers, t->nreaders);
	t->readers[t->nreaders] = (struct reader){ .sub = sub, .list = list };
	return t->nreaders++;
}

/* An event without an id is a preview; one without a stamp waits, and its bytes will change once. */
static void
see(struct history *h, struct told *t, int reader, struct jspan event)
{
	struct jspan id, at;

	if (!jspan_get(event, "id", &id) || !jspan_get(event, "processed_at", &at) || at.n < 6 || id.n < 2)
		return;
	GROW(t->seen, t->nseen);
	t->seen[t->nseen] = (struct seen){ .hash = hash(event.p, event.n), .stem = stem_hash(event.p, event.n), .reader = reader,
	    .order = t->nseen, .on_receipt = jspan_get(event, "type", &at) &&
	    (jspan_is(at, "user.custom_tool_result") || jspan_is(at, "user.interrupt") || jspan_is(at, "session.updated")) };
	snprintf(t->seen[t->nseen++].id, ID_MAX, "%.*s", (int)(id.n - 2), id.p + 1);
	h->ck->nread++;
}

static void
on_ack(struct history *h, struct told *t, const json_t *line)
{
	const json_t *v;
	size_t i;

	t->acked = true;
	json_array_foreach(json_object_get(line, "events"), i, v) {
		GROW(t->acks, t->nacks);
		t->acks[t->nacks].at_ms = jx_int(line, "at", 0);
		copy_id(t->acks[t->nacks++].id, json_string_value(v));
		h->ck->nacked++;
	}
}

static void
on_marks(struct told *t, const json_t *line, bool acked)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(line, "marks"), i, v) {
		GROW(t->marks, t->nmarks);
		t->marks[t->nmarks++] = (struct mark){ .text = xstrdup(json_string_value(v)), .acked = acked, .once = jx_bool(line, "once", 0) };
	}
}

static void
on_list(struct history *h, struct told *t, const char *raw)
{
	struct jspan data, one, doc = { raw, strlen(raw) };
	int reader = reader_add(t, -1, true);
	struct jspan_iter it;

	if (!jspan_get(doc, "data", &data))
		return;
	for (it = jspan_array(data); jspan_next(&it, &one);)
		see(h, t, reader, one);
}

static void
on_open(struct history *h, int64_t sub, struct told *t)
{
	for (; h->nsubs <= sub; h->nsubs++) {
		GROW(h->subs, h->nsubs);
		h->subs[h->nsubs] = NULL;
	}
	h->subs[sub] = t;
	reader_add(t, sub, false);
}

/* The latest stream of this number. */
static int
reader_of(const struct told *t, int64_t sub)
{
	for (int i = t->nreaders; i-- > 0;)
		if (!t->readers[i].list && t->readers[i].sub == sub)
			return i;
	return -1;
}

static int
on_stream(struct history *h, const char *op, const json_t *line)
{
	int64_t sub = jx_int(line, "sub", -1);
	struct told *t = sub >= 0 && sub < h->nsubs ? h->subs[sub] : NULL;
	const char *raw = jx_str(line, "raw");
	int at = t != NULL ? reader_of(t, sub) : -1;

	if (at < 0)
		return -1;
	if (strcmp(op, "event") == 0 && raw != NULL) {
		see(h, t, at, (struct jspan){ raw, strlen(raw) });
	} else if (strcmp(op, "base") == 0) {
		t->readers[at].based = true;
		copy_id(t->readers[at].base, jx_str(line, "id"));
	} else if (strcmp(op, "end") == 0) {
		t->readers[at].ended = true;
	} else {
		return -1;
	}
	return 0;
}

static int
on_line(struct history *h, const json_t *line)
{
	const char *op = jx_str(line, "op"), *session = jx_str(line, "session"), *raw = jx_str(line, "raw");
	int64_t sub = jx_int(line, "sub", -1);

	if (op == NULL)
		return -1;
	if (session == NULL)
		return on_stream(h, op, line);
	if (strcmp(op, "ack") == 0 || strcmp(op, "fail") == 0) {
		if (op[0] == 'a')
			on_ack(h, told_of(h, session), line);
		on_marks(told_of(h, session), line, op[0] == 'a');
	} else if (strcmp(op, "delete") == 0) {
		told_of(h, session)->deleted = true;
	} else if (strcmp(op, "list") == 0 && raw != NULL) {
		on_list(h, told_of(h, session), raw);
	} else if (strcmp(op, "open") == 0 && sub >= 0 && sub < 1 << 20) {
		on_open(h, sub, told_of(h, session));
	} else {
		return -1;
	}
	return 0;
}

static int
read_file(struct history *h, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	AUTO(str) char *text = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	if (f == NULL)
		return err_set(e, EK_INVALID, errno, "%s: %s", path, strerror(errno));
	for (int64_t number = 1; rc == 0 && (n = getline(&text, &cap, f)) > 0; number++) {
		AUTO(json) json_t *line = json_loadb(text, (size_t)n, 0, NULL);

		if (line == NULL && text[n - 1] != '\n')
			break;		/* the last line of a client that was killed */
		if (line == NULL || on_line(h, line) < 0)
			rc = err_set(e, EK_INVALID, 0, "%s:%" PRId64 ": not a line of a history", path, number);
		h->ck->nlines++;
	}
	fclose(f);
	h->nsubs = 0;
	return rc;
}

/* --- the log now ----------------------------------------------------------------------------------------------------------- */

struct now {
	struct logged *log;
	int n;
	int64_t last_seq;
	int64_t flush_us;		/* newest event that flushes what waits; 0: none */
	bool exists;
	PGresult *inbox;
};

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct logged *)a)->id, ((const struct logged *)b)->id);
}

static const struct logged *
find(const struct now *now, const char *id)
{
	struct logged key = { .seq = 0 };

	copy_id(key.id, id);
	return now->n > 0 ? bsearch(&key, now->log, (size_t)now->n, sizeof key, by_id) : NULL;
}

static bool
flushes(const char *type, const char *body)
{
	return strcmp(type, "session.status_terminated") == 0 ||
	    (strcmp(type, "session.status_idle") == 0 && strstr(body, "\"type\":\"retries_exhausted\"") != NULL);
}

static void
take_row(struct now *now, struct told *t, const PGresult *r, int i)
{
	const char *id = pg_str(r, i, 1), *type = pg_str(r, i, 2), *body = pg_str(r, i, 4);

	GROW(now->log, now->n);
	now->log[now->n] = (struct logged){ .seq = pg_int(r, i, 0), .at_us = pg_int(r, i, 3), .hash = hash(body, strlen(body)),
	    .stem = stem_hash(body, strlen(body)) };
	copy_id(now->log[now->n++].id, id);
	now->last_seq = pg_int(r, i, 0);
	if (flushes(type, body))
		now->flush_us = pg_int(r, i, 3);
	if (strcmp(type, "user.message") != 0)
		return;
	for (int k = 0; k < t->nmarks; k++)
		t->marks[k].seen += strstr(body, t->marks[k].text) != NULL;
}

static int
load_now(struct check *ck, struct told *t, struct now *now, struct err *e)
{
	AUTO(pgres) PGresult *row = NULL;
	int n;

	if (DB_RUN(ck->c->db, STMT_CHECK_SESSIONS, &row, e, t->id, "", "1") < 0)
		return -1;
	now->exists = PQntuples(row) > 0;
	if (!now->exists)
		return 0;
	do {
		AUTO(pgres) PGresult *r = NULL;

		if (DB_RUN(ck->c->db, STMT_CHECK_EVENTS, &r, e, t->id, DBN(now->last_seq), EVENTS_PAGE) < 0)
			return -1;
		n = PQntuples(r);
		for (int i = 0; i < n; i++)
			take_row(now, t, r, i);
	} while (n == EVENTS_PAGE_N);
	if (now->n > 0)
		qsort(now->log, (size_t)now->n, sizeof *now->log, by_id);
	return db_run(ck->c->db, STMT_CHECK_INBOX_IDS, 1, (const char *const[]){ t->id }, &now->inbox, e);
}

static bool
waits(const struct now *now, const char *id)
{
	for (int i = 0; i < PQntuples(now->inbox); i++)
		if (strcmp(PQgetvalue(now->inbox, i, 0), id) == 0)
			return true;
	return false;
}

/* --- comparing ------------------------------------------------------------------------------------------------------------- */

static void
compare_acks(struct check *ck, const struct told *t, const struct now *now)
{
	must(t->nacks == 0 || t->acks != NULL);
	for (int i = 0; i < t->nacks; i++) {
		const struct ack *a = &t->acks[i];

		if (find(now, a->id) != NULL || waits(now, a->id))
			continue;
		if (now->flush_us / 1000 >= a->at_ms - 2000 && now->flush_us > 0)
			ck->nflushed++;
		else
			check_fail(ck, CK_ACKED, t->id, "%s was acknowledged and is nowhere", a->id);
	}
}

static void
compare_marks(struct check *ck, const struct told *t)
{
	for (int i = 0; i < t->nmarks; i++) {
		const struct mark *m = &t->marks[i];

		if (m->seen <= 1)
			continue;
		if (m->once)
			check_fail(ck, CK_DOUBLED, t->id, "\"%s\" was sent once with a key and is in the log %d times", m->text, m->seen);
		else
			ck->ndoubled++;
	}
}

/* One reader's events, in the order it got them. Its holes matter where it was there from the first event to the last. */
static void
compare_reader(struct check *ck, const struct told *t, const struct now *now, int reader, int *at)
{
	const struct reader *rd = &t->readers[reader];
	const struct logged *base = rd->based ? find(now, rd->base) : NULL;
	const char *what = rd->list ? "list" : "stream";
	int64_t last = rd->list ? 0 : rd->based ? (base != NULL ? base->seq : 0) : -1, first = -1, floor = 0;

	for (; *at < t->nseen && t->seen[*at].reader == reader; ++*at) {
		const struct seen *s = &t->seen[*at];
		const struct logged *l = find(now, s->id);

		if (l != NULL && l->hash != s->hash && rd->list && s->on_receipt && l->stem == s->stem)
			continue;	/* it waited: lists show when it was received, the log when it was processed (contract 3.1) */
		if (l == NULL || l->hash != s->hash) {
			check_fail(ck, CK_UNCHANGED, t->id, "%s of a %s %s", s->id, what, l == NULL ? "is not in the log" : "reads differently now");
			continue;
		}
		if (l->seq <= floor)
			check_fail(ck, CK_READ_ORDER, t->id, "a %s gave seq %" PRId64 " after %" PRId64, what, l->seq, floor);
		if (first < 0 && last < 0)
			last = l->seq - 1;
		if (l->seq > last + 1)
			check_fail(ck, CK_COMPLETE, t->id, "a %s%s gave seq %" PRId64 ", missing %" PRId64 " to %" PRId64, what,
			    rd->list ? "" : first < 0 ? " (from its opening)" : "", l->seq, last + 1, l->seq - 1);
		first = first < 0 ? l->seq : first;
		floor = l->seq;
		last = l->seq > last ? l->seq : last;
	}
	if (rd->ended && last >= 0 && last < now->last_seq)
		check_fail(ck, CK_COMPLETE, t->id, "a stream that was open at the end stands at seq %" PRId64 " of %" PRId64, last, now->last_seq);
}

static int
by_reader(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->reader != y->reader ? (x->reader > y->reader) - (x->reader < y->reader) : (x->order > y->order) - (x->order < y->order);
}

static int
by_event(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->id, ((const struct seen *)b)->id);
}

/* It is not there, rightly or not: the readers among themselves. */
static void
compare_readers(struct check *ck, struct told *t)
{
	if (t->nseen > 0)
		qsort(t->seen, (size_t)t->nseen, sizeof *t->seen, by_event);
	for (int i = 1; i < t->nseen; i++)
		if (by_event(&t->seen[i - 1], &t->seen[i]) == 0 &&
		    (t->seen[i].on_receipt ? t->seen[i - 1].stem != t->seen[i].stem : t->seen[i - 1].hash != t->seen[i].hash))
			check_fail(ck, CK_UNCHANGED, t->id, "two readers saw %s with different bytes", t->seen[i].id);
}

static int
compare(struct check *ck, struct told *t, struct err *e)
{
	struct now now = { .log = NULL };
	int rc = load_now(ck, t, &now, e);

	ck->nreaders += t->nreaders;
	if (rc == 0 && !now.exists) {
		if (t->acked && !t->deleted)
			check_fail(ck, CK_ACKED, t->id, "the session, with %d events, was acknowledged and is nowhere", t->nacks);
		compare_readers(ck, t);
	} else if (rc == 0) {
		compare_acks(ck, t, &now);
		compare_marks(ck, t);
		if (t->nseen > 0)
			qsort(t->seen, (size_t)t->nseen, sizeof *t->seen, by_reader);
		for (int i = 0, at = 0; i < t->nreaders; i++)
			compare_reader(ck, t, &now, i, &at);
	}
	free(now.log);
	PQclear(now.inbox);
	return rc;
}

static void
told_free(struct told *t)
{
	for (int i = 0; i < t->nmarks; i++)
		free(t->marks[i].text);
	free(t->acks);
	free(t->marks);
	free(t->seen);
	free(t->readers);
	free(t);
}

int
check_history(struct check *ck, int nfiles, char **files, struct err *e)
{
	struct history *h = xcalloc(1, sizeof *h);
	int rc = 0;

	h->ck = ck;
	for (int i = 0; i < nfiles && rc == 0; i++)
		rc = read_file(h, files[i], e);
	for (int i = 0; i < BUCKETS; i++)
		for (struct told *t = h->buckets[i], *next; t != NULL; t = next) {
			next = t->next;
			if (rc == 0 && (ck->session == NULL || strcmp(ck->session, t->id) == 0))
				rc = compare(ck, t, e);
			told_free(t);
		}
	free(h->subs);
	free(h);
	return rc;
}
