/*
 * listen: `roostctl listen MS ADDRESS... -- PROGRAM ARGUMENT...`: opens nginx's listening sockets and becomes nginx, so that its clients'
 * connections end when the client acknowledges nothing for MS milliseconds.
 *
 * A client that vanished without a word (no FIN, no RST) has data on the way to it all the time, because a stream is pinged. TCP keepalive
 * does not count then; what counts are retransmissions, a quarter of an hour of them by default, or TCP_USER_TIMEOUT. nginx 1.22 cannot set
 * that, but Linux gives a listening socket's to each connection that it accepts, and nginx takes listening sockets over by the variable
 * NGINX, as from its own older self. It compares addresses with those in its configuration: one that is not here it opens itself, without
 * the limit; one that is only here it closes.
 *
 * ADDRESS: 127.0.0.1:8443 or [::1]:8443. An address in use is tried again for some seconds (an nginx that has just been killed). Fails when
 * it stays in use or is no address of this machine: the supervisor tries again.
 */
#include "ctl.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"

enum { TRIES = 30, TRY_MS = 100, BACKLOG = 511 };	/* nginx sets its own backlog */

/* The parts of ADDRESS; text is cut. */
static int
split(char *text, const char **host, const char **port)
{
	char *colon = strrchr(text, ':'), *end = colon ? colon - 1 : NULL;

	if (!colon || colon == text)
		return -1;
	*colon = '\0';
	*host = text;
	*port = colon + 1;
	if (text[0] == '[' && end > text && *end == ']') {
		*end = '\0';
		*host = text + 1;
	}
	return 0;
}

static int
bound(const struct addrinfo *at, int ms, struct err *e)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000L };
	const int on = 1;
	AUTO(fd) int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);	/* nginx inherits it as it is */
	int rc = -1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (at->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) < 0)
		return err_set(e, EK_UNAVAILABLE, errno, "socket: %s", strerror(errno));
	for (int i = 0; i < TRIES && (rc = bind(fd, at->ai_addr, at->ai_addrlen)) < 0 && errno == EADDRINUSE; i++)
		(void)nanosleep(&pause, NULL);
	if (rc < 0 || listen(fd, BACKLOG) < 0)
		return err_set(e, EK_UNAVAILABLE, errno, "%s", strerror(errno));
	return steal_fd(fd);
}

static int
open_address(const char *address, int ms, struct err *e)
{
	static const struct addrinfo numeric = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	const char *host, *port;
	struct addrinfo *at = NULL;
	char text[80];
	int fd;

	if ((size_t)snprintf(text, sizeof(text), "%s", address) >= sizeof(text) || split(text, &host, &port) < 0 ||
	    getaddrinfo(host, port, &numeric, &at) != 0)
		return err_set(e, EK_INVALID, 0, "%s is not ADDRESS:PORT", address);
	fd = bound(at, ms, e);
	freeaddrinfo(at);
	return fd;
}

int
cmd_listen(struct ctl *c, int argc, char **argv)
{
	int ms = argc > 1 ? atoi(argv[1]) : 0, i = 2;
	AUTO(buf) struct buf inherit = BUF_INIT(0);
	struct err e = ERR_INIT;

	(void)c;
	for (; ms > 0 && i < argc && strcmp(argv[i], "--") != 0; i++) {
		int fd = open_address(argv[i], ms, &e);

		if (fd < 0)
			return ctl_fail(argv[i], &e);
		buf_printf(&inherit, "%d;", fd);	/* which the program inherits */
	}
	if (ms <= 0 || i == 2 || i + 1 >= argc)
		return CTL_USAGE;
	if (setenv("NGINX", inherit.data, 1) < 0 || execvp(argv[i + 1], argv + i + 1) < 0)
		fprintf(stderr, "roostctl: %s: %s\n", argv[i + 1], strerror(errno));
	return CTL_FAILED;
}
