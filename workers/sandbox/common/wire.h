/*
 * wire: what roost-hands and roost-init say to each other over one SOCK_SEQPACKET pair.
 *
 * Every message is one struct sb_msg of fixed size; descriptors ride along (SCM_RIGHTS; towards hands only before roost-init is there). Bulk data never travels
 * here: a call's arguments and its output are memfds made by hands, so no message can be too long and no queue can fill.
 *
 * Arguments (the args memfd): a sequence of `key NUL value NUL`, checked by hands against input.def before. Numbers are decimal,
 * booleans "1". For SB_BASH the memfd holds the command's text alone.
 */
#ifndef ROOST_SANDBOX_WIRE_H
#define ROOST_SANDBOX_WIRE_H

#include <stdint.h>

enum sb_tool {
#define TOOL(name) SB_TOOL_##name,
#include "tools.def"
#undef TOOL
	SB_TOOLS
};

enum sb_op {
	/* hands -> init; descriptors in this order */
	SB_RUN = 1,	/* run a file tool: args, out, cgroup */
	SB_SHELL,	/* start a shell (call = its generation) in place of the present one: cgroup */
	SB_BASH,	/* run a command in the shell: args, out */
	/* the child that becomes init -> hands */
	SB_PLACES,	/* once, before READY: its mount namespace, its outputs directory */
	/* init -> hands */
	SB_READY,	/* the sandbox is set up; flags: SB_F_LANDLOCK */
	SB_DONE,	/* call ended: status, flags, bytes */
	SB_GONE,	/* the shell of generation `call` ended between calls: status */
};

enum {
	SB_F_LANDLOCK = 1,	/* READY: landlock is in force for tools */
	SB_F_FAILED = 2,	/* DONE: could not be started; status is an errno */
	SB_F_GONE = 4,		/* DONE of a bash call: the shell itself ended; status is its wait status */
};

struct sb_msg {
	uint32_t op;
	uint32_t call;		/* number chosen by hands */
	uint32_t tool;		/* enum sb_tool, SB_RUN only */
	uint32_t flags;
	int32_t status;		/* wait status, or errno with SB_F_FAILED */
	uint32_t unused;
	uint64_t bytes;		/* DONE of a bash call: bytes of output in all, kept or not */
};

/* A file tool's exit status. */
enum { SB_EXIT_OK = 0, SB_EXIT_ERROR = 1, SB_EXIT_SPILLED = 2 };

/* Descriptors that roost-init is started with. */
enum { SB_FD_HANDS = 3, SB_FD_FILTER = 4 };

#define SB_BASH_KEEP (100u << 10)	/* the tail of a command's output that is kept (contract 4.3) */
#define SB_OUT_MAX (512u << 10)		/* the longest output of a file tool that hands reads */
#define SB_SPILL_CHARS 100000u		/* a longer output goes to a file (contract 4.3) */
#define SB_TEXT_MAX (100u << 10)	/* bytes of one result */
#define SB_CALLS_MAX 32			/* calls of one sandbox at a time */

#define SB_UID 1000			/* who tools are, inside */
#define SB_USER "agent"
#define SB_HOME "/home/agent"
#define SB_WORKDIR "/workspace"
#define SB_OUTPUTS "/mnt/session/outputs"
#define SB_UPLOADS "/mnt/session/uploads"
#define SB_SPILL_DIR "/tmp/tool-output"

#endif
