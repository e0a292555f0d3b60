/*
 * filesrc: content that stands in the blob store: a block whose source is {"type":"blob","blob","media_type","size","file_id","name"}, as the
 * gateway leaves it in what the model sees. Its bytes are read when a request is written and are nowhere else: not in the log, not in the
 * context that is kept between turns.
 *
 * A file that is gone, was deleted while a copy of it lives on, or has no place in the request, is replaced by words that say so: the conversation goes on.
 */
#ifndef ROOST_WORKERS_MODEL_FILESRC_H
#define ROOST_WORKERS_MODEL_FILESRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "jspan.h"

#define FILESRC_REQUEST_MAX (24ll << 20)	/* bytes of files in one request: 32 MB when encoded */

/* Could this text hold such a source? Quick; may say yes in vain. */
bool filesrc_maybe(const char *text, size_t len);

enum filesrc_kind { FILESRC_IMAGE, FILESRC_PDF, FILESRC_TEXT, FILESRC_OTHER };

/* Spans are borrowed from the block. */
struct filesrc {
	enum filesrc_kind kind;
	char blob[33];
	int64_t size;
	struct jspan media_type, file_id, name;	/* strings with their quotes */
};

/* Is this an image or document block with such a source? */
bool filesrc_of(struct jspan block, struct filesrc *out);

/* What one request may take: the latest files first, so that what the user has just sent is not left out for something older. */
struct filesrc_room {
	const char *dir;	/* blob_dir; NULL or "": there is no store */
	const char *there;	/* ids of the files that have not been deleted, each between commas (",a,b,"); NULL: all of them */
	int64_t left;
	size_t skip;		/* so many files, the oldest, have no room */
};

/* The room of a request with these blocks, in order; `files` says which of them may hold some. */
struct context_block;
void filesrc_room_init(struct filesrc_room *room, const char *dir, const char *there, const struct context_block *blocks, size_t n);

/*
 * Append the file to out: base64 (encode), or as the inside of a JSON string. false: nothing was appended, and *why says in a few words what
 * is wrong.
 */
bool filesrc_put(struct buf *out, struct filesrc_room *room, const struct filesrc *f, bool encode, const char **why);

/* Append the words that stand for a file that is left out, as the inside of a JSON string. */
void filesrc_put_note(struct buf *out, const struct filesrc *f, const char *why);

/* Call one() with the id of each file of this text, in order: a JSON string with its quotes. May call it for what is no file's in fact. */
void filesrc_ids(const char *text, size_t len, void (*one)(void *ctx, struct jspan file_id), void *ctx);

/* About how many tokens the files of this text are, as far as they are read for a request. */
int64_t filesrc_tokens(const char *text, size_t len);

#endif
