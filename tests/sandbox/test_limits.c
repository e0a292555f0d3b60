/*
 * test_limits: a sandbox under attack from inside. What counts in each case: the call ends as a result, the next call works, and the
 * sandbox is still the same one (its files are there).
 */
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_limits"
/* in steps, so that no kernel refuses it as a whole */
#define BOMB "l = []\nwhile len(l) < 200: l.append(b\"x\" * (16 << 20))"

/* The same sandbox still works: a file of before, a new process. */
static void
usable(const char *after)
{
	char name[100];

	snprintf(name, sizeof name, "after %s the sandbox works and kept its files", after);
	is_text(sh(S, "cat /workspace/mark; ls /workspace/mark"), false, "here\n/workspace/mark\n", name);
}

static void
restart(void)
{
	(void)tool(S, "bash", json_pack("{s:b}", "restart", 1));
}

static void
processes(void)
{
	struct result r;

	(void)sh_within(S, "bomb() { bomb | bomb & }; bomb", 1000);
	r = tool(S, "read", json_pack("{s:s}", "file_path", "mark"));
	is_text(r, false, "1\there", "file tools work while a fork bomb runs");
	is_text(sh("sesn_neighbour", "ls / | wc -l | awk '{ print ($1 > 10) }'"), false, "1\n", "and so does another sandbox");
	json_decref(ask(shared, req_of("destroy", "sesn_neighbour", 1)));
	restart();
	is_text(sh(S, "ps -e --no-headers | wc -l | awk '{ print ($1 < 9) }'"), false, "1\n", "restart ends the fork bomb");
	usable("a fork bomb");
	r = sh_within(S,
	    "python3 -c \"\nimport os, signal\nsignal.signal(15, signal.SIG_IGN)\nn=0\ntry:\n  while True:\n    if os.fork()==0: "
	    "signal.pause()\n"
	    "    n+=1\nexcept OSError as e: print(e.errno, 100 < n < 256)\"", 20000);
	is_text(r, false, "11 True\n", "forks end in EAGAIN below the limit");
	r = sh_within(S, "ls | cat | cat | cat", 3000);
	check(r.is_error && strstr(r.text, "fork") != NULL, "a full process table is an error of the command");
	restart();
	usable("a full process table");
	is_text(sh(S,
	    "python3 -c \"\nimport threading, time\nn=0\ntry:\n  while n < 1000:\n    threading.Thread(target=time.sleep, "
	    "args=(60,), daemon=True).start()\n"
	    "    n+=1\nexcept RuntimeError: pass\nprint(100 < n < 256, flush=True)\nimport os\nos._exit(0)\""), false, "True\n",
	    "threads count as processes");
	usable("a thread bomb");
}

static void
memory(void)
{
	struct result r = sh_within(S, "python3 -c '" BOMB "'; echo $?", 30000);

	check(strstr(r.text, "137") != NULL, "a memory bomb is killed");
	usable("a memory bomb");
	r = sh_within(S,
	    "for i in 1 2 3 4 5 6; do python3 -c 'import time; x = b\"x\" * (150 << 20); time.sleep(30)' & done; wait -n; wait -n; "
	    "wait -n; echo $?; "
	    "kill $(jobs -p) 2>/dev/null; wait; true", 30000);
	check(!r.is_error && strstr(r.text, "Killed") != NULL, "many of them together, too");
	usable("many memory bombs");
	r = sh_within(S, "x=y; while :; do x=$x$x; done", 30000);
	check(r.is_error, "a shell that eats all memory ends as an error");
	usable("a killed shell");
}

static void
disk(void)
{
	has_text(sh_within(S, "head -c 2G /dev/zero > /workspace/fill; echo $?", 30000), false, "No space left on device",
	    "a full disk is ENOSPC");
	has_text(tool(S, "write", json_pack("{s:s,s:s}", "file_path", "new", "content", "x")), true, "No space left on device",
	    "also for write");
	is_text(sh(S, "cat mark"), false, "here\n", "what was there can be read");
	has_text(sh_within(S,
	    "for d in /tmp /dev/shm /var/tmp ~ /usr/local/bin /mnt/session/outputs; do echo x > $d/f 2>/dev/null && echo got $d; "
	    "done; echo none", 5000),
	    false, "none\n", "every place to write to shares the quota");
	check(strstr(sh_within(S, "python3 -c '" BOMB "'; echo $?", 30000).text, "137") != NULL,
	    "a memory bomb on a full disk kills itself");
	(void)sh(S, "rm -f /workspace/fill");
	usable("a full disk");
	has_text(sh_within(S,
	    "mkdir many; cd many; i=0; while echo > $i; do i=$((i+1)); done 2>&1 | tail -1; ls | wc -l | awk '{print ($1 > 60000 && "
	    "$1 < 66000)}'", 60000),
	    false, "1\n", "files end at the inode limit");
	(void)sh(S, "rm -rf /workspace/many");
	usable("a full inode table");
}

static void
floods(void)
{
	struct result r;
	int64_t t = now_ms();

	r = sh_within(S, "yes 0123456789", 1000);
	check(r.is_error && r.len <= 104000 && strstr(r.text, "timed out after 1000 ms") != NULL, "an output flood ends at its time");
	check(now_ms() - t < 30000, "and does not delay its own end");
	r = sh_within(S, "(yes flood &) ; echo mine", 5000);
	check(!r.is_error, "a flood in the background does not hold the call");
	r = sh_within(S, "echo next", 5000);
	/* the flood may write more than the kept tail between the command's line and its end */
	check(!r.is_error && (strstr(r.text, "next\n") != NULL || strstr(r.text, "[output truncated") != NULL), "nor the next one");
	restart();
	r = sh_within(S, "cat /dev/urandom", 1000);
	check(r.is_error && r.len <= 104000, "a flood of binary stays below the cap");
	usable("output floods");
	is_text(sh_within(S, "dd if=/dev/zero bs=1M count=300 2>/dev/null | cat > /dev/null; exec 3< <(sleep 60); echo ok", 20000), false,
	    "ok\n",
	    "pipes and process substitution work");
	restart();
	r = sh_within(S,
	    "python3 -c \"\nimport os\nfds=[]\ntry:\n  while True: fds.append(os.open('/dev/null', 0))\nexcept OSError as e: "
	    "print(e.errno, len(fds) < 4096)\"", 30000);
	is_text(r, false, "24 True\n", "open files end in EMFILE");
	has_text(sh_within(S,
	    "python3 -c \"\nimport ctypes\nl=ctypes.CDLL(None, use_errno=True)\nn=0\nwhile l.shmget(0, ctypes.c_size_t(1<<20), "
	    "0o1600) >= 0 and n < 1000: n += 1\nprint(n < 64)\"",
	    30000), false, "True\n", "System V shared memory is small");
	usable("resource floods");
}

void
test_limits(void)
{
	put_file(S, "mark", "here\n");
	processes();
	memory();
	disk();
	floods();
}
