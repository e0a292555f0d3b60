/*
 * The doorbell of one machine: what a gateway writes, a worker hears; whatever cannot be delivered is said at once, and nothing waits; what
 * is malformed is ignored; only owner and group may reach a socket, and names lead nowhere else, also when the folder's owner puts there what
 * should.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bell.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "xalloc.h"

#define ME "worker_1"
#define NOBODY 65534

static char dir[64];
static struct loop *loop;
static struct bell *bell;
static struct bells *bells;

static struct { int n; char last[256]; size_t told_len; char told[BELL_MAX]; } heard;

static void
on_ring(void *ctx, const struct bell_ring *r)
{
	assert_ptr_equal(ctx, &heard);
	heard.n++;
	snprintf(heard.last, sizeof heard.last, "%s %s", r->workspace, r->session);
	heard.told_len = r->told_len;
	assert_int_equal(r->told[r->told_len], '\0');
	memcpy(heard.told, r->told, r->told_len);
}

/* All that is there. */
static int
listen_now(void)
{
	int before = heard.n, n;

	do {
		n = heard.n;
		loop_once(loop, 0);
	} while (heard.n > n);
	return heard.n - before;
}

static int
ring(const char *owner, const char *told, size_t len)
{
	return bells_to(bells, owner) && bells_add(bells, "wrkspc_1", "sesn_a", told, len) && bells_send(bells) == 0 ? 0 : -1;
}

static void
send_raw(const void *bytes, size_t len)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/" ME, dir);
	assert_int_equal(sendto(fd, bytes, len, 0, (struct sockaddr *)&sa, sizeof sa), (ssize_t)len);
}

static int
begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/bell.XXXXXX");
	assert_non_null(mkdtemp(dir));
	memset(&heard, 0, sizeof heard);
	loop = loop_new();
	bell = bell_new(loop, dir, ME, on_ring, &heard);
	bells = bells_open(dir);
	return bell && bells ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	bell_free(&bell);
	bells_close(&bells);
	loop_free(&loop);
	return rmdir(dir);	/* nothing is left in it */
}

static void
delivered(void **state)
{
	(void)state;
	assert_int_equal(ring(ME, NULL, 0), 0);
	assert_int_equal(listen_now(), 1);
	assert_string_equal(heard.last, "wrkspc_1 sesn_a");
	assert_int_equal(heard.told_len, 0);
	assert_int_equal(ring(ME, "a\0\nb", 4), 0);
	assert_int_equal(listen_now(), 1);
	assert_int_equal(heard.told_len, 4);
	assert_memory_equal(heard.told, "a\0\nb", 4);
}

static void
several_in_a_letter(void **state)
{
	char session[32];

	(void)state;
	assert_true(bells_to(bells, ME));
	for (int i = 0; i < 100; i++) {
		snprintf(session, sizeof session, "sesn_%d", i);
		assert_true(bells_add(bells, "wrkspc_1", session, session, i % 2 ? strlen(session) : 0));
	}
	assert_int_equal(bells_send(bells), 0);
	assert_int_equal(listen_now(), 100);
	assert_string_equal(heard.last, "wrkspc_1 sesn_99");
	assert_memory_equal(heard.told, "sesn_99", 7);
	assert_true(bells_to(bells, ME));	/* the next one begins empty */
	assert_true(bells_add(bells, "wrkspc_1", "sesn_b", NULL, 0));
	assert_int_equal(bells_send(bells), 0);
	assert_int_equal(listen_now(), 1);
}

