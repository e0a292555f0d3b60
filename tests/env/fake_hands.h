/*
 * fake_hands: a stand-in for roost-hands in a thread of the test program, speaking the worker's protocol on a socket of its own.
 *
 * A call of any tool answers "ran <input>"; an input that contains "hold" is held until fake_hands_release() or a cancel; one that
 * contains "fail" is an error result. Results are kept, also for a later epoch, so that a new owner can ask for them. Every request is
 * written down.
 */
#ifndef ROOST_TEST_FAKE_HANDS_H
#define ROOST_TEST_FAKE_HANDS_H

#include <stdbool.h>

struct fake_hands;

/* Listen at path. */
struct fake_hands *fake_hands_start(const char *path);
void fake_hands_stop(struct fake_hands **h);

/* Let held calls finish. */
void fake_hands_release(struct fake_hands *h);
/* Forget every call and result, as a restarted hands has. */
void fake_hands_amnesia(struct fake_hands *h);
/* How many requests of this op (of this session, when not NULL) came so far. */
int fake_hands_count(struct fake_hands *h, const char *op, const char *session);

#endif
