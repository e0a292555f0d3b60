/*
 * stamp: see stamp.h. The database read its clock somewhere between our send and our receive, so the middle is wrong by at most half
 * the round trip. A slow round trip (over SLOW_US) is used only when nothing better is known or the clocks have drifted further
 * apart than that round trip explains: one stalled beat must not push stamps out of the second that the append statement tolerates.
 */
#include "stamp.h"

#include <stdlib.h>

#define SLOW_US 20000

void
stamp_learn(struct stamp *s, int64_t sent_us, int64_t got_us, int64_t db_us)
{
	int64_t trip = got_us - sent_us;
	int64_t offset = db_us - (sent_us + trip / 2);

	if (s->known && trip > SLOW_US && llabs(offset - s->offset_us) <= trip)
		return;
	s->offset_us = offset;
	s->known = true;
}

int64_t
stamp_now(const struct stamp *s, int64_t mono_us)
{
	return mono_us + s->offset_us;
}

int64_t
stamp_base(const struct stamp *s, int64_t mono_us, int64_t last_at_us)
{
	int64_t now = stamp_now(s, mono_us);

	return now > last_at_us ? now : last_at_us + 1;
}
