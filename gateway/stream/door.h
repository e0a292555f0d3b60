/*
 * door: threads that accept stream requests with libfcgi, check them, answer the refused ones, and hand the others to the hub.
 */
#ifndef ROOST_STREAM_DOOR_H
#define ROOST_STREAM_DOOR_H

#include "auth.h"
#include "conf.h"
#include "hub.h"

struct doors;

/* Start conf.threads threads accepting from listen_fd (borrowed). Call after FCGX_Init(), with signals blocked. */
struct doors *doors_open(const struct conf *c, struct auth *auth, struct hub *hub, int listen_fd);

/* Accept no more: every thread ends when its request is done, at the latest after the database timeout. */
void doors_shut(struct doors *d);

#endif
