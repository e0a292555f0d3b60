/*
 * stats: see stats.h. A process belongs to the instance when it stands in a folder of its state directory (ROOST_STATE); the folder
 * names its class.
 */
#include "stats.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"
#include "xalloc.h"

void
samples_add(struct samples *s, double us)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 256;
		s->v = xrealloc(s->v, s->cap * sizeof *s->v);
	}
	s->v[s->n++] = us;
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
samples_at(struct samples *s, double q)
{
	size_t i = (size_t)(q * (double)s->n);

	if (s->n == 0)
		return 0;
	qsort(s->v, s->n, sizeof *s->v, ascending);
	return s->v[i < s->n ? i : s->n - 1];
}

void
samples_free(struct samples *s)
{
	free(s->v);
	*s = (struct samples){ 0 };
}

static void
time_cell(double us)
{
	if (us < 0)
		printf("|  ");
	else if (us < 10000)
		printf("| %.0f µs ", us);
	else
		printf("| %.1f ms ", us / 1000);
}

static void
print_row(const char *verdict, const char *what, double p50, double p99, const char *amount, const char *ratio, const char *goal)
{
	printf("| %s ", what);
	time_cell(p50);
	time_cell(p99);
	printf("| %s | %s | %s | %s |\n", amount, ratio, goal, verdict);
	fflush(stdout);
}

void
row(const char *what, double p50, double p99, const char *amount, const char *ratio, const char *goal)
{
	print_row("", what, p50, p99, amount, ratio, goal);
}

void
judged(bool met, const char *what, double p50, double p99, const char *amount, const char *ratio, const char *goal)
{
	print_row(met ? "ok" : "**short**", what, p50, p99, amount, ratio, goal);
}

/* The class of a process of ours, or NULL. */
static const char *
class_of(const char *pid, char *buf, size_t size)
{
	const char *state = getenv("ROOST_STATE");
	char link[64];
	size_t n = state ? strlen(state) : 0;
	ssize_t len;

	snprintf(link, sizeof link, "/proc/%.16s/cwd", pid);
	len = readlink(link, buf, size - 1);
	if (len <= 0 || n == 0)
		return NULL;
	buf[len] = '\0';
	if (strncmp(buf, state, n) != 0 || buf[n] != '/')
		return NULL;
	buf += n + 1;
	return strncmp(buf, "proc/", 5) == 0 ? buf + 5 : buf;
}

static double
process_cpu(const char *pid)
{
	char path[64], line[1024], *p;
	unsigned long user = 0, sys = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fgets(line, sizeof line, f) && (p = strrchr(line, ')')))
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
	fclose(f);
	return (double)(user + sys) * 1000.0 / (double)sysconf(_SC_CLK_TCK);
}

static double
rollup(const char *pid, const char *key)
{
	char path[64], line[256];
	double kb = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.16s/smaps_rollup", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (strncmp(line, key, strlen(key)) == 0)
			kb = atof(line + strlen(key));
	fclose(f);
	return kb;
}

static double
process_kb(const char *pid)
{
	return rollup(pid, "Pss:");
}

static double
process_rss(const char *pid)
{
	return rollup(pid, "Rss:");
}

static double
sum(const char *class, double (*of)(const char *pid))
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	double total = 0;

	while (d && (e = readdir(d))) {
		char buf[512];
		const char *c = isdigit((unsigned char)e->d_name[0]) ? class_of(e->d_name, buf, sizeof buf) : NULL;

		if (c && strncmp(c, class, strlen(class)) == 0)
			total += of(e->d_name);
	}
	if (d)
		closedir(d);
	return total;
}

double
cpu_ms(void)
{
	return sum("", process_cpu);
}

double
cpu_ms_of(const char *class)
{
	return sum(class, process_cpu);
}

double
memory_kb(const char *class)
{
	return sum(class, process_kb);
}

double
resident_kb(const char *class)
{
	return sum(class, process_rss);
}
