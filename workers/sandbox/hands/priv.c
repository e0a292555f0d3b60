/*
 * priv: see priv.h. Done before the socket is made, so before the first byte from anybody. A capability that the process does not have
 * (a container may take some away) stops the start here, by name, instead of failing in the middle of a sandbox.
 */
#include "priv.h"

#include <errno.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "cleanup.h"

static const struct { cap_value_t cap; const char *name; } needed[] = {
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },	/* namespaces, mounts, cgroups */
	{ CAP_SYS_CHROOT, "CAP_SYS_CHROOT" },	/* enter a sandbox's mount namespace to mount a file there */
	{ CAP_SETUID, "CAP_SETUID" },		/* uid maps */
	{ CAP_SETGID, "CAP_SETGID" },		/* gid maps */
	{ CAP_SETPCAP, "CAP_SETPCAP" },		/* this file */
	{ CAP_CHOWN, "CAP_CHOWN" },		/* hand files and cgroups to the sandbox's users */
	{ CAP_FOWNER, "CAP_FOWNER" },		/* the overlay copies files up with our rights */
	{ CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },	/* bring the loopback up */
	{ CAP_KILL, "CAP_KILL" },		/* pid 1 of a sandbox has another uid */
};

#define NEEDED ((int)(sizeof needed / sizeof *needed))

DEFINE_CLEANUP(cap_t, cap, cap_free)

int
priv_drop(struct err *e)
{
	cap_value_t keep[NEEDED], c;
	AUTO(cap) cap_t have = cap_get_proc();
	AUTO(cap) cap_t want = cap_init();
	cap_flag_value_t set;
	int i;

	if (!have || !want)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot read the process's capabilities");
	for (i = 0; i < NEEDED; i++) {
		keep[i] = needed[i].cap;
		if (cap_get_flag(have, keep[i], CAP_PERMITTED, &set) < 0 || set != CAP_SET)
			return err_fault(e, EK_UNAVAILABLE, 0, "%s is missing: roost-hands must be started as root", needed[i].name);
	}
	for (c = 0; cap_get_bound(c) >= 0; c++) {
		for (i = 0; i < NEEDED && keep[i] != c; i++)
			;
		if (i == NEEDED && cap_get_bound(c) > 0 && cap_drop_bound(c) < 0)
			return err_fault(e, EK_UNAVAILABLE, errno, "cannot drop capability %d", c);
	}
	if (cap_set_flag(want, CAP_PERMITTED, NEEDED, keep, CAP_SET) < 0 || cap_set_flag(want, CAP_EFFECTIVE, NEEDED, keep, CAP_SET) < 0 ||
	    cap_set_proc(want) < 0 || cap_reset_ambient() < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot drop capabilities");
	return 0;
}
