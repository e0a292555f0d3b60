/*
 * failpoint: see failpoint.h. A stat() per place finds out whether the control file has changed; that is affordable in a debug build
 * and needs no signal. Safe from several threads. A line that is not understood is logged and left out.
 */
#include "failpoint.h"

#ifdef ROOST_FAILPOINTS

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

const struct failpoint_row failpoints[FP_COUNT] = {
#define FP(id, name, process, leaves) [FP_##id] = { name, process, leaves },
#include "failpoint.def"
#undef FP
};

enum action { NOTHING, KILL, EXIT, SLEEP, FAIL, SHIFT };

static const struct { const char *name; enum action action; } actions[] = {
	{ "kill", KILL }, { "exit", EXIT }, { "sleep", SLEEP }, { "error", FAIL }, { "shift", SHIFT },
};

struct rule {
	enum action action;
	char where[64];		/* "": everywhere; places with '+' between them: in all of them at once */
	int ms;
	enum err_kind kind;
	bool once;
	int64_t nth;		/* 0: every time */
	double chance;		/* 0: not drawn */
	uint64_t dice;
	int64_t hits;
};

#define PLACES 48
#define PLACE 24

static struct {
	pthread_mutex_t lock;
	const char *path;
	struct stat seen;
	struct rule rules[FP_COUNT];
	int log, met;		/* -1: not there; opened early, for programs that take the right from themselves (lib/base/confine.h) */
	struct { char name[PLACE]; bool met[FP_COUNT]; } places[PLACES];	/* what stands in FILE.met of this process */
} fp = { .lock = PTHREAD_MUTEX_INITIALIZER, .log = -1, .met = -1 };

static __thread const char *scope;

static int
find(const char *name)
{
	for (int i = 0; i < FP_COUNT; i++)
		if (strcmp(failpoints[i].name, name) == 0)
			return i;
	return -1;
}

static enum err_kind
kind_of(const char *name)
{
	for (int k = 1; k < EK_COUNT; k++)
		if (strcmp(err_name((enum err_kind)k), name) == 0)
			return (enum err_kind)k;
	return EK_UNAVAILABLE;
}

static int
parse_action(char *word, struct rule *r)
{
	char *arg = strchr(word, ':');

	if (arg != NULL)
		*arg++ = '\0';
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
		if (strcmp(actions[i].name, word) == 0)
			r->action = actions[i].action;
	r->ms = arg != NULL ? atoi(arg) : 0;
	r->kind = kind_of(arg != NULL ? arg : "");
	return r->action == NOTHING || (r->action == SLEEP && r->ms <= 0) ? -1 : 0;
}

static void
parse_line(char *line)
{
	struct rule r = { .action = NOTHING };
	char *save = NULL, *name, *where, *action, *when, *seed;
	int id;

	line[strcspn(line, "#\r\n")] = '\0';
	name = strtok_r(line, " \t", &save);
	if (name == NULL)
		return;
	action = strtok_r(NULL, " \t", &save);
	when = strtok_r(NULL, " \t", &save);
	seed = strtok_r(NULL, " \t", &save);
	where = strchr(name, '/');
	if (where != NULL)
		*where++ = '\0';
	snprintf(r.where, sizeof r.where, "%s", where != NULL ? where : "");
	id = find(name);
	if (id < 0 || action == NULL || parse_action(action, &r) < 0) {
		log_warn("failpoint_line", "name", name, NULL);
		return;
	}
	r.dice = (seed != NULL ? strtoull(seed, NULL, 10) : 1) * 2654435761u + (uint64_t)id + 1;
	if (when != NULL && strcmp(when, "once") == 0)
		r.once = true;
	else if (when != NULL && when[0] == '@')
		r.nth = strtoll(when + 1, NULL, 10);
	else if (when != NULL && strcmp(when, "always") != 0)
		r.chance = strtod(when, NULL);
	fp.rules[id] = r;
}

static void
reload(void)
{
	struct stat now = { .st_ino = 0 };
	char line[256];
	FILE *f;

	if (stat(fp.path, &now) < 0)
		now = (struct stat){ .st_ino = 0 };
	if (now.st_ino == fp.seen.st_ino && now.st_size == fp.seen.st_size && now.st_mtim.tv_sec == fp.seen.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == fp.seen.st_mtim.tv_nsec)
		return;
	fp.seen = now;
	memset(fp.rules, 0, sizeof fp.rules);
	f = fopen(fp.path, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL)
		parse_line(line);
	fclose(f);
}

static int
beside(const char *path, const char *suffix)
{
	char name[512];

	snprintf(name, sizeof name, "%s.%s", path, suffix);
	return open(name, O_WRONLY | O_APPEND | O_CLOEXEC);	/* whoever made the control file makes it, for all users */
}

static void
reopen(int *fd, const char *path, const char *suffix)
{
	if (*fd >= 0)
		close(*fd);
	*fd = path != NULL ? beside(path, suffix) : -1;
}

