/*
 * entry: the one place that knows the fields of the Redis streams of bus.h: builds the XADD commands and reads entries back.
 */
#ifndef ROOST_BUS_ENTRY_H
#define ROOST_BUS_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#define ENTRY_ARGS 16

/* A Redis command: arguments are borrowed from the caller, `num` holds a printed sequence number. */
struct entry_cmd {
	int argc;
	const char *argv[ENTRY_ARGS];
	size_t len[ENTRY_ARGS];
	char num[24], mark[48];
};

/* XADD to BUS_JOBS. owner may be NULL. */
void entry_job_cmd(struct entry_cmd *c, const char *session, const char *owner);

/*
 * XADD to BUS_SSE. body of len bytes; over BUS_BODY_MAX an empty one is sent and the hub reads the log. seq 0: a preview; over
 * BUS_PREVIEW_MAX an empty one is sent, which cuts the session's open previews.
 */
void entry_event_cmd(struct entry_cmd *c, const char *session, const char *type, int64_t seq, const char *body, size_t len);

/* Number a preview: the writer's number'th, counted over all sessions and over those that could not be sent. writer is not 0. */
void entry_mark(struct entry_cmd *c, uint64_t writer, int64_t number);

/* One field of an entry that was read. Values are NUL-terminated; the length is there because bodies are long. */
struct busq_field { const char *key, *val; size_t len; };

struct entry_job { const char *session, *owner; };		/* owner NULL: for any worker */

/*
 * seq 0: a preview; len 0: it cuts. Otherwise len 0: the body is in the log only. writer 0: the preview has no number. Everything is
 * borrowed from the fields.
 */
struct entry_event { const char *session, *type, *body; size_t len; int64_t seq, number; uint64_t writer; };

/* 0, or -1 when the entry is not one of this kind (then it is skipped: Redis decides nothing). */
int entry_job_read(const struct busq_field *f, int n, struct entry_job *out);
int entry_event_read(const struct busq_field *f, int n, struct entry_event *out);

#endif
