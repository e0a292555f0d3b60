/*
 * hub_marks: see hub_marks.h. Remembers the last number of each of the HUB_WRITERS writers that came last; one that was forgotten counts
 * as new. A new writer cannot have lost anything that matters: a subscriber gets no delta whose start it did not see.
 */
#include "hub_marks.h"

enum hub_mark
hub_marks_take(struct hub_marks *m, uint64_t writer, int64_t number, int n)
{
	for (int i = 0; i < HUB_WRITERS; i++) {
		int64_t last = m->at[i].last;

		if (m->at[i].writer != writer)
			continue;
		if (number <= last)
			return MARK_AGAIN;
		m->at[i].last = number + n - 1;
		return number == last + 1 ? MARK_NEXT : MARK_HOLE;
	}
	m->at[m->next].writer = writer;
	m->at[m->next].last = number + n - 1;
	m->next = (m->next + 1) % HUB_WRITERS;
	return MARK_NEXT;
}
