/*
 * anthropic_stream: the stream of a Messages API reply, event by event (adapter.h: event, end).
 *
 * Everything that comes is untrusted: depth, counts and sizes are bounded, nonsense fails the request. Both return an ADAPTER_ code and
 * have filled d->failure when it is ADAPTER_FAILED.
 */
#ifndef ROOST_WORKERS_MODEL_ANTHROPIC_STREAM_H
#define ROOST_WORKERS_MODEL_ANTHROPIC_STREAM_H

#include <stddef.h>

#include "adapter.h"

/* data: one event's, NUL-terminated at len. name, its event line, is not looked at. */
int anthropic_event(struct decode *d, const char *name, const char *data, size_t len);
/* The stream has ended without message_stop: ADAPTER_FAILED. */
int anthropic_end(struct decode *d);

#endif