static void
too_long_to_be_told(void **state)
{
	AUTO(str) char *told = xcalloc(1, BELL_MAX);

	(void)state;
	memset(told, 'x', BELL_MAX);
	assert_int_equal(ring(ME, told, BELL_MAX), 0);
	assert_int_equal(listen_now(), 1);
	assert_int_equal(heard.told_len, 0);
	assert_int_equal(ring(ME, told, BELL_MAX - 64), 0);
	assert_int_equal(listen_now(), 1);
	assert_int_equal(heard.told_len, BELL_MAX - 64);
	assert_true(bells_to(bells, ME));
	assert_true(bells_add(bells, "wrkspc_1", "sesn_a", told, BELL_MAX - 64));
	assert_false(bells_add(bells, "wrkspc_1", "sesn_b", told, 64));	/* no room beside it: it is the next letter's */
	assert_int_equal(bells_send(bells), 0);
	assert_int_equal(listen_now(), 1);
	assert_string_equal(heard.last, "wrkspc_1 sesn_a");
}

/* A worker that stands still: its queue is bounded, nobody waits for it, and what was delivered is heard when it goes on. */
static void
full(void **state)
{
	int n = 0;
	int64_t began = clock_mono_ms();

	(void)state;
	while (n < 100000 && ring(ME, NULL, 0) == 0)
		n++;
	assert_in_range(n, 1, 99999);
	assert_true(clock_mono_ms() - began < 30000);
	assert_int_equal(ring(ME, NULL, 0), -1);
	assert_int_equal(listen_now(), n);
	assert_int_equal(ring(ME, NULL, 0), 0);
}

static void
nobody_there(void **state)
{
	struct bells *none = bells_open("");
	struct loop *other = loop_new();
	struct bell *b;

	(void)state;
	assert_int_equal(ring("worker_2", NULL, 0), -1);
	assert_null(none);
	assert_false(bells_to(none, ME));
	bells_close(&none);
	assert_null(bell_new(other, "", "worker_2", on_ring, &heard));
	assert_null(bell_new(other, "/nowhere/at/all", "worker_2", on_ring, &heard));
	b = bell_new(other, dir, "worker_2", on_ring, &heard);
	assert_non_null(b);
	assert_int_equal(ring("worker_2", NULL, 0), 0);
	bell_free(&b);
	assert_int_equal(ring("worker_2", NULL, 0), -1);
	loop_free(&other);
}

/* A socket without a listener, as a killed worker leaves it, so old. */
static void
left(const char *name, int seconds)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timespec then[2] = { { .tv_sec = time(NULL) - seconds }, { .tv_sec = time(NULL) - seconds } };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/%s", dir, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(utimensat(AT_FDCWD, sa.sun_path, then, 0), 0);
}

static bool
exists(const char *name)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void
leftovers(void **state)
{
	struct loop *other = loop_new();
	struct bell *b;
	char path[160];

	(void)state;
	left("worker_old", 3600);
	left("worker_new", 0);
	assert_int_equal(ring("worker_old", NULL, 0), -1);
	b = bell_new(other, dir, "worker_3", on_ring, &heard);
	assert_false(exists("worker_old"));
	assert_true(exists("worker_new"));	/* perhaps it is just being made */
	assert_true(exists(ME));
	assert_int_equal(ring(ME, NULL, 0), 0);
	bell_free(&b);
	loop_free(&other);
	snprintf(path, sizeof path, "%s/worker_new", dir);
	unlink(path);
}

static void
malformed(void **state)
{
	static const struct { const char *bytes; size_t len; int n; } letters[] = {
#define L(text, n) { text, sizeof(text) - 1, n }
		L("", 0), L("\n", 0), L("0", 0), L("0\n\0", 0), L("0 \n\0", 0), L("0 w\n\0", 0), L("0 w \n\0", 0), L("0  s\n\0", 0),
		L("0 w s\n", 0),		/* the NUL behind it is missing */
		L("5 w s\nabc\0", 0), L("2 w s\nabc\0", 0), L("4 w s\nabc\0", 0), L("18446744073709551615 w s\nabc\0", 0),
		L("99999999999999999999999 w s\nabc\0", 0), L("-1 w s\nabc\0", 0), L(" 3 w s\nabc\0", 0), L("+3 w s\nabc\0", 0),
		L("3x w s\nabc\0", 0), L("0 w ../s\n\0", 0), L("0 w/ s\n\0", 0), L("0 w s\"\n\0", 0), L("0\0w s\n\0", 0), L("0 w\0 s\n\0", 0),
		L("0 w aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\0", 0),
		L("3 w s\nabc\0nonsense", 1), L("0 w s\n\0" "0 w s\n\0x", 2),
		L("3 w s\nabc\0", 1), L("0 w s more of it\n\0", 1),	/* a later release's */
	};

	(void)state;
	for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
		send_raw(letters[i].bytes, letters[i].len);
		assert_int_equal(listen_now(), letters[i].n);
	}
}

