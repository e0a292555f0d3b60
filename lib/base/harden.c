/*
 * harden: see harden.h. exec makes a process dumpable again, so each program calls this for itself, before it reads a secret.
 *
 * Locking memory is best effort: where the limit is low the secrets' own pages are still locked by libsodium.
 */
#include "harden.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "log.h"
#include "xalloc.h"

void
harden_process(bool lock)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit most;

#ifndef __SANITIZE_ADDRESS__	/* whose search for leaks needs ptrace */
	must(prctl(PR_SET_DUMPABLE, 0) == 0);
#endif
	must(setrlimit(RLIMIT_CORE, &none) == 0);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	/* with a low limit and MCL_FUTURE, allocations would fail later */
	if (lock && getrlimit(RLIMIT_MEMLOCK, &most) == 0 && most.rlim_cur >= (512UL << 20) && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_debug("memory_not_locked", NULL);
}
