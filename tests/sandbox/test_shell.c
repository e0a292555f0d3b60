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

static void
output_cap(void)
{
	struct result r = sh(S, "seq 1 100000");

	check(!r.is_error && r.len <= 102400 && strncmp(r.text, "[output truncated]\n", 19) == 0,
	    "long output is cut to 100 KiB with a mark");
	check(r.len > 100000 && strcmp(r.text + r.len - 14, "\n99999\n100000\n") == 0, "and its tail is kept");
	r = sh(S, "head -c 102000 /dev/zero | tr '\\0' 'a'");
	check(!r.is_error && r.len == 102000, "output below the cap is whole");
	r = sh(S, "echo begin; seq 1 100000; false");
	check(r.is_error && strstr(r.text, "\n100000\n") != NULL, "a failing command's long output too");
}

static void
endings(void)
{
	int64_t t = now_ms();

	has_text(sh_within(S, "echo partial; sleep 60", 400), true, "partial\nThe command timed out after 400 ms",
	    "a timeout keeps the partial output");
	check(now_ms() - t < 5000, "and comes in time");
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
	is_text(sh(S, "setsid -f sh -c 'setsid -f sleep 300'; sleep 0.1; pgrep -c sleep"), false, "2\n", "a daemonised process runs");
	is_text(tool(S, "bash", restart()), false, "bash session restarted", "restart says so");
	is_text(sh(S, "pgrep -c sleep"), true, "0\n", "restart ends background and daemonised processes");
	is_text(sh(S, "(sleep 0.3; echo late) & echo now"), false, "now\n", "late output does not belong to this call");
	is_text(sh(S, "wait; echo after"), false, "late\nafter\n", "it is shown by the next one");
	is_text(sh(S, "exec >/dev/null 2>&1; echo hidden"), false, "(no output)", "a shell that closed its output");
	is_text(tool(S, "bash", restart()), false, "bash session restarted", "can be restarted");
	is_text(sh(S, "for i in $(seq 400); do (sleep 0.01 &) ; done; sleep 0.5; ps -e -o stat= | grep -c Z"), true, "0\n",
	    "orphans are reaped");
}

void
test_shell(void)
{
	state();
	big_command();
	output_cap();
	endings();
}
