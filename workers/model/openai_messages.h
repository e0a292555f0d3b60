/*
 * openai_messages: the conversation of a Chat Completions request: tools and messages (adapter.h: tail, forget).
 *
 * Pure but for the files that blocks name, which are read from the blob store into the request (filesrc.h). Appends to out.
 */
#ifndef ROOST_WORKERS_MODEL_OPENAI_MESSAGES_H
#define ROOST_WORKERS_MODEL_OPENAI_MESSAGES_H

#include "buf.h"
#include "model.h"

void openai_tail(struct buf *out, const struct model_request *rq);

/* A tail again, documents as words that they are there: many servers know no file parts. */
void openai_forget(struct buf *out, const struct buf *whole);

#endif
