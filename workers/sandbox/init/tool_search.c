/*
 * tool_search: glob and grep, by ripgrep of the host's /usr, with the inputs and the wording of the cloud tools (contract 4.3). rg runs
 * as the tool's own child in the same cgroup and under the same filter, and is stopped once enough has been read.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

#define GLOB_MAX 100		/* paths of one glob */
#define GREP_BYTES (8u << 20)	/* of one grep; over 100,000 characters go to a file */
#define LINE_MAX_BYTES 65536
#define RG "/usr/bin/rg"

static void
rg_child(const char *dir, char *const argv[], int out_w, int err_fd)
{
	int null = open("/dev/null", O_RDONLY);

	if (chdir(dir) < 0 || dup2(null, 0) < 0 || dup2(out_w, 1) < 0 || dup2(err_fd, 2) < 0)
		_exit(126);
	execv(RG, argv);
	_exit(127);
}

/* Cut rg's stream into lines for the callback. Returns how many were handed on. */
static size_t
rg_lines(int fd, rg_line_fn *line, void *ctx)
{
	FILE *f = fdopen(fd, "r");
	char *text = NULL;
	size_t cap = 0, n = 0;
	ssize_t len;

	if (!f) {
		close(fd);
		return 0;
	}
	while ((len = getline(&text, &cap, f)) > 0) {
		n++;
		if (text[len - 1] == '\n')
			text[--len] = '\0';
		if (line(ctx, text, (size_t)(len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES)))
			break;
	}
	free(text);
	fclose(f);
	return n;
}

/* rg's own words, without its prefix. */
static int
rg_complaint(int fd, struct buf *out)
{
	char text[2048];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	const char *p = text;

	if (n <= 0)
		return tool_fail(out, 0, "the search failed");
	text[n] = '\0';
	if (strstr(p, "No files were searched"))	/* the filters left nothing: that is an answer */
		return 0;
	if (strncmp(p, "rg: ", 4) == 0)
		p += 4;
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	return tool_fail(out, 0, "%s", p);
}

int
rg_run(const char *dir, char *const argv[], rg_line_fn *line, void *ctx, struct buf *out)
{
	int pipes[2], errfd = memfd_create("rg-errors", MFD_CLOEXEC), status;
	size_t n;
	pid_t pid;

	if (errfd < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return tool_fail(out, errno, "cannot search");
	pid = fork();
	if (pid < 0)
		return tool_fail(out, errno, "cannot start the search");
	if (pid == 0)
		rg_child(dir, argv, pipes[1], errfd);
	close(pipes[1]);
	n = rg_lines(pipes[0], line, ctx);
	kill(pid, SIGKILL);	/* when enough was read; harmless when it has ended */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) >= 126)
		return tool_fail(out, 0, "ripgrep (" RG ") is not installed on this host");
	if (n == 0 && WIFEXITED(status) && WEXITSTATUS(status) > 1)
		return rg_complaint(errfd, out);
	close(errfd);
	return 0;
}

struct glob_ctx {
	struct buf *out;
	const char *prefix;	/* as the caller wrote the path, or NULL */
	int n;
};

static int
glob_line(void *ctx, const char *line, size_t len)
{
	struct glob_ctx *g = ctx;

	if (g->n)
		buf_ch(g->out, '\n');
	if (g->prefix) {
		buf_str(g->out, g->prefix);
		if (g->prefix[strlen(g->prefix) - 1] != '/')
			buf_ch(g->out, '/');
	}
	buf_put(g->out, line, len);
	return ++g->n == GLOB_MAX;
}

/* An absolute pattern names its own directory: the part before the first component with a wildcard. */
static void
glob_split(char *pattern, const char **dir, const char **rest)
{
	size_t plain = strcspn(pattern, "*?[{");

	while (plain > 0 && pattern[plain - 1] != '/')
		plain--;
	*rest = pattern + plain;
	if (plain <= 1) {
		*dir = "/";
		return;
	}
	pattern[plain - 1] = '\0';
	*dir = pattern;
}

