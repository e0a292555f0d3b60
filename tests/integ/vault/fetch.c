/* link: workers/egress/probe/fetch.c workers/egress/probe/guard.c */
/*
 * fetch in a network of its own, where the loopback interface has a public address: what a probe's request may be connected to, and that this
 * machine by its own address is not among it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "conf.h"
#include "fetch.h"
#include "xalloc.h"

#define OWN "192.31.7.9"		/* anybody's */
#define PORT 8080

static struct conf conf;
static int listener;
static int requests;

/* Answers whoever sends something; counts them. */
static void *
serve(void *arg)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
	char in[4096];
	int fd;

	(void)arg;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (read(fd, in, sizeof in) > 0 && ++requests > 0)
			(void)!write(fd, reply, sizeof reply - 1);
		close(fd);
	}
	return NULL;
}

static void
up(const char *name, const char *address)
{
	struct ifreq r = { 0 };
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;
	AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
	a->sin_family = AF_INET;
	must(inet_pton(AF_INET, address, &a->sin_addr) == 1 && ioctl(fd, SIOCSIFADDR, &r) == 0);
	r.ifr_flags = IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &r) == 0);
}

static int
start(void **state)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	const int yes = 1;
	struct err e = ERR_INIT;
	pthread_t thread;

	(void)state;
	must(unshare(CLONE_NEWNET) == 0);
	up("lo", "127.0.0.1");
	up("lo:1", OWN);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
	must(bind(listener, (struct sockaddr *)&any, sizeof any) == 0 && listen(listener, 8) == 0);
	must(pthread_create(&thread, NULL, serve, NULL) == 0 && pthread_detach(thread) == 0);
	must(conf_load(&conf, "/dev/null", &e) == 0);
	conf.egress_http = 1;
	return 0;
}

static void
own_address(void **state)
{
	static const struct { const char *allow, *url; bool reached; } cases[] = {
		{ "", "http://" OWN ":8080/", false },			/* public, and ourselves */
		{ "", "http://127.0.0.1:8080/", false },
		{ "", "http://127.1:8080/", false },
		{ "127.0.0.0/8", "http://" OWN ":8080/", false },
		{ "127.0.0.0/8", "http://127.0.0.1:8080/", true },
		{ OWN, "http://" OWN ":8080/", true },
		{ "192.31.7.0/24", "http://" OWN ":8080/", true },
		{ OWN, "http://" OWN ":25/", false },			/* no web server's port */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fetch_ask ask = { .method = "GET", .url = cases[i].url, .ms = 5000 };
		struct fetch_reply r = { 0 };
		struct err e = ERR_INIT;
		struct fetch *f;
		int before = requests;

		snprintf(conf.egress_allow, sizeof conf.egress_allow, "%s", cases[i].allow);
		f = fetch_open(&conf, &e);
		assert_non_null(f);
		fetch_run(f, &ask, &r);
		if ((r.status == 200) != cases[i].reached || r.refused == cases[i].reached || requests - before != cases[i].reached)
			fail_msg("case %zu: status %d, %d requests, %s", i, r.status, requests - before, r.why);
		fetch_reply_free(&r);
		fetch_close(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(own_address) };

	return cmocka_run_group_tests_name("fetch", tests, start, NULL);
}
