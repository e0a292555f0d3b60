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
	SB_F_SPILLED = 8,	/* DONE of a bash call: the output was too long and is in SB_SPILL_BASH, */
	SB_F_PART = 16,		/* its beginning only */
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

#define SB_SPILL_CHARS 100000u		/* a longer output goes to a file, and a part of it to the model (contract 4.3) */
#define SB_KEEP (4u * SB_SPILL_CHARS)	/* bytes of an output that hands may read: no shorter output has more characters than that */
#define SB_BASH_TAIL (100u << 10)	/* of a command's longer output: its end, bytes with the mark */
#define SB_SPILL_MAX (32u << 20)	/* bytes of a command's output that are saved */
#define SB_CALLS_MAX 32			/* calls of one sandbox at a time */

#define SB_UID 1000			/* who tools are, inside */
#define SB_USER "agent"
#define SB_HOME "/home/agent"
#define SB_WORKDIR "/workspace"
#define SB_OUTPUTS "/mnt/session/outputs"
#define SB_UPLOADS "/mnt/session/uploads"
#define SB_SPILL_DIR "/tmp/tool-output"
#define SB_SPILL_BASH SB_SPILL_DIR "/bash-%u.txt"	/* by the call's number; other tools: by its id */

#endif
