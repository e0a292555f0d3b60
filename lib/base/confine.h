/*
 * confine: a system call filter for programs that hold other people's secrets. Call it when everything is open that must be written to.
 */
#ifndef ROOST_BASE_CONFINE_H
#define ROOST_BASE_CONFINE_H

#include <stdbool.h>

/*
 * No other program, no look into other processes, no file but for reading; without network also no socket but unix ones. A forbidden call
 * fails with EPERM. Aborts when the kernel refuses the filter. Needs no privilege (harden_process() came before).
 */
void confine_process(bool network);

#endif