int
tool_glob(const struct args *a, struct buf *out)
{
	const char *given = args_get(a, "path"), *rest = args_get(a, "pattern"), *prefix = given;
	char path[PATH_MAX], pattern[PATH_MAX];
	struct glob_ctx g = { .out = out };
	struct stat st;

	if (!*rest)
		return tool_fail(out, 0, "pattern: must not be empty");
	snprintf(pattern, sizeof pattern, "%s", rest);
	if (!given && rest[0] == '/')
		glob_split(pattern, &prefix, &rest);
	if (tool_path(prefix && *prefix ? prefix : SB_WORKDIR, path, out) < 0)
		return -1;
	if (stat(path, &st) < 0)
		return tool_fail(out, errno, "cannot search %s", prefix);
	if (!S_ISDIR(st.st_mode))
		return tool_fail(out, 0, "%s is not a directory", prefix);
	g.prefix = prefix && *prefix ? prefix : NULL;
	{
		char *argv[] = { (char *)"rg", (char *)"--no-config", (char *)"--files", (char *)"--hidden", (char *)"--no-ignore",
			(char *)"--color=never", (char *)"--sort=path", (char *)"-g", (char *)rest, NULL };

		if (rg_run(path, argv, glob_line, &g, out) < 0)
			return -1;
	}
	if (g.n == 0)
		buf_str(out, "No files found");
	return 0;
}

struct grep_ctx {
	struct buf *out;
	long skip, left;	/* left < 0: no limit */
	bool any;
};

static int
grep_line(void *ctx, const char *line, size_t len)
{
	struct grep_ctx *g = ctx;

	if (g->skip > 0) {
		g->skip--;
		return 0;
	}
	if (g->out->len + len + 1 > GREP_BYTES) {
		buf_str(g->out, "\n[the search was stopped here: it has too many results]");
		g->any = true;
		return 1;
	}
	if (g->any)
		buf_ch(g->out, '\n');
	buf_put(g->out, line, len);
	g->any = true;
	return g->left > 0 && --g->left == 0;
}

/* Options of the input that are rg's own: key of the input, option, whether it takes the value. */
static const struct { const char *key, *option; bool value; bool content_only; } grep_options[] = {
	{ "-i", "--ignore-case", false, false },
	{ "multiline", "--multiline", false, false },
	{ "-A", "--after-context", true, true },
	{ "-B", "--before-context", true, true },
	{ "-C", "--context", true, true },
	{ "context", "--context", true, true },
	{ "type", "--type", true, false },
	{ "glob", "--glob", true, false },
};

#define NOPTIONS (sizeof grep_options / sizeof *grep_options)

/* Build rg's argument vector; text holds the composed words. */
static void
grep_argv(const struct args *a, const char *where, char *argv[], char text[][PATH_MAX])
{
	const char *mode = args_get(a, "output_mode"), *numbers = args_get(a, "-n");
	bool content = mode && strcmp(mode, "content") == 0, count = mode && strcmp(mode, "count") == 0;
	size_t i, n = 0;

	argv[n++] = (char *)"rg";
	argv[n++] = (char *)"--no-config";
	argv[n++] = (char *)"--color=never";
	argv[n++] = (char *)"--no-heading";
	argv[n++] = (char *)"--hidden";
	argv[n++] = (char *)"--glob=!.git";
	argv[n++] = (char *)"--sort=path";
	argv[n++] = content ? (numbers && *numbers == '0' ? (char *)"-N" : (char *)"-n") : count ? (char *)"-cH" : (char *)"-l";
	for (i = 0; i < NOPTIONS; i++) {
		const char *v = args_get(a, grep_options[i].key);

		if (!v || (grep_options[i].content_only && !content) || (!grep_options[i].value && *v == '0'))
			continue;
		snprintf(text[i], PATH_MAX, grep_options[i].value ? "%s=%s" : "%s", grep_options[i].option, v);
		argv[n++] = text[i];
		if (strcmp(grep_options[i].key, "multiline") == 0)
			argv[n++] = (char *)"--multiline-dotall";
	}
	argv[n++] = (char *)"-e";
	argv[n++] = (char *)args_get(a, "pattern");
	argv[n++] = (char *)"--";
	if (where)
		argv[n++] = (char *)where;
	argv[n] = NULL;
}

int
tool_grep(const struct args *a, struct buf *out)
{
	static char text[NOPTIONS][PATH_MAX];
	const char *where = args_get(a, "path");
	struct grep_ctx g = { .out = out, .skip = args_num(a, "offset", 0), .left = args_num(a, "head_limit", 0) };
	char *argv[NOPTIONS * 2 + 16], path[PATH_MAX];

	if (where && !*where)
		where = NULL;
	if (where && tool_path(where, path, out) < 0)
		return -1;
	if (where && access(path, F_OK) < 0)
		return tool_fail(out, errno, "cannot search %s", where);
	grep_argv(a, where, argv, text);
	if (rg_run(SB_WORKDIR, argv, grep_line, &g, out) < 0)
		return -1;
	if (!g.any)
		buf_str(out, "No matches found");
	return 0;
}
