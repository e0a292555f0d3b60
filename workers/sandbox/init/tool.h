/*
 * tool: the file tools. Each runs in a child of pid 1 that has dropped everything (confine.h): nothing it reads or is asked to do can
 * reach further than the tool user's own shell could.
 */
#ifndef ROOST_SANDBOX_TOOL_H
#define ROOST_SANDBOX_TOOL_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "args.h"
#include "buf.h"

#define TOOL_FILE_MAX (16u << 20)	/* the largest file that edit takes into memory */
#define TOOL_READ_MAX (256u << 10)	/* contract 4.3 */

/* Fill out with the result's text. 0, or -1 when the text is an error for the model. */
typedef int tool_fn(const struct args *a, struct buf *out);

tool_fn tool_read, tool_write, tool_edit, tool_glob, tool_grep;

/*
 * The whole life of a tool child after confine_drop(): run tool on the arguments in args_fd, write the text to out_fd (to a file in the
 * sandbox when too long), return the exit status for hands (wire.h).
 */
int tool_main(uint32_t tool, int args_fd, int out_fd);

/* An error result: text about `what`, with errno's words when sys is not 0. Always -1. */
int tool_fail(struct buf *out, int sys, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The path as given, made absolute (relative paths start at the working directory). -1 with an error in out when too long. */
int tool_path(const char *given, char path[PATH_MAX], struct buf *out);

/* Replace path's content in one step, keeping its mode; parents are made. 0, or -1 with errno. */
int file_replace(const char *path, const void *data, size_t len);

/*
 * Run ripgrep with argv in directory dir and hand its output to line() until that returns non-zero or max lines were taken.
 * 0, or -1 with an error in out (rg's own words when it found nothing and complained).
 */
typedef int rg_line_fn(void *ctx, const char *line, size_t len);
int rg_run(const char *dir, char *const argv[], rg_line_fn *line, void *ctx, struct buf *out);

#endif
