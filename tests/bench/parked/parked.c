/*
 * parked SOCKET THREADS: the least that a FastCGI process behind nginx can do, as the floor of what the gateway does: the gateway's own
 * dispatch (gateway/park.c) and an answer of two bytes. No key, no log, no request id, no body. Runs until it is killed.
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "park.h"
#include "xalloc.h"

static struct park *park;

static bool
answer(void *arg, FCGX_Request *fcgi)
{
	static const char reply[] = "Status: 200\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

	FCGX_PutStr(reply, sizeof reply - 1, fcgi->out);
	return true;
}

static void
rest(void *arg, bool idle)
{
}

static void *
serve(void *arg)
{
	park_run(park, answer, rest, NULL);
	return NULL;
}

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	pthread_t t;

	must(FCGX_Init() == 0);
	park = argc == 3 ? park_open(argv[1], "", &e) : NULL;
	if (!park) {
		fprintf(stderr, "usage: parked SOCKET THREADS: %s\n", e.pub);
		return 1;
	}
	for (int i = 0; i < atoi(argv[2]); i++)
		must(pthread_create(&t, NULL, serve, NULL) == 0);
	for (;;)
		pause();
}
