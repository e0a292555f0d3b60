/* priv: roost-hands gives up what it does not need, at its start. */
#ifndef ROOST_SANDBOX_PRIV_H
#define ROOST_SANDBOX_PRIV_H

#include "err.h"

/* Keep only the capabilities it takes to make sandboxes, in every set; no new privileges. EK_UNAVAILABLE names a missing one. */
int priv_drop(struct err *e);

#endif
