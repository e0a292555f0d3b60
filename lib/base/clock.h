/* clock: monotonic for intervals, wall time in microseconds since 1970 for stamps, RFC 3339 text for the wire. */
#ifndef ROOST_BASE_CLOCK_H
#define ROOST_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_TEXT 28	/* "2026-11-20T05:37:51.123456Z" + NUL */

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_us(void);

/* Wall microseconds as RFC 3339 UTC with six digits (contract 1.8). Returns out. */
char *clock_format(int64_t us, char out[CLOCK_TEXT]);

/* Parse RFC 3339 (fraction 0..9 digits, Z or +hh:mm). 0, or -1 when it is not one or the year is not in 1970..9999. */
int clock_parse(const char *text, int64_t *out_us);

#endif
