/*
 * publish: outputs of a session become its files (contract 4.6). roost-hands has copied them into the blob store and offers them until it
 * is told that they are published; here each becomes a row, once (session_output_put recognises a repeat).
 *
 * It goes on after the session was given back: nothing of a turn waits for it. What is lost here by a crash is offered again, to any worker.
 */
#ifndef ROOST_HARNESS_PUBLISH_H
#define ROOST_HARNESS_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "harness.h"

/* The session stops running: pause its sandbox and publish what it put out. destroy: it ended for good, the sandbox goes afterwards. */
void publish_pause(struct wk *wk, const char *session, int64_t epoch, bool destroy);
/* Now and then: publish what hands offers and nobody seems to take care of. */
void publish_look(struct wk *wk);
/* The process leaves, and nothing answers any more: forget what is under way. */
void publish_close(struct wk *wk);

#endif
