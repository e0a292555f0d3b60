/* test_life: sandboxes and launchers that die, what is left behind (nothing), and instances side by side. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_life"

static const char *
str(json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

static json_t *
bash(const char *command)
{
	return json_pack("{s:s}", "command", command);
}

/* No group of the instance has members, in any hierarchy; `also_empty`: there is none at all. */
static int
groups_left(const struct hands *h)
{
	char cmd[300];
	FILE *f;
	int n = -1;

	snprintf(cmd, sizeof cmd, "find /sys/fs/cgroup -maxdepth 3 -path '*/roost-%s/sb-*' 2>/dev/null | wc -l", h->instance);
	f = popen(cmd, "r");
	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

static int
mounts_left(const struct hands *h)
{
	char line[4096];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	int n = 0;

	while (f && fgets(line, sizeof line, f))
		n += strstr(line, h->dir) != NULL;
	if (f)
		fclose(f);
	return n;
}

static bool no_groups(void *h) { return groups_left(h) == 0; }
static bool dead(void *pid) { return kill(*(pid_t *)pid, 0) < 0; }

static void
destroy_all(const char *const *sessions)
{
	for (; *sessions; sessions++)
		json_decref(ask(shared, req_of("destroy", *sessions, 1000)));
}

static void
destroying(void)
{
	static const char *const all[] = { "sesn_inside", "sesn_shell", "sesn_files", "sesn_limits", "sesn_p", "sesn_f", "sesn_never",
	    NULL };
	char paths[64][300];
	json_t *r;
	pid_t pid;
	int n;

	destroy_all(all);
	check(until(no_groups, &H, SOON_MS), "destroy leaves no cgroup");
	(void)sh(S, "setsid -f sleep 1000; sleep 1000 & echo x > file");
	n = boxes(&H, paths, 64);
	pid = n == 1 ? box_init(paths[0]) : 0;
	check(pid > 0, "the sandbox has a pid 1");
	n = send_req(shared, req_call(S, 1, "sevt_running", "bash", bash("sleep 1000")));
	json_decref(ask(shared, req_of("destroy", S, 1)));
	r = wait_reply(shared, n);
	check(r && json_is_true(json_object_get(r, "is_error")), "a running call ends when its sandbox is destroyed");
	json_decref(r);
	check(until(dead, &pid, 5000) && until(no_groups, &H, 5000), "destroy ends every process, within 5 s");
	is_text(sh(S, "ls"), false, "(no output)", "a later call gets a fresh sandbox");
}

static bool
frozen(void *path)
{
	char file[340], text[128] = "";
	FILE *f;

	snprintf(file, sizeof file, "%s/cgroup.events", (char *)path);
	f = fopen(file, "r");
	if (f) {
		text[fread(text, 1, sizeof text - 1, f)] = '\0';
		fclose(f);
	}
	return strstr(text, "frozen 1") != NULL;
}

static bool thawed(void *path) { return !frozen(path); }

static void
pausing(void)
{
	char paths[64][300];
	json_t *r;
	int n;

	(void)sh(S, "(while :; do echo x >> /tmp/ticks; sleep 0.01; done) & true");
	n = boxes(&H, paths, 64);
	r = ask(shared, req_of("pause", S, 1));
	check(n == 1 && json_is_true(json_object_get(r, "ok")) && until(frozen, paths[0], SOON_MS), "pause freezes the sandbox");
	json_decref(r);
	has_text(sh(S, "wc -l < /tmp/ticks; echo awake"), false, "awake\n", "the next call thaws it");
	n = send_req(shared, req_call(S, 1, "sevt_slow", "bash", bash("sleep 0.4; echo slow")));
	json_decref(ask(shared, req_of("pause", S, 1)));
	r = wait_reply(shared, n);
	check(r && strcmp(str(r, "content"), "slow\n") == 0, "pause does not stop a running call");
	json_decref(r);
	check(until(frozen, paths[0], SOON_MS), "and comes into force after it");
	r = ask(shared, req_of("provision", S, 1));
	check(json_is_false(json_object_get(r, "fresh")) && until(thawed, paths[0], SOON_MS), "provision thaws it");
	json_decref(r);
	json_decref(ask(shared, req_of("pause", S, 1)));
	until(frozen, paths[0], SOON_MS);
	json_decref(ask(shared, req_of("destroy", S, 1)));
	check(until(no_groups, &H, SOON_MS), "a frozen sandbox can be destroyed");
}

static void
dying_init(void)
{
	char paths[64][300];
	json_t *r, *other;
	int n, m, count;

	(void)sh(S, "echo x > file");
	n = send_req(shared, req_call(S, 1, "sevt_d1", "bash", bash("sleep 1000")));
	m = send_req(shared, req_call(S, 1, "sevt_d2", "bash", bash("sleep 1000")));
	json_decref(ask(shared, json_pack("{s:s}", "op", "status")));
	count = boxes(&H, paths, 64);
	check(count == 1 && kill(box_init(paths[0]), SIGKILL) == 0, "kill -9 of roost-init");
	r = wait_reply(shared, n);
	other = wait_reply(shared, m);
	check(json_is_true(json_object_get(r, "is_error")) && strstr(str(r, "content"), "The sandbox was lost") != NULL,
	    "the running call says that the sandbox was lost");
	check(json_is_true(json_object_get(other, "is_error")) && strstr(str(other, "content"), "The sandbox was lost") != NULL,
	    "the waiting one too");
	json_decref(r);
	json_decref(other);
	is_text(sh(S, "ls; echo fresh"), false, "fresh\n", "the next call gets a fresh sandbox");
	(void)boxes(&H, paths, 64);
	kill(box_init(paths[0]), SIGSTOP);
	n = send_req(shared, req_call(S, 1, "sevt_d3", "bash", json_pack("{s:s,s:i}", "command", "echo x", "timeout_ms", 100)));
	(void)boxes(&H, paths, 64);
	kill(box_init(paths[0]), SIGCONT);
	r = wait_reply(shared, n);
	check(r != NULL, "a stopped roost-init ends in a result");
	json_decref(r);
}

static void
dying_hands(void)
{
	char paths[64][300];
	int n, status;
	pid_t pid;

	(void)sh(S, "setsid -f sleep 1000");
	n = boxes(&H, paths, 64);
	pid = box_init(paths[0]);
	status = hands_stop(&H, SIGKILL);
	check(n >= 1 && WIFSIGNALED(status), "kill -9 of roost-hands");
	check(until(dead, &pid, SOON_MS), "its sandboxes end with it");
	hands_must_start(&H, "it starts again");
	check(hands_logged(&H, "\"sweep\""), "and says that it swept");
	check(groups_left(&H) == 0, "no cgroup of the predecessor is left");
	check(mounts_left(&H) == 0, "no mount is left");
	shared_dial();
	is_text(sh(S, "echo back"), false, "back\n", "sessions go on");
}

static void
two_instances(void)
{
	char ours[64], theirs[64];
	struct hands other;
	int keep = shared;

	hands_prepare(&other, "b");
	snprintf(ours, sizeof ours, "%s", sh(S, "awk '{ print $2 }' /proc/self/uid_map; echo first > file").text);
	hands_must_start(&other, "a second instance starts beside the first");
	shared = dial(&other);
	snprintf(theirs, sizeof theirs, "%s", sh(S, "awk '{ print $2 }' /proc/self/uid_map").text);
	check(strtoul(ours, NULL, 10) > 1000000 && strtoul(theirs, NULL, 10) > 1000000 && strcmp(ours, theirs) != 0,
	    "with uids of its own");
	is_text(sh(S, "ls"), false, "(no output)", "and the same session is another one there");
	close(shared);
	shared = keep;
	(void)hands_stop(&other, SIGKILL);
	hands_must_start(&other, "a crash and a sweep of the second");
	is_text(sh(S, "cat file"), false, "first\n", "do not touch the first");
	check(hands_stop(&other, SIGTERM) == 0 && groups_left(&other) == 0, "SIGTERM ends it cleanly");
	hands_remove(&other);
}

/* Linux 6.18 kills at birth what is cloned from a once-killed cgroup into another; a supervisor may have put us into one. */
static void
killed_group(void)
{
	struct hands h;
	char dir[300];
	int keep = shared;

	hands_prepare(&h, "k");
	snprintf(dir, sizeof dir, "%s/test-killed-%d", cgroup2_mount(), getpid());
	check(mkdir(dir, 0755) == 0, "a cgroup");
	put_text(dir, "cgroup.kill", "1");
	h.cgroup = dir;
	hands_must_start(&h, "roost-hands starts inside a cgroup that was killed before");
	shared = dial(&h);
	is_text(sh(S, "echo alive"), false, "alive\n", "and its sandboxes live");
	is_text(tool(S, "read", json_pack("{s:s}", "file_path", "/etc/hostname")), false, "1\tsandbox", "and so do their tools");
	close(shared);
	shared = keep;
	hands_remove(&h);
	check(rmdir(dir) == 0, "nothing is left in it");
}

static void
refusals(void)
{
	struct hands h, twin;
	json_t *r;
	int fd;

	hands_prepare(&h, "c");
	snprintf(h.extra, sizeof h.extra, "sandbox_memory_mb = 256\nsandbox_disk_mb = 256\n");
	check(!hands_start(&h) && hands_logged(&h, "sandbox_disk_mb"), "a disk quota above the memory limit stops the start, by name");
	snprintf(h.extra, sizeof h.extra, "init_path = /nonexistent\n");
	check(!hands_start(&h) && hands_logged(&h, "init_path"), "a missing roost-init too");
	snprintf(h.extra, sizeof h.extra, "init_path = /bin/true\n");
	check(!hands_start(&h) && hands_logged(&h, "start_refused"), "and a host that cannot make a sandbox");
	check(groups_left(&h) == 0, "after which nothing is left");
	snprintf(h.extra, sizeof h.extra, "sandboxes_max = 10000\nuid_base = 4000000000\n");
	check(!hands_start(&h) && hands_logged(&h, "uid_base leaves no room"), "a uid range that does not fit stops the start");
	snprintf(h.extra, sizeof h.extra, "sandboxes_max = 1\nuid_base = 2000000000\nsandbox_cpu_pct = 20\n");
	hands_must_start(&h, "a host with room for one sandbox");
	twin = h;
	twin.pid = 0;
	snprintf(twin.log, sizeof twin.log, "%s/log2", h.dir);
	snprintf(twin.sock, sizeof twin.sock, "%s/s2", h.dir);
	check(!hands_start(&twin) && hands_logged(&twin, "another roost-hands"), "a second process on the same directory is refused");
	fd = dial(&h);
	r = ask(fd, req_of("provision", "sesn_one", 1));
	check(json_is_true(json_object_get(r, "ok")), "the first sandbox");
	json_decref(r);
	r = ask(fd, req_of("provision", "sesn_two", 1));
	check(strcmp(str(json_object_get(r, "error"), "kind"), "busy") == 0, "the second is refused as busy");
	json_decref(r);
	r = ask(fd, req_call("sesn_two", 1, "sevt_x", "bash", bash("true")));
	check(json_is_true(json_object_get(r, "is_error")), "and a call there is an error result");
	json_decref(r);
	r = ask(fd, req_call("sesn_one", 1, "sevt_cpu", "bash", bash("awk '{ print $2 }' /proc/self/uid_map; python3 -c \"\nimport time\n"
	    "end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time() < 0.6)\"")));
	check(strcmp(str(r, "content"), "2000000000\nTrue\n") == 0, "uid_base and sandbox_cpu_pct are kept");
	json_decref(r);
	json_decref(ask(fd, req_of("pause", "sesn_one", 1)));
	r = ask(fd, req_call("sesn_two", 1, "sevt_y", "bash", bash("echo two")));
	check(strcmp(str(r, "content"), "two\n") == 0, "an idle sandbox gives way");
	json_decref(r);
	json_decref(ask(fd, req_of("destroy", "sesn_two", 1)));
	r = ask(fd, req_call("sesn_one", 1, "sevt_z", "bash", bash("echo one")));
	check(strstr(str(r, "content"), "The sandbox was lost") && strstr(str(r, "content"), "\none\n"), "and its session is told");
	json_decref(r);
	r = ask(fd, req_call("sesn_one", 1, "sevt_zz", "bash", bash("echo one")));
	check(strcmp(str(r, "content"), "one\n") == 0, "once");
	json_decref(r);
	close(fd);
	hands_remove(&h);
}

void
test_life(void)
{
	destroying();
	pausing();
	dying_init();
	dying_hands();
	two_instances();
	killed_group();
	refusals();
}
