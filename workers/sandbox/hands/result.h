/* result: the words of a call's result, from how it ended and what it put out. */
#ifndef ROOST_SANDBOX_RESULT_H
#define ROOST_SANDBOX_RESULT_H

#include "call.h"

/* Fill c->text, is_error and spilled from roost-init's message and the output memfd. */
void result_compose(struct call *c, const struct sb_msg *m);

#endif
