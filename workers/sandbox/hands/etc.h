/* etc: the /etc of every sandbox, made once per start of hands. */
#ifndef ROOST_SANDBOX_ETC_H
#define ROOST_SANDBOX_ETC_H

#include "err.h"

/* Fill directory dir with what programs expect in /etc; nothing of the host's own configuration gets in but package data. */
int etc_build(const char *dir, struct err *e);

#endif
