/* input: a tool call's input: checked against input.def, then handed to the sandbox in the form of wire.h. */
#ifndef ROOST_SANDBOX_INPUT_H
#define ROOST_SANDBOX_INPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "wire.h"

struct input {
	enum sb_tool tool;
	bool restart;		/* bash */
	int64_t timeout_ms;	/* bash; 0: the default */
	struct buf args;	/* the args memfd's content */
};

/* EK_INVALID, the field named in pub, for an unknown tool or a bad input. call goes along for the name of a spilled output. */
int input_check(const char *tool, const json_t *input, const char *call, struct input *out, struct err *e);
void input_free(struct input *in);
/* A memfd with the arguments; the caller closes it. -1 with errno. */
int input_memfd(const struct input *in);

#endif
