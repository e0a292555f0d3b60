/*
 * failpoints: what a line of the control file does, when, and that the file is read again. The module is taken in here as a debug build
 * has it, so that this runs in every build.
 */
#ifndef ROOST_FAILPOINTS
#define ROOST_FAILPOINTS
#endif
#include "../../lib/base/failpoint.c"	// NOLINT(bugprone-suspicious-include): on purpose

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

static char dir[64] = "/tmp/roost-failpoint-XXXXXX", path[96], mark[128], written[128];
static int version;

/* Files of one second and one length differ by their inode or their nanoseconds. */
static void
control(const char *text)
{
	char next[128];
	FILE *f;

	snprintf(next, sizeof next, "%s.%d", path, version++);
	f = fopen(next, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(next, path), 0);
}

static int
start(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/points", dir);
	snprintf(mark, sizeof mark, "%s.append.after", path);
	snprintf(written, sizeof written, "%s.log", path);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(mark);
	(void)unlink(written);
	return rmdir(dir);
}

/* How a child ends that goes through the place. */
static int
child(enum failpoint id)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		failpoint_hit(id, "HERE");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
off(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	failpoint_open("");
	assert_int_equal(failpoint_error(FP_DB_RUN, &e), 0);
	failpoint_open(path);		/* not there yet */
	assert_int_equal(failpoint_error(FP_DB_RUN, &e), 0);
	assert_int_equal(e.kind, EK_NONE);
}

static void
errors(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	control("# nothing\n\ndb.before_run error:TIMEOUT   # a statement timeout\ndb.after_commit error\nno.such kill\nappend.before fly\n");
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), -1);
	assert_int_equal(e.kind, EK_TIMEOUT);
	assert_int_equal(FAILPOINT_ERR(DB_COMMITTED, &e), -1);
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	FAILPOINT(APPEND);
	control("");
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), 0);
}

static void
deaths(void **state)
{
	int status;

	(void)state;
	control("append.before kill\nmodel.before exit\n");
	status = child(FP_APPEND);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = child(FP_MODEL);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
	assert_int_equal(child(FP_CALL), 0);
	control("append.before/HERE exit\nmodel.before/THERE exit\n");
	assert_int_equal(WEXITSTATUS(child(FP_APPEND)), 70);
	assert_int_equal(child(FP_MODEL), 0);
	failpoint_scope("asking");
	control("append.before/HERE+asking exit\nmodel.before/HERE+closing exit\ncall.before/asking+HERE exit\n");
	assert_int_equal(WEXITSTATUS(child(FP_APPEND)), 70);
	assert_int_equal(child(FP_MODEL), 0);
	assert_int_equal(WEXITSTATUS(child(FP_CALL)), 70);
	failpoint_scope(NULL);
}

static void
once(void **state)
{
	char line[64] = "";
	FILE *f;

	(void)state;
	f = fopen(written, "w");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	control("append.after kill once\n");
	assert_true(WIFSIGNALED(child(FP_APPENDED)));
	assert_int_equal(child(FP_APPENDED), 0);
	assert_int_equal(access(mark, F_OK), 0);
	f = fopen(written, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	fclose(f);
	assert_memory_equal(line, "append.after kill ", 18);
}

static void
nth(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	control("db.before_run error @3\n");
	for (int i = 1; i <= 5; i++)
		assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), i == 3 ? -1 : 0);
}

static int
drawn(const char *line, char out[200])
{
	struct err e = ERR_INIT;
	int n = 0;

	control(line);
	for (int i = 0; i < 200; i++)
		n += out[i] = FAILPOINT_ERR(DB_RUN, &e) < 0;
	return n;
}

static void
seeds(void **state)
{
	char a[200], b[200], c[200];

	(void)state;
	assert_in_range(drawn("db.before_run error 0.2 7\n", a), 20, 60);
	(void)drawn("db.before_run error 0.2 7\n", b);
	(void)drawn("db.before_run error 0.2 8\n", c);
	assert_memory_equal(a, b, sizeof a);
	assert_memory_not_equal(a, c, sizeof a);
}

static void
sleeps(void **state)
{
	struct timespec from, to;

	(void)state;
	control("append.before sleep:30\n");
	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	FAILPOINT(APPEND);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 29);
}

/* The turn's state is a place for every point in the thread; what was come to is noted once. */
static void
scopes(void **state)
{
	char met[200], line[100] = "", again[100];
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	snprintf(met, sizeof met, "%s.met", path);
	f = fopen(met, "w");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	failpoint_open(path);
	control("db.before_run/asking error\n");
	failpoint_scope("closing");
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), 0);
	failpoint_scope("asking");
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), -1);
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), -1);
	failpoint_scope(NULL);
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), 0);
	control("db.before_run/test_failpoint error\n");
	assert_int_equal(FAILPOINT_ERR(DB_RUN, &e), -1);
	f = fopen(met, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "db.before_run/closing\n");
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "db.before_run/asking\n");
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "db.before_run/test_failpoint\n");
	assert_null(fgets(again, sizeof again, f));
	assert_int_equal(fclose(f), 0);
	assert_int_equal(unlink(met), 0);
	control("");
}

static void
shifted_clock(void **state)
{
	(void)state;
	control("clock.wall shift:-3600000\n");
	failpoint_open(path);
	assert_int_equal(failpoint_shift_us(FP_CLOCK), -3600000000);
	control("clock.wall/another shift:5000\n");
	assert_int_equal(failpoint_shift_us(FP_CLOCK), 0);
	control("");
	assert_int_equal(failpoint_shift_us(FP_CLOCK), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off), cmocka_unit_test(errors), cmocka_unit_test(deaths), cmocka_unit_test(once), cmocka_unit_test(nth),
		cmocka_unit_test(seeds), cmocka_unit_test(sleeps), cmocka_unit_test(shifted_clock), cmocka_unit_test(scopes),
	};

	log_open("test", LOG_ERROR_LEVEL);
	return cmocka_run_group_tests(tests, start, stop);
}
