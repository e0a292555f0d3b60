/*
 * doctor_archive: the continuous archive (ROOST_ARCHIVE): does Postgres get rid of its log, is there room, when was the last whole copy?
 * While the archive takes nothing Postgres keeps its log, which fills the disk of the data in the end. Looks only.
 */
#include "doctor.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define COPY_DAYS   8
#define SPARE_MB    1024

/* Name of the newest copy, "20261120T115930Z", or "". */
static void
newest(const char *dir, char out[32])
{
	char path[400];
	DIR *d;
	const struct dirent *de;

	out[0] = '\0';
	snprintf(path, sizeof path, "%s/base", dir);
	if (!(d = opendir(path)))
		return;
	while ((de = readdir(d)))
		if (strlen(de->d_name) == 16 && de->d_name[15] == 'Z' && strcmp(de->d_name, out) > 0)
			snprintf(out, 32, "%s", de->d_name);
	closedir(d);
}

static void
copies(struct doctor *d, const char *dir)
{
	char name[32], limit[32];
	time_t old = time(NULL) - (time_t)COPY_DAYS * 86400;
	struct tm tm;

	newest(dir, name);
	strftime(limit, sizeof limit, "%Y%m%dT%H%M%SZ", gmtime_r(&old, &tm));
	if (!name[0])
		doctor_warn(d, "run ops/backup, and let it run each day", "no copy of the database in %s yet", dir);
	else if (strcmp(name, limit) < 0)
		doctor_warn(d, "let ops/backup run each day", "the last copy of the database is of %s", name);
	else
		doctor_ok(d, "last copy %s", name);
}

void
doctor_archive(struct doctor *d)
{
	const char *dir = d->ctl->conf.archive_dir;
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	struct statvfs v;

	if (!dir[0]) {
		doctor_ok(d, "off (ROOST_ARCHIVE=/a/folder make up)");
		return;
	}
	if (statvfs(dir, &v) != 0 || DB_RUN(d->ctl->db, STMT_ARCHIVE_STATE, &res, &e) < 0) {
		doctor_fail(d, "is its disk mounted, does Postgres run?", "cannot look at %s", dir);
		return;
	}
	if (pg_bool(res, 0, 0))
		doctor_fail(d, "make room in it; see log/postgres. Postgres keeps its log meanwhile, nothing is lost while its own disk has room",
		    "%s takes nothing for %" PRId64 " s, %" PRId64 " attempts failed so far", dir, pg_int(res, 0, 1), pg_int(res, 0, 2));
	else if ((int64_t)(v.f_bavail * v.f_frsize >> 20) < SPARE_MB)
		doctor_warn(d, "make room: fewer copies (ops/backup --keep)", "%s has %" PRId64 " MB left", dir, (int64_t)(v.f_bavail * v.f_frsize >> 20));
	else
		doctor_ok(d, "%s, latest %" PRId64 " s ago", dir, pg_int(res, 0, 1));
	copies(d, dir);
}
