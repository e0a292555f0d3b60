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

/* Rounded down, before 1970 too. */
static int64_t
quotient(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* v as n decimal digits and a character behind them. */
static char *
put_digits(char *p, unsigned v, int n, char after)
{
	for (int i = n - 1; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
	p[n] = after;
	return p + n + 1;
}

char *
clock_format(int64_t us, char out[CLOCK_TEXT])
{
	int64_t s = quotient(us, 1000000), day = quotient(s, 86400);
	unsigned rest = (unsigned)(s - day * 86400);
	unsigned z = (unsigned)(day + 719468), era = z / 146097, doe = z % 146097;	/* days since 0000-03-01, in eras of 400 years */
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
	char *p = put_digits(out, yoe + era * 400 + (month <= 2), 4, '-');

	p = put_digits(p, month, 2, '-');
	p = put_digits(p, doy - (153 * mp + 2) / 5 + 1, 2, 'T');
	p = put_digits(p, rest / 3600, 2, ':');
	p = put_digits(p, rest / 60 % 60, 2, ':');
	p = put_digits(p, rest % 60, 2, '.');
	p = put_digits(p, (unsigned)(us - s * 1000000), 6, 'Z');
	*p = '\0';
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
