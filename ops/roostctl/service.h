/* service: what the supervisor says about each process of this instance, read from the files it keeps. */
#ifndef ROOST_OPS_SERVICE_H
#define ROOST_OPS_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "err.h"

#define SERVICES_MAX 256

struct service {
	char name[64];
	char state[16];		/* run, down, finish; "unknown" when its supervisor is not there */
	int pid;		/* 0: none */
	int64_t seconds;	/* since it was started */
};

/* All services of the instance, sorted by name. Returns how many, or -1 (the instance is not up, or no right to look). */
int service_list(const struct conf *c, struct service out[SERVICES_MAX], struct err *e);

/* Run a program with these arguments (argv[0] is looked up in PATH), stdout and stderr into out (cut, NUL-terminated). Its exit
 * status, or -1 when it could not be run. At most seconds long. */
int service_capture(const char *const *argv, int seconds, char *out, int size);

/* Ask roost-hands for its status: the reply's JSON into out. */
int service_hands(const struct conf *c, char *out, int size, struct err *e);

/* Can one connect to this unix socket? */
int service_connect(const char *path, int timeout_ms, struct err *e);

#endif
