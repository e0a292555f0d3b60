/* test_shell: the persistent shell (contract 4.3): state, exact output, restart, timeout, what cannot fool it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_shell"

static json_t *
restart(void)
{
	return json_pack("{s:b}", "restart", 1);
}

static void
state(void)
{
	is_text(sh(S, "cd /tmp; export A=1; b=2; f() { echo f; }"), false, "(no output)", "silence is (no output)");
	is_text(sh(S, "pwd; echo $A$b; f"), false, "/tmp\n12\nf\n", "directory, variables and functions survive");
	is_text(sh(S, "false"), true, "exit 1", "a silent failure is `exit N`");
	is_text(sh(S, "echo out; exit 7"), true, "out\n", "a failure with output is that output as an error");
	is_text(sh(S, "echo \"$A\"; pwd"), false, "\n/workspace\n", "after exit there is a new shell");
	is_text(sh(S, "echo a >&2; echo b; echo c >&2"), false, "a\nb\nc\n", "stdout and stderr are merged in order");
	is_text(sh(S, "printf 'no newline'"), false, "no newline", "the last line keeps its missing newline");
	is_text(sh(S, "cat; echo done"), false, "done\n", "commands have an empty stdin");
	is_text(sh(S, "printf '0\\n' ; printf 'E11\\n'; echo '\\builtin printf 5 >&9'"), false, "0\nE11\n\\builtin printf 5 >&9\n",
	    "output that looks like the protocol is output");
	has_text(sh(S, "echo 5 >&9"), true, ": 9: Bad file descriptor\n", "the status pipe is out of a command's reach");
	is_text(sh(S, "echo it\\'s \"a 'quoted' $((1+1))\"; cat <<'E'\n'$x'\nE"), false, "it's a 'quoted' 2\n'$x'\n",
	    "quotes and here-documents");
	has_text(sh(S, "echo 'never closed"), true, "unexpected EOF", "an unclosed quote is an error of that command");
	has_text(sh(S, "}; echo broken"), true, "syntax error near unexpected token `}'", "a stray brace cannot leave its command");
	is_text(sh(S, "echo still"), false, "still\n", "and the shell goes on");
	is_text(sh(S, "printf 'a\\0b\\377c\\n'"), false, "a\xef\xbf\xbd" "b\xef\xbf\xbd" "c\n", "NUL and invalid UTF-8 are replaced");
	is_text(sh(S, "printf '\\360\\237\\230\\200\\n'"), false, "\xf0\x9f\x98\x80\n", "valid UTF-8 is kept");
}

static void
big_command(void)
{
	char *text = malloc(300001);
	struct result r;

	memset(text, 'x', 300000);
	memcpy(text, "x='", 3);
	memcpy(text + 299970, "'; echo ${#x}                 ", 30);
	text[300000] = '\0';
	r = sh(S, text);
	free(text);
	is_text(r, false, "299967\n", "a command of 300 kB");
}

/* Over 100,000 characters: the end of it, and all of it in a file; characters are counted, not bytes (contract 4.3). */
static void
output_cap(void)
{
	struct result r = sh(S, "seq 1 100000");
	char path[64] = "", command[160];
	const char *at = strstr(r.text, "/tmp/tool-output/bash-");

	check(!r.is_error && r.spilled && r.len <= 102400 && strncmp(r.text, "[output truncated: 588895 bytes in all; the full output is in ", 62) == 0,
	    "a long output is cut to 100 KiB with a mark");
	check(r.len > 100000 && strcmp(r.text + r.len - 14, "\n99999\n100000\n") == 0, "and its tail is kept");
	if (at)
		snprintf(path, sizeof path, "%.*s", (int)strcspn(at, "]"), at);
	snprintf(command, sizeof command, "seq 1 100000 | cmp - %s && stat -c %%u:%%a %s", path, path);
	is_text(sh(S, command), false, "1000:644\n", "all of it is in the file");
	r = sh(S, "head -c 100000 /dev/zero | tr '\\0' 'a'");
	check(!r.is_error && !r.spilled && r.len == 100000, "100,000 characters are whole");
	r = sh(S, "head -c 100001 /dev/zero | tr '\\0' 'a'");
	check(!r.is_error && r.spilled && strstr(r.text, "100001 bytes in all") != NULL, "one more is not");
	r = sh(S, "python3 -c \"print('\xf0\x9f\x98\x80' * 99999, end='')\"");
	check(!r.is_error && !r.spilled && r.len == 399996, "characters count, not bytes");
	r = sh(S, "python3 -c \"print('\xf0\x9f\x98\x80' * 100001, end='')\"");
	check(!r.is_error && r.spilled && strstr(r.text, "400004 bytes in all") != NULL, "also when they are too many");
	r = sh(S, "echo begin; seq 1 100000; false");
	check(r.is_error && r.spilled && strstr(r.text, "\n100000\n") != NULL, "a failing command's long output too");
	r = sh_within(S, "seq 1 200000; sleep 60", 4000);
	check(r.is_error && r.spilled && strstr(r.text, "timed out after 4000 ms") != NULL && strstr(r.text, "full output is in") != NULL,
	    "and that of one that is killed");
}

