/*
 * init: what the parts of roost-init share: the channel to hands, the children it runs, the one shell.
 */
#ifndef ROOST_SANDBOX_INIT_H
#define ROOST_SANDBOX_INIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

/* Send one message to hands. A full or closed channel means that hands is gone: the process ends, and the sandbox with it. */
void init_send(uint32_t op, uint32_t call, int status, uint32_t flags, uint64_t bytes);

/* fork() into the cgroup that cgroup_fd names (O_PATH or O_RDONLY directory). As fork; -1 with errno. */
pid_t init_fork(int cgroup_fd);

/* run.c: file tools. The descriptors stay the caller's. */
void run_start(uint32_t call, uint32_t tool, int args_fd, int out_fd, int cgroup_fd);
/* A child ended. True when it was one of these. */
bool run_ended(pid_t pid, int status);

/* shell.c: the one shell. Descriptors are taken. */
void shell_start(uint32_t gen, int cgroup_fd);
void shell_run(uint32_t call, int args_fd, int out_fd);
bool shell_ended(pid_t pid, int status);
/* Descriptors to poll (at most SHELL_POLLS), and what to do after. */
#define SHELL_POLLS 3
int shell_polls(struct pollfd *fds);
void shell_served(const struct pollfd *fds, int n);

#endif
