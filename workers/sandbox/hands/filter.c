/*
 * filter: see filter.h. Allow-lists: unknown calls get ENOSYS, known-bad ones EPERM, calls of a foreign architecture kill the
 * process. libseccomp compiles once at the start of hands (milliseconds); every tool loads the same bytes.
 *
 * What the conditions are for:
 *  - socket: only UNIX, INET, INET6 and NETLINK_ROUTE. vsock is not confined by network namespaces, packet and alg sockets are kernel
 *    attack surface. The comparison is of all 64 bits against an allow-list, so stray high bits do not help.
 *  - clone: no new namespaces. clone3 hides its flags in memory: ENOSYS makes libc fall back to clone.
 *  - ioctl: no TIOCSTI or TIOCLINUX (typing into a terminal). Only the low 32 bits reach the driver, so only those are compared.
 *  - mknod: FIFOs, sockets and plain files, no devices.
 *  - personality: reading it and the usual Linux one, so that address randomisation stays on.
 */
#include "filter.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

DEFINE_CLEANUP(scmp_filter_ctx, scmp, seccomp_release)

static const char *const allowed[] = {
#define ALLOW(name) #name,
#define DENY(name)
#define QUIET(name)
#include "syscalls.def"
#undef ALLOW
#undef DENY
#undef QUIET
};

static const char *const denied[] = {
#define ALLOW(name)
#define DENY(name) #name,
#define QUIET(name)
#include "syscalls.def"
#undef ALLOW
#undef DENY
#undef QUIET
};

static const char *const quiet[] = {
#define ALLOW(name)
#define DENY(name)
#define QUIET(name) #name,
#include "syscalls.def"
#undef ALLOW
#undef DENY
#undef QUIET
};

/* A name that this libseccomp or architecture does not know stays at the default, ENOSYS. */
static int
add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned nargs, const struct scmp_arg_cmp *args)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	rc = seccomp_rule_add_array(ctx, action, nr, nargs, args);
	return rc == -EDOM || rc == -EACCES ? 0 : rc;	/* not a call of this architecture; the same as the default */
}

static int
add_lists(scmp_filter_ctx ctx)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof allowed / sizeof *allowed && rc == 0; i++)
		rc = add(ctx, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
	for (i = 0; i < sizeof denied / sizeof *denied && rc == 0; i++)
		rc = add(ctx, SCMP_ACT_ERRNO(EPERM), denied[i], 0, NULL);
	for (i = 0; i < sizeof quiet / sizeof *quiet && rc == 0; i++)
		rc = add(ctx, SCMP_ACT_ERRNO(0), quiet[i], 0, NULL);
	return rc;
}

static int
add_sockets(scmp_filter_ctx ctx)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
	const struct scmp_arg_cmp route[] = { SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE) };
	const struct scmp_arg_cmp netlink[] = { SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_NE, NETLINK_ROUTE) };
	const struct scmp_arg_cmp pair = SCMP_A0(SCMP_CMP_EQ, AF_UNIX), no_pair = SCMP_A0(SCMP_CMP_NE, AF_UNIX);
	const struct scmp_arg_cmp above = SCMP_A0(SCMP_CMP_GT, AF_NETLINK);
	size_t i;
	int rc, family;

	rc = add(ctx, SCMP_ACT_ALLOW, "socketpair", 1, &pair);
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socketpair", 1, &no_pair);
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_ALLOW, "socket", 2, route);
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", 2, netlink);
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &above);
	for (family = 0; family < AF_NETLINK && rc == 0; family++) {
		const struct scmp_arg_cmp is = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family);
		uint32_t action = SCMP_ACT_ERRNO(EAFNOSUPPORT);

		for (i = 0; i < sizeof families / sizeof *families; i++)
			if (families[i] == family)
				action = SCMP_ACT_ALLOW;
		rc = add(ctx, action, "socket", 1, &is);
	}
	return rc;
}

static int
add_processes(scmp_filter_ctx ctx)
{
	static const uint64_t namespaces[] = {
		CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET
	};
	const struct scmp_arg_cmp plain = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET, 0);
	static const uint64_t personalities[] = { 0, 0xffffffff, 0xffffffffffffffff };
	size_t i;
	int rc = add(ctx, SCMP_ACT_ALLOW, "clone", 1, &plain);

	for (i = 0; i < sizeof namespaces / sizeof *namespaces && rc == 0; i++) {
		const struct scmp_arg_cmp one = SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]);

		rc = add(ctx, SCMP_ACT_ERRNO(EPERM), "clone", 1, &one);
	}
	for (i = 0; i < sizeof personalities / sizeof *personalities && rc == 0; i++) {
		const struct scmp_arg_cmp one = SCMP_A0(SCMP_CMP_EQ, personalities[i]);

		rc = add(ctx, SCMP_ACT_ALLOW, "personality", 1, &one);
	}
	return rc;
}

