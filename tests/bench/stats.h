/* stats: samples, their quantiles, the rows of the table, and what processes of the instance use. */
#ifndef ROOST_BENCH_STATS_H
#define ROOST_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* Samples in microseconds; zero-initialised is valid. */
struct samples {
	double *v;
	size_t n, cap;
};

void samples_add(struct samples *s, double us);
/* q in 0..1; sorts. 0 when there are none. */
double samples_at(struct samples *s, double q);
void samples_free(struct samples *s);

/*
 * One row: what, p50 and p99 in microseconds (negative: empty), a rate or amount as text, ratio to the floor as text, goal as text.
 * met: whether the goal is; row() is one without a goal to meet.
 */
void judged(bool met, const char *what, double p50, double p99, const char *amount, const char *ratio, const char *goal);
void row(const char *what, double p50, double p99, const char *amount, const char *ratio, const char *goal);

/* CPU milliseconds that all processes of the instance have used so far, and those of one class. */
double cpu_ms(void);
double cpu_ms_of(const char *class);

/* Proportional memory in kB of the instance's processes whose class begins with this. Classes: gateway stream worker hands nginx pg redis sv */
double memory_kb(const char *class);
/* The same with all that is shared counted in each process (RSS). */
double resident_kb(const char *class);

#endif