static void
malformed_at_length(void **state)
{
	AUTO(str) char *text = xcalloc(1, 2 * BELL_MAX);

	(void)state;
	memset(text, '7', 2 * BELL_MAX);
	send_raw(text, BELL_MAX);
	send_raw(text, BELL_MAX + 1);
	send_raw(text, 2 * BELL_MAX);
	snprintf(text, BELL_MAX, "%d w s", BELL_MAX);
	text[strlen(text)] = '\n';
	send_raw(text, 2 * BELL_MAX);	/* longer than any letter: cut by the reader, so nothing of it counts */
	assert_int_equal(listen_now(), 0);
	assert_int_equal(ring(ME, NULL, 0), 0);
	assert_int_equal(listen_now(), 1);
}

static void
names(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../worker_1", "a/b", "/tmp/x", "a b", "a\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	char deep[256];
	struct bells *far;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(bells_to(bells, bad[i]));
		assert_null(bell_new(loop, dir, bad[i], on_ring, &heard));
	}
	memset(deep, 'd', sizeof deep - 1);
	deep[0] = '/';
	deep[sizeof deep - 1] = '\0';
	far = bells_open(deep);
	assert_false(bells_to(far, ME));
	assert_null(bell_new(loop, deep, ME, on_ring, &heard));
	bells_close(&far);
	assert_true(bells_to(bells, ME));
	assert_true(bells_add(bells, "wrkspc_1", "../sesn", NULL, 0));	/* the reader's to refuse */
	assert_int_equal(bells_send(bells), 0);
	assert_int_equal(listen_now(), 0);
}

/* Another user, with a group or none, in a folder that anybody may pass. */
static int
rung_by(uid_t uid, gid_t gid)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(2);
		_exit(ring(ME, NULL, 0) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
others(void **state)
{
	struct stat st;
	char path[160];

	(void)state;
	snprintf(path, sizeof path, "%s/" ME, dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(dir, 0711), 0);
	assert_int_equal(chown(path, 0, 4242), 0);
	assert_int_equal(rung_by(NOBODY, NOBODY), 1);
	assert_int_equal(rung_by(NOBODY, 4242), 0);
	assert_int_equal(listen_now(), 1);
	assert_int_equal(chmod(dir, 0710), 0);	/* as it is in an instance: who is not of the folder's group does not even pass */
	assert_int_equal(rung_by(NOBODY, 4242), 1);
	assert_int_equal(chown(dir, 0, 4242), 0);
	assert_int_equal(rung_by(NOBODY, 4242), 0);
	assert_int_equal(listen_now(), 1);
}

/* --- a worker that was broken into owns the folder ---------------------------------------------------------------------------------------- */

/* A datagram socket outside of the folder that everybody may write to, like the system's log. */
static int
elsewhere(char path[160])
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(path, 160, "%s.elsewhere", dir);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(chmod(path, 0666), 0);
	return fd;
}