/*
 * Allow every ioctl but two. A rule can only say "these bits equal that", so the complement is spelled out: a command is another one
 * when one of the bits that both forbidden commands share differs, or when the few bits that tell them apart show a third pattern.
 */
static int
add_ioctls(scmp_filter_ctx ctx)
{
	const uint32_t apart = TIOCSTI ^ TIOCLINUX;
	uint32_t bit, pattern = 0;
	int rc = 0;

	for (bit = 1; bit && rc == 0; bit <<= 1) {
		const struct scmp_arg_cmp other = SCMP_A1(SCMP_CMP_MASKED_EQ, bit, ~(uint32_t)TIOCSTI & bit);

		if (!(bit & apart))
			rc = add(ctx, SCMP_ACT_ALLOW, "ioctl", 1, &other);
	}
	do {		/* all subsets of the bits apart */
		const uint32_t cmd = (TIOCSTI & ~apart) | pattern;
		const struct scmp_arg_cmp exact = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, cmd);
		const bool bad = cmd == TIOCSTI || cmd == TIOCLINUX;

		if (rc == 0)
			rc = add(ctx, bad ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, "ioctl", 1, &exact);
		pattern = (pattern - apart) & apart;
	} while (pattern);
	return rc;
}

static int
add_nodes(scmp_filter_ctx ctx)
{
	static const struct { mode_t type; uint32_t action; } types[] = {
		{ 0, SCMP_ACT_ALLOW }, { S_IFREG, SCMP_ACT_ALLOW }, { S_IFIFO, SCMP_ACT_ALLOW }, { S_IFSOCK, SCMP_ACT_ALLOW },
		{ S_IFCHR, SCMP_ACT_ERRNO(EPERM) }, { S_IFBLK, SCMP_ACT_ERRNO(EPERM) },
	};
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof types / sizeof *types && rc == 0; i++) {
		const struct scmp_arg_cmp second = SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, types[i].type);
		const struct scmp_arg_cmp third = SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, types[i].type);

		rc = add(ctx, types[i].action, "mknod", 1, &second);
		if (rc == 0)
			rc = add(ctx, types[i].action, "mknodat", 1, &third);
	}
	return rc;
}

int
filter_self(struct err *e)
{
#ifndef __SANITIZE_ADDRESS__		/* which calls what it likes */
	/* Beyond what tools may: namespaces and mounts. Clone's namespaces are told apart by the tools' own filter. */
	static const char *const own[] = {
		"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount", "mount_setattr",
		"sethostname", "setdomainname", "personality",
	};
	AUTO(scmp) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	size_t i;
	int rc;

	if (!ctx)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot start the seccomp filter of hands");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (i = 0; i < sizeof allowed / sizeof *allowed && rc == 0; i++)
		rc = add(ctx, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
	for (i = 0; i < sizeof own / sizeof *own && rc == 0; i++)
		rc = add(ctx, SCMP_ACT_ALLOW, own[i], 0, NULL);
	if (rc == 0)
		rc = add_sockets(ctx);
	if (rc == 0)
		rc = add_ioctls(ctx);
	if (rc == 0)
		rc = add_nodes(ctx);
	if (rc == 0)
		rc = seccomp_load(ctx);
	if (rc < 0)
		return err_fault(e, EK_UNAVAILABLE, -rc, "cannot put hands under a seccomp filter");
#endif
	return 0;
}

int
filter_compile(struct err *e)
{
	AUTO(scmp) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	AUTO(fd) int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc;

	if (!ctx || fd < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot start the seccomp filter");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = add_lists(ctx);
	if (rc == 0)
		rc = add_sockets(ctx);
	if (rc == 0)
		rc = add_processes(ctx);
	if (rc == 0)
		rc = add_ioctls(ctx);
	if (rc == 0)
		rc = add_nodes(ctx);
	if (rc == 0)
		rc = seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		return err_fault(e, EK_UNAVAILABLE, -rc, "cannot compile the seccomp filter");
	return steal_fd(fd);
}
