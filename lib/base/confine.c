/*
 * confine: see confine.h. A list of what is forbidden, not of what is allowed: libpq, libcurl, the resolver and OpenSSL call whatever their
 * version likes. It takes away what would carry a secret out or let another process look in; missing capabilities, the user and, for the
 * vault, a network namespace without an interface are the other fences.
 *
 * A forbidden call gives EPERM rather than death: libraries that try one go on, and tests can see it.
 */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "xalloc.h"

static void
forbid(scmp_filter_ctx f, int call)
{
	must(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 0) == 0);
}

void
confine_process(bool network)
{
	static const int forbidden[] = { SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(process_vm_readv),
	    SCMP_SYS(process_vm_writev), SCMP_SYS(open_by_handle_at), SCMP_SYS(io_uring_setup), SCMP_SYS(bpf), SCMP_SYS(userfaultfd),
	    SCMP_SYS(perf_event_open), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(mount), SCMP_SYS(unshare),
	    SCMP_SYS(setns), SCMP_SYS(pidfd_getfd), SCMP_SYS(listen), SCMP_SYS(memfd_create), SCMP_SYS(creat), SCMP_SYS(openat2),
	    SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	    SCMP_SYS(renameat2), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat) };
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);

	must(f != NULL);
#ifndef __SANITIZE_ADDRESS__	/* whose search for leaks needs these */
	forbid(f, SCMP_SYS(ptrace));
	forbid(f, SCMP_SYS(open));
#endif
	for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		forbid(f, forbidden[i]);
	must(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_WRONLY)) == 0);
	must(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR)) == 0);
	must(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_PACKET)) == 0);
	if (!network)
		must(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX)) == 0);
	must(seccomp_load(f) == 0);
	seccomp_release(f);
}
