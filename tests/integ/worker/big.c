/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * Large messages: a worker's memory is bounded over all its sessions, not for each of them, and small sessions go past large ones.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define MESSAGE (31u << 20)	/* about the largest that a request body holds */
#define BIG 3
#define SMALL 20
#define MOST_MB 512		/* one such session at a time takes about 400 MB at its peak, one after another */
#define AFTER_MB 200		/* what is large goes back to the system; contexts that are kept for the next turn remain (context_cache_bytes) */
#define SETTINGS "lease_s = 60\nbeat_ms = 1000\npoll_ms = 100\ncontext_cache_bytes = 67108864\npg_timeout_ms = 60000\n"

static int
start(void **state)
{
	(void)state;
	rig_start();
	return 0;
}

/* Megabytes of a line of /proc/<pid>/status. */
static long
memory_mb(pid_t pid, const char *key)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			kb = atol(line + strlen(key) + 1);
	fclose(f);
	return kb / 1024;
}

static void
many_large_messages(void **state)
{
	AUTO(str) char *text = xmalloc(MESSAGE + 1);
	char id[32];
	pid_t worker;
	long most, after;

	(void)state;
	memset(text, ' ', MESSAGE);	/* the scripted model answers words */
	text[MESSAGE] = '\0';
	for (int i = 0; i < BIG + SMALL; i++) {
		snprintf(id, sizeof(id), "sesn_%s%d", i < BIG ? "big" : "small", i);
		rig_session(id, "roost-scripted");
		rig_message(i < BIG ? text : "hello");
		rig_send(id);
	}
	worker = rig_worker(SETTINGS);
	for (int i = 0; i < BIG + SMALL; i++) {
		snprintf(id, sizeof(id), "sesn_%s%d", i < BIG ? "big" : "small", i);
		rig_settled(id);
	}
	most = memory_mb(worker, "VmHWM");
	for (int64_t end = clock_mono_ms() + RIG_MS; (after = memory_mb(worker, "VmRSS")) > AFTER_MB && clock_mono_ms() < end;)
		usleep(10000);
	print_message("# %d messages of %u MB: at most %ld MB, %ld MB after them\n", BIG, MESSAGE >> 20, most, after);
#ifndef __SANITIZE_ADDRESS__	/* which keeps what was freed for a while */
	assert_in_range(most, 1, MOST_MB);
	assert_in_range(after, 1, AFTER_MB);
#endif
	rig_wait("0", "SELECT count(*) FROM session WHERE at_work OR status <> 'idle'");
	rig_wait("t", "SELECT count(*) >= %d FROM event WHERE type = 'agent.message'", SMALL);
	/* nothing small ended behind the last large one */
	rig_wait("t", "SELECT max(last_at) FILTER (WHERE id LIKE 'sesn_small%%') < max(last_at) FILTER (WHERE id LIKE 'sesn_big%%') FROM session");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(many_large_messages) };

	return cmocka_run_group_tests_name("worker big", tests, start, rig_over);
}
