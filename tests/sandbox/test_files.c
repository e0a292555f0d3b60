/* test_files: read, write, edit, glob, grep (contract 4.3), and inputs that are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_files"

static const struct { const char *tool, *input; bool error; const char *want, *name; } cases[] = {
	/* read and write */
	{ "write", "{'file_path':'a/b/c.txt','content':'one\\ntwo\\nthree\\n'}", false, "wrote 14 bytes to a/b/c.txt",
	    "write makes parents" },
	{ "read", "{'file_path':'/workspace/a/b/c.txt'}", false, "1\tone\n2\ttwo\n3\tthree",
	    "read numbers lines; relative paths start in /workspace" },
	{ "read", "{'file_path':'a/b/c.txt','view_range':[2,2]}", false, "2\ttwo", "view_range is inclusive" },
	{ "read", "{'file_path':'a/b/c.txt','view_range':[2,-1]}", false, "2\ttwo\n3\tthree", "a range to the end" },
	{ "read", "{'file_path':'a/b/c.txt','view_range':[2,0]}", false, "2\ttwo\n3\tthree", "0 is the end, too" },
	{ "read", "{'file_path':'a/b/c.txt','view_range':[4,9]}", true, "view_range: a/b/c.txt has only 3 lines", "a range after the end" },
	{ "read", "{'file_path':'a/b/c.txt','view_range':null}", false, "1\tone\n2\ttwo\n3\tthree", "null is absent" },
	{ "read", "{'file_path':'none'}", true, "cannot read none: No such file or directory", "read of a missing file" },
	{ "read", "{'file_path':'a'}", true, "a is a directory", "read of a directory" },
	{ "read", "{'file_path':'/dev/zero'}", true, "/dev/zero is not a regular file", "read of a device" },
	{ "read", "{'file_path':'/usr/bin/env/x'}", true, "cannot read /usr/bin/env/x: Not a directory", "read through a file" },
	{ "write", "{'file_path':'a/b/c.txt','content':''}", false, "wrote 0 bytes to a/b/c.txt", "write replaces" },
	{ "read", "{'file_path':'a/b/c.txt'}", false, "(no output)", "an empty file" },
	{ "write", "{'file_path':'a','content':'x'}", true, "cannot write a: Is a directory", "write to a directory" },
	{ "write", "{'file_path':'/usr/x','content':'x'}", true, "cannot write /usr/x: Read-only file system", "write to /usr" },
	{ "write", "{'file_path':'/proc/self/oom_score_adj','content':'0'}", true, NULL, "write to /proc" },
	/* edit */
	{ "write", "{'file_path':'e','content':'a-b-c b'}", false, "wrote 7 bytes to e", "a file to edit" },
	{ "edit", "{'file_path':'e','old_string':'c','new_string':'CC'}", false, "edited e (1 replacement(s))", "edit of one occurrence" },
	{ "edit", "{'file_path':'e','old_string':'b','new_string':'B'}", true,
	    "old_string appears 2 times in e; make it unique or set replace_all", "edit of two" },
	{ "edit", "{'file_path':'e','old_string':'b','new_string':'','replace_all':true}", false, "edited e (2 replacement(s))",
	    "replace_all" },
	{ "read", "{'file_path':'e'}", false, "1\ta--CC ", "what was edited" },
	{ "edit", "{'file_path':'e','old_string':'zz','new_string':'x'}", true, "old_string not found in e", "edit of nothing" },
	{ "edit", "{'file_path':'none','old_string':'zz','new_string':'x'}", true, "cannot read none: No such file or directory",
	    "edit of a missing file" },
	/* glob and grep */
	{ "write", "{'file_path':'src/m.c','content':'int main(void)\\n{\\n\\treturn 7;\\n}\\n'}", false, "wrote 30 bytes to src/m.c",
	    "a source" },
	{ "write", "{'file_path':'src/.hidden/n.c','content':'Return\\n'}", false, "wrote 7 bytes to src/.hidden/n.c", "a hidden source" },
	{ "glob", "{'pattern':'*.c'}", false, "src/.hidden/n.c\nsrc/m.c", "glob recurses, hidden files included" },
	{ "glob", "{'pattern':'src/*.c'}", false, "src/m.c", "glob with a directory" },
	{ "glob", "{'pattern':'*.c','path':'/workspace/src'}", false, "/workspace/src/.hidden/n.c\n/workspace/src/m.c",
	    "glob is absolute iff path is" },
	{ "glob", "{'pattern':'/workspace/**/m.c'}", false, "/workspace/src/m.c", "an absolute pattern" },
	{ "glob", "{'pattern':'*.zip'}", false, "No files found", "glob without result" },
	{ "glob", "{'pattern':'*','path':'/none'}", true, "cannot search /none: No such file or directory", "glob in a missing directory" },
	{ "glob", "{'pattern':'{a'}", true, NULL, "a bad glob" },
	{ "grep", "{'pattern':'return'}", false, "src/m.c", "grep gives paths" },
	{ "grep", "{'pattern':'return','output_mode':'content'}", false, "src/m.c:3:\treturn 7;", "grep's content has line numbers" },
	{ "grep", "{'pattern':'return','output_mode':'content','-n':false}", false, "src/m.c:\treturn 7;", "unless not wanted" },
	{ "grep", "{'pattern':'RETURN','-i':true}", false, "src/.hidden/n.c\nsrc/m.c", "case-insensitive" },
	{ "grep", "{'pattern':'RETURN','-i':true,'head_limit':1}", false, "src/.hidden/n.c", "head_limit" },
	{ "grep", "{'pattern':'RETURN','-i':true,'offset':1}", false, "src/m.c", "offset" },
	{ "grep", "{'pattern':'e','output_mode':'count','path':'src'}", false, "src/.hidden/n.c:1\nsrc/m.c:1", "count" },
	{ "grep", "{'pattern':'return','output_mode':'content','-B':1}", false, "src/m.c-2-{\nsrc/m.c:3:\treturn 7;", "lines before" },
	{ "grep", "{'pattern':'return','output_mode':'content','context':1}", false, "src/m.c-2-{\nsrc/m.c:3:\treturn 7;\nsrc/m.c-4-}",
	    "lines around" },
	{ "grep", "{'pattern':'main.*return','multiline':true}", false, "src/m.c", "multiline" },
	{ "grep", "{'pattern':'return','glob':'*.h'}", false, "No matches found", "grep of other files" },
	{ "grep", "{'pattern':'return','type':'c'}", false, "src/m.c", "by type" },
	{ "grep", "{'pattern':'return','type':'nosuch'}", true, "unrecognized file type: nosuch", "an unknown type" },
	{ "grep", "{'pattern':'--files'}", false, "No matches found", "a pattern that looks like an option" },
	{ "grep", "{'pattern':'('}", true, NULL, "a bad expression" },
	{ "grep", "{'pattern':'x','path':'/none'}", true, "cannot search /none: No such file or directory", "grep in a missing path" },
	/* inputs */
	{ "bash", "{}", true, "Invalid input for bash: command: required", "bash without command" },
	{ "bash", "{'command':1}", true, "Invalid input for bash: command: must be a string", "a command that is a number" },
	{ "bash", "{'command':'x','timeout_ms':-1}", true, "Invalid input for bash: timeout_ms: must be between 0 and 1000000000",
	    "a negative timeout" },
	{ "bash", "{'command':'x','timeout_ms':'1'}", true, "Invalid input for bash: timeout_ms: must be an integer",
	    "a timeout in words" },
	{ "bash", "{'command':'x','cwd':'/'}", true, "Invalid input for bash: cwd: unknown field", "an unknown field" },
	{ "bash", "{'command':'true','timeout_ms':5000.0,'restart':false}", false, "(no output)", "a whole number as real" },
	{ "read", "{}", true, "Invalid input for read: file_path: required", "read without path" },
	{ "read", "{'file_path':''}", true, "Invalid input for read: file_path: must not be empty", "an empty path" },
	{ "read", "{'file_path':null}", true, "Invalid input for read: file_path: must be a string", "a null path" },
	{ "read", "{'file_path':'e','view_range':[1]}", true, "Invalid input for read: view_range: must be an array of two integers",
	    "half a range" },
	{ "read", "{'file_path':'e','view_range':[0,1]}", true, "Invalid input for read: view_range.0: must be at least 1",
	    "a range from 0" },
	{ "read", "{'file_path':'e','view_range':[3,2]}", true, "Invalid input for read: view_range.1: must not be less than the start",
	    "a range backwards" },
	{ "write", "{'file_path':'e'}", true, "Invalid input for write: content: required", "write without content" },
	{ "edit", "{'file_path':'e','old_string':'','new_string':'x'}", true, "Invalid input for edit: old_string: must not be empty",
	    "edit of the empty string" },
	{ "edit", "{'file_path':'e','old_string':'a','new_string':'b','replace_all':'yes'}", true,
	    "Invalid input for edit: replace_all: must be true or false", "replace_all in words" },
	{ "grep", "{'pattern':'a','output_mode':'all'}", true,
	    "Invalid input for grep: output_mode: must be one of content, files_with_matches, count", "an unknown mode" },
	{ "web_fetch", "{}", true, "Invalid input for web_fetch: no tool named web_fetch", "a tool that is not here" },
};