void
failpoint_open(const char *path)
{
	fp.path = path != NULL && path[0] != '\0' ? path : NULL;
	reopen(&fp.log, fp.path, "log");
	reopen(&fp.met, fp.path, "met");
	if (fp.path != NULL)
		(void)signal(SIGXFSZ, SIG_IGN);		/* of programs that may write no file: they strike without noting it */
}

void
failpoint_scope(const char *name)
{
	scope = name;
}

/* xorshift64*: the same seed gives the same draws. */
static double
draw(struct rule *r)
{
	r->dice ^= r->dice >> 12;
	r->dice ^= r->dice << 25;
	r->dice ^= r->dice >> 27;
	return (double)((r->dice * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

/* The first process to make the mark is the one that fails. */
static bool
first(enum failpoint id, const char *where)
{
	char mark[512];
	AUTO(fd) int fd = -1;

	snprintf(mark, sizeof mark, "%s.%s%s%s", fp.path, failpoints[id].name, where[0] != '\0' ? "." : "", where);
	fd = open(mark, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);	/* a confined program may open nothing to write to */
	return fd >= 0;
}

static void
note(enum failpoint id, enum action action)
{
	char line[128];
	AUTO(fd) int fd = fp.log < 0 ? beside(fp.path, "log") : -1;
	int n = snprintf(line, sizeof line, "%s %s %d\n", failpoints[id].name, actions[action - 1].name, (int)getpid());

	if ((fd >= 0 || fp.log >= 0) && write(fd >= 0 ? fd : fp.log, line, (size_t)n) != n)
		log_warn("failpoint_log", "name", failpoints[id].name, NULL);
}

/* Where this thread is: the turn's state, else what the place says of itself, else the program. */
static void
note_met(enum failpoint id, const char *where)
{
	const char *here = scope != NULL ? scope : where != NULL ? where : program_invocation_short_name;
	char line[128];
	int i = 0, n;

	if (fp.met < 0)
		return;
	while (i < PLACES && fp.places[i].name[0] != '\0' && strncmp(fp.places[i].name, here, PLACE - 1) != 0)
		i++;
	if (i == PLACES || fp.places[i].met[id])
		return;
	snprintf(fp.places[i].name, PLACE, "%s", here);
	fp.places[i].met[id] = true;
	n = snprintf(line, sizeof line, "%s/%s\n", failpoints[id].name, fp.places[i].name);
	if (write(fp.met, line, (size_t)n) != n)
		fp.met = -1;
}

static bool
is(const char *place, size_t len, const char *name)
{
	return name != NULL && strlen(name) == len && memcmp(name, place, len) == 0;
}

static bool
is_here(const struct rule *r, const char *where)
{
	for (const char *p = r->where, *end; *p != '\0'; p = *end == '+' ? end + 1 : end) {
		size_t len;

		end = strchrnul(p, '+');
		len = (size_t)(end - p);
		if (!is(p, len, where) && !is(p, len, scope) && !is(p, len, program_invocation_short_name))
			return false;
	}
	return true;
}

static struct rule
wanted(enum failpoint id, const char *where)
{
	struct rule r = { .action = NOTHING };
	struct rule *have = &fp.rules[id];

	(void)pthread_mutex_lock(&fp.lock);
	reload();
	note_met(id, where);
	if (have->action != NOTHING && is_here(have, where)) {
		have->hits++;
		if ((have->nth == 0 || have->hits == have->nth) && (have->chance <= 0 || draw(have) < have->chance) && 
		    (!have->once || first(id, have->where)))
			r = *have;
	}
	(void)pthread_mutex_unlock(&fp.lock);
	return r;
}

static struct rule
hit(enum failpoint id, const char *where)
{
	struct rule r = { .action = NOTHING };
	struct timespec t;

	if (fp.path == NULL)
		return r;
	r = wanted(id, where);
	if (r.action == NOTHING)
		return r;
	note(id, r.action);
	switch (r.action) {
	case KILL:
		(void)kill(getpid(), SIGKILL);
		break;
	case EXIT:
		_exit(70);
	case SLEEP:
		t = (struct timespec){ .tv_sec = r.ms / 1000, .tv_nsec = (long)(r.ms % 1000) * 1000000 };
		while (nanosleep(&t, &t) < 0 && errno == EINTR)
			continue;
		break;
	default:
		break;
	}
	return r;
}

void
failpoint_hit(enum failpoint id, const char *where)
{
	(void)hit(id, where);
}

int
failpoint_error(enum failpoint id, struct err *e)
{
	struct rule r = hit(id, NULL);

	if (r.action != FAIL)
		return 0;
	return err_fault(e, r.kind, 0, "injected at %s", failpoints[id].name);
}

/* The lock may be held by this very thread, which logs a line that it does not understand: then the clock is as it was. */
int64_t
failpoint_shift_us(enum failpoint id)
{
	const struct rule *r = &fp.rules[id];
	int64_t us = 0;

	if (fp.path == NULL || pthread_mutex_trylock(&fp.lock) != 0)
		return 0;
	reload();
	if (r->action == SHIFT && (r->where[0] == '\0' || strcmp(r->where, program_invocation_short_name) == 0))
		us = (int64_t)r->ms * 1000;
	(void)pthread_mutex_unlock(&fp.lock);
	return us;
}

#endif
