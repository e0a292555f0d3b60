/*
 * doctor_tls: what nginx shows to clients. Its certificate is there, can be read, has not ended and does not end soon; its key is there,
 * belongs to it, and nginx' user can read it, and nobody else.
 *
 * nginx reads both when it starts and keeps them: a missing key harms nobody until its next start, which fails. That is why the doctor asks
 * for what lies on the disk; what is served now is asked by the check "health", with a client's eyes.
 */
#include "doctor.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service.h"

#define SOON "1209600"	/* 14 days in seconds; make up renews 30 days before the end */
#define USER "roost-nginx"

/* Is it valid for so many seconds more? Anything that openssl says goes to out. */
static bool
lasts(const char *crt, const char *seconds, char *out, int size)
{
	const char *const argv[] = { "openssl", "x509", "-in", crt, "-noout", "-checkend", seconds, NULL };

	return service_capture(argv, 5, out, size) == 0;
}

static bool
check_end(struct doctor *d, const char *crt)
{
	const char *const argv[] = { "openssl", "x509", "-in", crt, "-noout", "-enddate", NULL };
	char end[256], said[256];

	if (access(crt, R_OK) != 0) {
		doctor_fail(d, "run make up: it makes a new one; nginx does not start without it", "%s: %s", crt, strerror(errno));
		return false;
	}
	if (service_capture(argv, 5, end, sizeof(end)) != 0) {
		doctor_fail(d, "run make up: it makes a new one; nginx does not start with this", "%s is no certificate", crt);
		return false;
	}
	end[strcspn(end, "\n")] = '\0';
	if (!lasts(crt, "0", said, sizeof(said)))
		doctor_fail(d, "run make up: it renews it; until then clients refuse to connect", "expired (%s)", end);
	else if (!lasts(crt, SOON, said, sizeof(said)))
		doctor_warn(d, "run make up: it renews it", "ends within 14 days (%s)", end);
	else
		return true;
	return false;
}

static bool
check_key(struct doctor *d, const char *crt, const char *key)
{
	const char *const of_crt[] = { "openssl", "x509", "-in", crt, "-noout", "-pubkey", NULL };
	const char *const of_key[] = { "openssl", "pkey", "-in", key, "-pubout", NULL };
	const struct passwd *pw = getpwnam(USER);
	char a[2048], b[2048];
	struct stat st;

	if (stat(key, &st) != 0) {
		doctor_fail(d, "run make up: it makes a new pair; until its next start nginx goes on with what it has read", "%s: %s", key,
		    strerror(errno));
		return false;
	}
	if (!pw || st.st_uid != pw->pw_uid || (st.st_mode & 0777) != 0400) {
		doctor_fail(d, "chown " USER " and chmod 400 it, or make up; think about who may have read it", "%s has mode %03o and belongs to uid %u",
		    key, st.st_mode & 0777, st.st_uid);
		return false;
	}
	if (geteuid() != 0)
		return true;	/* check_user has said that we cannot look */
	if (service_capture(of_crt, 5, a, sizeof(a)) != 0 || service_capture(of_key, 5, b, sizeof(b)) != 0 || strcmp(a, b) != 0) {
		doctor_fail(d, "run make up: it makes a new pair; nginx does not start with these", "%s is not the key of %s", key, crt);
		return false;
	}
	return true;
}

void
doctor_tls(struct doctor *d)
{
	char crt[300], key[300];
	bool ends, keyed;

	snprintf(crt, sizeof(crt), "%s/tls/server.crt", d->ctl->conf.state_dir);
	snprintf(key, sizeof(key), "%s/tls/server.key", d->ctl->conf.state_dir);
	ends = check_end(d, crt);
	keyed = access(crt, R_OK) != 0 || check_key(d, crt, key);
	if (ends && keyed)
		doctor_ok(d, "valid for at least 14 days, its key is there");
}
