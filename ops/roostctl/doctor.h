/*
 * doctor: the form of a check. A check looks at one thing, changes nothing, and reports once or several times; a warning or a failure
 * says what to do. doctor.c has the table and the checks of the instance, doctor_host.c those of the machine.
 */
#ifndef ROOST_OPS_DOCTOR_H
#define ROOST_OPS_DOCTOR_H

#include "ctl.h"

struct doctor {
	struct ctl *ctl;
	const char *name;	/* of the running check */
	int warnings, failures;
};

void doctor_ok(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* advice: what to do, one sentence. */
void doctor_warn(struct doctor *d, const char *advice, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void doctor_fail(struct doctor *d, const char *advice, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

typedef void doctor_check(struct doctor *d);
doctor_check doctor_store, doctor_archive, doctor_bell;
doctor_check doctor_vault, doctor_tls;
doctor_check doctor_kernel, doctor_namespaces, doctor_cgroups, doctor_seccomp, doctor_landlock, doctor_overlay, doctor_clock,
    doctor_disk, doctor_memory, doctor_files, doctor_programs, doctor_users;

#endif
