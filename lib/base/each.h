/*
 * each: a unix socket whose connections get a process each. The listener accepts, looks who it is, starts the program with the connection
 * as descriptor 3, and forgets about it: it never reads a byte, holds no secret and links nothing, so it is small and stays well.
 *
 * What the program keeps in memory (a key, a token, a parser of hostile bytes) lives as long as one connection.
 */
#ifndef ROOST_BASE_EACH_H
#define ROOST_BASE_EACH_H

#include <stdint.h>

#define EACH_FD 3	/* the connection, in the program */

struct each {
	const char *socket;		/* where, mode 0660, with the group of its folder */
	const char *users;		/* names of the system users that are served, separated by spaces; others are closed at once */
	const char *program;		/* file name beside our own program */
	const char *conf_path;		/* handed to it as -c */
	int64_t max;			/* how many at a time; beyond, the answer is the frame {"error":"OVERLOADED"} (ask.h) */
	int64_t seconds;		/* a program that runs longer is killed */
};

/*
 * Serve until SIGTERM or SIGINT, also who has connected by then, then wait for the programs under way, at most a few seconds. Returns the exit status. Logs refusals, and
 * programs that were killed or failed. A program dies with the listener.
 */
int each_run(const struct each *s);

#endif
