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
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../env/child.h"
#include "cleanup.h"
#include "clock.h"
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
	must(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
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

/* A server of openssl's with a certificate for this address only. Its pid. */
static pid_t
tls_server(const char *dir, const char *subject, int port)
{
	AUTO(str) char *make = xasprintf("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -addext subjectAltName=%s"
	    " -keyout %s/%d.key -out %s/%d.crt 2>/dev/null", subject, dir, port, dir, port);
	AUTO(str) char *key = xasprintf("%s/%d.key", dir, port);
	AUTO(str) char *crt = xasprintf("%s/%d.crt", dir, port);
	AUTO(str) char *at = xasprintf("%d", port);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	pid_t pid;

	assert_int_equal(system(make), 0);
	pid = child_fork(SIGKILL);
	if (pid == 0) {
		execlp("openssl", "openssl", "s_server", "-accept", at, "-cert", crt, "-key", key, "-www", "-quiet", NULL);
		_exit(127);
	}
	for (int i = 0; i < 500; i++) {
		AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
			return pid;
		usleep(20000);
	}
	fail_msg("openssl s_server does not listen");
	return -1;
}

/* The certificate must be known and be the server's; http only where a setting allows it; what a URL may not have is refused unsent. */
static void
tls(void **state)
{
	char dir[] = "/tmp/roost-fetch-XXXXXX";
	AUTO(str) char *good = NULL, *other = NULL, *clean = NULL;
	pid_t servers[2];

	(void)state;
	assert_non_null(mkdtemp(dir));
	good = xasprintf("%s/8443.crt", dir);
	other = xasprintf("%s/8444.crt", dir);
	clean = xasprintf("rm -rf %s", dir);
	servers[0] = tls_server(dir, "IP:127.0.0.1", 8443);
	servers[1] = tls_server(dir, "DNS:example.com", 8444);
	const struct { const char *ca, *url; int http; int status; } cases[] = {
		{ good, "https://127.0.0.1:8443/", 0, 200 }, { "", "https://127.0.0.1:8443/", 0, 0 }, { other, "https://127.0.0.1:8443/", 0, 0 },
		{ other, "https://127.0.0.1:8444/", 0, 0 },			/* known, for another name */
		{ good, "http://127.0.0.1:8080/", 0, 0 }, { good, "http://127.0.0.1:8080/", 1, 200 }, { good, "https://a:b@127.0.0.1:8443/", 0, 0 },
		{ good, "https://a@127.0.0.1:8443/", 0, 0 }, { good, "ftp://127.0.0.1:8443/", 1, 0 }, { good, "file:///etc/passwd", 1, 0 },
		{ good, "gopher://127.0.0.1:8080/x", 1, 0 }, { good, "127.0.0.1:8080", 1, 0 }, { good, "", 1, 0 },
	};
	snprintf(conf.egress_allow, sizeof conf.egress_allow, "127.0.0.0/8");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fetch_ask ask = { .method = "GET", .url = cases[i].url, .ms = 5000 };
		struct fetch_reply r = { 0 };
		struct err e = ERR_INIT;
		struct fetch *f;

		snprintf(conf.egress_ca_file, sizeof conf.egress_ca_file, "%s", cases[i].ca);
		conf.egress_http = cases[i].http;
		f = fetch_open(&conf, &e);
		assert_non_null(f);
		fetch_run(f, &ask, &r);
		if (r.status != cases[i].status)
			fail_msg("case %zu: status %d, %s", i, r.status, r.why);
		fetch_reply_free(&r);
		fetch_close(&f);
	}
	for (int i = 0; i < 2; i++) {
		kill(servers[i], SIGKILL);
		(void)waitpid(servers[i], NULL, 0);
	}
	conf.egress_ca_file[0] = '\0';
	assert_int_equal(system(clean), 0);
}

/* A name server that takes questions and answers none: the deadline holds, also for what is left when the request is given up. */
static void
slow_names(void **state)
{
	char path[] = "/tmp/roost-resolv-XXXXXX";
	const struct sockaddr_in dns = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct fetch_ask ask = { .method = "GET", .url = "https://slow.example.com/", .ms = 1500 };
	AUTO(fd) int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	AUTO(fd) int file = mkstemp(path);
	int64_t began = clock_mono_ms();
	struct fetch_reply r = { 0 };
	struct err e = ERR_INIT;
	struct fetch *f;
	bool mounted;

	(void)state;
	assert_true(file >= 0 && write(file, "nameserver 127.0.0.1\n", 21) == 21 && fchmod(file, 0644) == 0);
	mounted = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
	unlink(path);
	if (!mounted || bind(udp, (const struct sockaddr *)&dns, sizeof dns) < 0)
		return skip();
	f = fetch_open(&conf, &e);
	assert_non_null(f);
	fetch_run(f, &ask, &r);
	assert_int_equal(r.status, 0);
	fetch_reply_free(&r);
	fetch_close(&f);
	assert_in_range(clock_mono_ms() - began, 1000, 9000);	/* the resolver would wait for ten */
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(own_address), cmocka_unit_test(tls), cmocka_unit_test(slow_names) };

	return cmocka_run_group_tests_name("fetch", tests, start, NULL);
}