static bool
got_nothing(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static char *
in_folder(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

/* Links by the names of workers, whoever they are. */
static void
links(void **state)
{
	char out[160];
	AUTO(fd) int fd = elsewhere(out);
	AUTO(str) char *planted = in_folder("worker_2"), *mine = in_folder(ME), *aside = in_folder("aside"), *folder = xasprintf("%s.link", dir);
	struct bells *by_link;

	(void)state;
	assert_int_equal(symlink(out, planted), 0);
	assert_int_equal(ring("worker_2", "secret", 6), -1);
	assert_int_equal(unlink(planted), 0);
	assert_int_equal(symlink(ME, planted), 0);		/* not even one that stays in the folder */
	assert_int_equal(ring("worker_2", "secret", 6), -1);
	assert_int_equal(unlink(planted), 0);
	/* one that takes a worker's place when it is known already: what is sent stays with whom it was looked at */
	assert_int_equal(ring(ME, "secret", 6), 0);
	assert_int_equal(rename(mine, aside), 0);
	assert_int_equal(symlink(out, mine), 0);
	assert_int_equal(ring(ME, "secret", 6), 0);
	assert_int_equal(listen_now(), 2);
	assert_int_equal(unlink(mine), 0);
	assert_int_equal(rename(aside, mine), 0);
	assert_int_equal(symlink(dir, folder), 0);
	by_link = bells_open(folder);
	assert_false(bells_to(by_link, ME));
	bells_close(&by_link);
	assert_true(got_nothing(fd));
	unlink(folder);
	unlink(out);
}

/* Sockets that are not the folder's owner's, by whatever means they came there, and what is no socket at all. */
static void
not_a_workers(void **state)
{
	char out[160];
	AUTO(fd) int fd = elsewhere(out);
	AUTO(str) char *planted = in_folder("worker_2");

	(void)state;
	assert_int_equal(mkfifo(planted, 0666), 0);
	assert_int_equal(ring("worker_2", "secret", 6), -1);
	assert_int_equal(unlink(planted), 0);
	assert_int_equal(mkdir(planted, 0777), 0);
	assert_int_equal(ring("worker_2", "secret", 6), -1);
	assert_int_equal(rmdir(planted), 0);
	if (geteuid() != 0) {
		unlink(out);
		skip();
	}
	assert_int_equal(chown(out, NOBODY, NOBODY), 0);
	assert_int_equal(link(out, planted), 0);
	assert_int_equal(ring("worker_2", "secret", 6), -1);
	assert_true(got_nothing(fd));
	assert_int_equal(chown(out, geteuid(), getegid()), 0);		/* the owner's own: it reads what it reads anyway */
	assert_int_equal(ring("worker_2", "secret", 6), 0);
	assert_false(got_nothing(fd));
	unlink(planted);
	unlink(out);
}

/* A link and the socket take turns under one name as fast as they can: each letter is the worker's, or not delivered. */
static void
a_race(void **state)
{
	char out[160];
	AUTO(fd) int fd = elsewhere(out);
	AUTO(str) char *mine = in_folder(ME), *aside = in_folder("aside"), *trap = in_folder("trap");
	int delivered = 0, tried = 0, status;
	pid_t pid;

	(void)state;
	log_open("test", LOG_ERROR_LEVEL);
	assert_int_equal(link(mine, aside), 0);
	pid = fork();
	if (pid == 0)
		for (;;) {
			if (symlink(out, trap) < 0 || rename(trap, mine) < 0 || link(aside, trap) < 0 || rename(trap, mine) < 0)
				_exit(1);
		}
	for (int64_t end = clock_mono_ms() + 30000; tried < 2000 || ((delivered == 0 || delivered == tried) && clock_mono_ms() < end); tried++) {
		struct bells *b = bells_open(dir);	/* looks anew */

		if (bells_to(b, ME) && bells_add(b, "wrkspc_1", "sesn_a", "secret", 6))
			delivered += bells_send(b) == 0;
		bells_close(&b);
		listen_now();
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(heard.n, delivered);
	assert_in_range(delivered, 1, tried - 1);	/* both were met */
	assert_true(got_nothing(fd));
	unlink(trap);
	unlink(mine);
	assert_int_equal(rename(aside, mine), 0);
	unlink(out);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
	const struct CMUnitTest tests[] = { T(delivered), T(several_in_a_letter), T(too_long_to_be_told), T(full), T(nobody_there), T(leftovers),
		T(malformed), T(malformed_at_length), T(names), T(others), T(links), T(not_a_workers), T(a_race) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
