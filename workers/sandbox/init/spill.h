/*
 * spill: a file in the sandbox that takes the whole of an output too long for the model (contract 4.3). pid 1 writes it, but a tool opens
 * it: whatever lies at that path, pid 1's rights are not lent to it.
 */
#ifndef ROOST_SANDBOX_SPILL_H
#define ROOST_SANDBOX_SPILL_H

#include <stdint.h>

/* The file of a call, by its number (wire.h has the name). -1: it cannot be opened, or not at once. */
int spill_open(uint32_t call);

#endif
