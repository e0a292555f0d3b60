/* clock: see clock.h. The civil calendar by arithmetic (no locale, no time zone database, no static buffers). */
#include "clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "failpoint.h"

static int64_t
read_us(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void) { return read_us(CLOCK_MONOTONIC); }
int64_t clock_mono_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }
int64_t clock_wall_us(void) { return read_us(CLOCK_REALTIME) + FAILPOINT_SHIFT(CLOCK); }

char *
clock_format(int64_t us, char out[CLOCK_TEXT])
{
	time_t s = (time_t)(us / 1000000);
	struct tm t;

	gmtime_r(&s, &t);
	snprintf(out, CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", (t.tm_year + 1900) % 10000, (t.tm_mon + 1) % 100, t.tm_mday % 100,
	    t.tm_hour % 100, t.tm_min % 100, t.tm_sec % 100, (unsigned)(us % 1000000));
	return out;
}

/* n decimal digits at *p into *out; moves *p. */
static int
digits(const char **p, int n, int *out)
{
	int v = 0;

	for (; n > 0; n--, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		v = v * 10 + (**p - '0');
	}
	*out = v;
	return 0;
}

static int
zone(const char **p, int *out_minutes)
{
	int h, m, sign = **p == '-' ? -1 : 1;

	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		*out_minutes = 0;
		return 0;
	}
	if (**p != '+' && **p != '-')
		return -1;
	(*p)++;
	if (digits(p, 2, &h) < 0 || *(*p)++ != ':' || digits(p, 2, &m) < 0 || h > 23 || m > 59)
		return -1;
	*out_minutes = sign * (h * 60 + m);
	return 0;
}

int
clock_parse(const char *text, int64_t *out_us)
{
	static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *p = text;
	int year, mon, day, h, m, s, off, frac = 0, scale = 100000;
	struct tm t = { 0 };

	if (digits(&p, 4, &year) < 0 || *p++ != '-' || digits(&p, 2, &mon) < 0 || *p++ != '-' || digits(&p, 2, &day) < 0)
		return -1;
	if ((*p != 'T' && *p != 't' && *p != ' ') || (p++, digits(&p, 2, &h)) < 0 || *p++ != ':' || digits(&p, 2, &m) < 0)
		return -1;
	if (*p++ != ':' || digits(&p, 2, &s) < 0)
		return -1;
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -1;
		for (; isdigit((unsigned char)*p); p++, scale /= 10)
			frac += (*p - '0') * scale;
	}
	if (zone(&p, &off) < 0 || *p != '\0')
		return -1;
	if (year < 1970 || mon < 1 || mon > 12 || day < 1 || day > month_days[mon - 1] || h > 23 || m > 59 || s > 60)
		return -1;
	if (mon == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
		return -1;
	t.tm_year = year - 1900;
	t.tm_mon = mon - 1;
	t.tm_mday = day;
	t.tm_hour = h;
	t.tm_min = m;
	t.tm_sec = s;
	*out_us = ((int64_t)timegm(&t) - (int64_t)off * 60) * 1000000 + frac;
	return 0;
}