static void
table(void)
{
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[512], *p;
		struct result r;
		json_t *input;

		snprintf(text, sizeof text, "%s", cases[i].input);
		for (p = text; *p; p++)		/* quotes that need no escaping in C */
			if (*p == '\'')
				*p = '"';
		input = json_loads(text, 0, NULL);
		r = tool(S, cases[i].tool, input ? input : json_object());
		if (cases[i].want)
			is_text(r, cases[i].error, cases[i].want, cases[i].name);
		else
			check(r.is_error == cases[i].error && r.len > 0, "%s", cases[i].name);
	}
}

static struct result
read_of(const char *path)
{
	return tool(S, "read", json_pack("{s:s}", "file_path", path));
}

static void
sizes(void)
{
	char path[6000];
	struct result r;

	(void)sh(S,
	    "seq 1 9000 > mid; seq 1 30000 > long; head -c 400000 /dev/zero | tr '\\0' x > wide; printf 'a\\0b' > bin; mkfifo fifo; "
	    "printf 'no newline' > nonl; printf '\\xff\\xfe\\n' > latin; ln -s e link; chmod 600 e; ln -s /workspace/gone dangling");
	r = read_of("mid");
	check(!r.is_error && !r.spilled && r.len > 80000 && strcmp(r.text + r.len - 9, "9000\t9000") == 0,
	    "100 000 characters are not cut");
	r = read_of("long");
	check(!r.is_error && r.spilled && r.len < 20000 && strstr(r.text, "the full text is in /tmp/tool-output/sevt_") != NULL,
	    "more goes to a file");
	is_text(sh(S, "tail -n 1 $(ls -t /tmp/tool-output/* | head -1) | cut -f1"), false, "30000\n", "which has all of it");
	r = read_of("wide");
	check(!r.is_error && r.spilled, "one endless line is spilled");
	is_text(sh(S, "tail -n 1 $(ls -t /tmp/tool-output/* | head -1)"), false,
	    "[file truncated at 256 KiB, in line 1; use view_range to read on]", "a file is read up to 256 KiB");
	(void)sh(S, "mkdir -p g; for i in 1 2 3; do seq 1 12000 > g/$i; done");
	r = tool(S, "grep", json_pack("{s:s,s:s,s:s}", "pattern", ".", "path", "g", "output_mode", "content"));
	check(!r.is_error && r.spilled && r.len < 20000 && strstr(r.text, "the full text is in /tmp/tool-output/sevt_") != NULL,
	    "a long search goes to a file");
	is_text(sh(S, "wc -l < $(ls -t /tmp/tool-output/* | head -1)"), false, "35999\n", "which has all of it");
	(void)sh(S, "python3 -c \"open('cjk', 'w').write('\xe6\x97\xa5' * 80000)\"; rm -r g");
	r = read_of("cjk");
	check(!r.is_error && !r.spilled && r.len == 240002, "characters count, not bytes");
	is_text(read_of("bin"), true, "bin is a binary file (3 bytes)", "a binary file");
	is_text(read_of("fifo"), true, "fifo is not a regular file", "a FIFO does not block");
	is_text(read_of("nonl"), false, "1\tno newline", "no newline at the end");
	is_text(read_of("latin"), false, "1\t\xef\xbf\xbd\xef\xbf\xbd", "invalid UTF-8 in a file");
	is_text(tool(S, "write", json_pack("{s:s,s:s}", "file_path", "link", "content", "via")), false, "wrote 3 bytes to link",
	    "write through a link");
	is_text(sh(S, "cat e; stat -c %a e; test -L link && echo link"), false, "via600\nlink\n", "keeps the link and the mode");
	memset(path, 'p', sizeof path - 1);
	path[3000] = '\0';
	has_text(tool(S, "write", json_pack("{s:s,s:s}", "file_path", path, "content", "x")), true, "File name too long",
	    "a name that is too long");
}

void
test_files(void)
{
	table();
	sizes();
}