/* What lies where the output would be saved is the tool's own affair, and pid 1's rights do not help it. */
static void
spill_attacks(void)
{
	struct result r;

	(void)sh(S, "rm -rf /tmp/tool-output; ln -s /etc /tmp/tool-output");
	r = sh(S, "seq 1 100000");
	check(!r.is_error && !r.spilled && strncmp(r.text, "[output truncated]\n", 19) == 0, "a link in place of the folder: no file, no harm");
	(void)sh(S, "rm -rf /tmp/tool-output; ln -s / /tmp/tool-output");
	r = sh(S, "seq 1 100000");
	check(!r.is_error && !r.spilled, "a link to where only pid 1 could write");
	is_text(sh(S, "ls / | grep -c bash-; ls /etc | grep -c bash-"), true, "0\n0\n", "nothing was written there");
	(void)sh(S, "rm -rf /tmp/tool-output; mkdir /tmp/tool-output; cd /tmp/tool-output; mkfifo $(seq -f bash-%g.txt 200)");
	r = sh(S, "seq 1 100000");
	check(!r.is_error && !r.spilled, "a pipe in place of the file");
	(void)sh(S, "cd /tmp; rm -rf tool-output; mkdir tool-output; python3 -c \"import os\nfor i in range(200): os.symlink('/workspace/stolen', 'tool-output/bash-%d.txt' % i)\"");
	r = sh(S, "seq 1 100000");
	check(!r.is_error && !r.spilled && sh(S, "ls /workspace/stolen").is_error, "a link in place of the file");
	(void)sh(S, "rm -rf /tmp/tool-output; head -c 1G /dev/zero > /workspace/fill; true");
	r = sh(S, "seq 1 100000");
	check(!r.is_error && !r.spilled && strstr(r.text, "\n100000\n") != NULL, "a full disk costs the file, not the result");
	(void)sh(S, "rm -f /workspace/fill");
	r = sh_within(S, "yes 0123456789 | head -c 60000000", 60000);
	check(!r.is_error && r.spilled && strstr(r.text, "60000000 bytes in all; their beginning is in") != NULL, "a flood is saved in part");
	is_text(sh(S, "du -b /tmp/tool-output/* | cut -f1 | sort -n | tail -1; rm -rf /tmp/tool-output"), false, "33554432\n", "up to 32 MiB");
}

static void
endings(void)
{
	int64_t t = now_ms();

	has_text(sh_within(S, "echo partial; sleep 60", 4000), true, "partial\nThe command timed out after 4000 ms",
	    "a timeout keeps the partial output");
	check(now_ms() - t < 30000, "and comes long before the command's own end");
	is_text(sh(S, "echo new"), false, "new\n", "after a timeout there is a new shell");
	has_text(sh_within(S, "trap '' TERM INT HUP; sleep 60", 400), true, "timed out", "signals cannot be ignored");
	has_text(sh_within(S, "kill -STOP $$", 400), true, "timed out", "a stopped shell times out");
	has_text(sh(S, "kill -9 $$"), true, "killed by signal 9", "a killed shell is an error");
	is_text(sh(S, "echo new"), false, "new\n", "and is replaced");
	is_text(sh(S, "exec true"), false, "(no output)", "exec of a program ends the shell");
	is_text(sh(S, "sleep 300 & echo $! > /tmp/pid; echo started"), false, "started\n", "a background process does not hold the call");
	is_text(sh(S, "kill -0 $(cat /tmp/pid) && echo alive"), false, "alive\n", "and lives on");
	is_text(sh(S, "exit 0"), false, "(no output)", "exit 0 is success");
	is_text(sh(S, "kill -0 $(cat /tmp/pid) && echo alive"), false, "alive\n", "a background process survives the shell's exit");
	is_text(sh(S, "setsid -f sh -c 'setsid -f sleep 300'; until [ $(pgrep -c sleep) -ge 2 ]; do :; done; pgrep -c sleep"), false, "2\n", "a daemonised process runs");
	is_text(tool(S, "bash", restart()), false, "bash session restarted", "restart says so");
	is_text(sh(S, "pgrep -c sleep"), true, "0\n", "restart ends background and daemonised processes");
	is_text(sh(S, "(until [ -e /tmp/go ]; do sleep 0.01; done; echo late) & echo now"), false, "now\n",
	    "late output does not belong to this call");
	is_text(sh(S, "echo > /tmp/go; wait; echo after"), false, "late\nafter\n", "it is shown by the next one");
	is_text(sh(S, "exec >/dev/null 2>&1; echo hidden"), false, "(no output)", "a shell that closed its output");
	is_text(tool(S, "bash", restart()), false, "bash session restarted", "can be restarted");
	is_text(sh(S, "for i in $(seq 400); do (sleep 0.01 &) ; done; for i in $(seq 300); do ps -e -o stat=,comm= | grep -q '^Z\\|sleep' || break; "
	    "sleep 0.1; done; ps -e -o stat= | grep -c Z"), true, "0\n",
	    "orphans are reaped");
}

void
test_shell(void)
{
	state();
	big_command();
	output_cap();
	spill_attacks();
	endings();
}
