/* link: workers/harness/turn.c workers/harness/outcome.c workers/model/context.c workers/model/filesrc.c workers/harness/arrivals.c workers/harness/batch.c workers/harness/batch_status.c workers/harness/batch_events.c workers/harness/batch_stamp.c workers/harness/policy.c */
/* The state table of a turn: each pair of state and event, every state reachable, every state with a way out, none declared twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "turn.h"

#define NO (-1)

/* What must follow, written a second time by hand: a row that is added or lost shows here. Columns are events, in their order. */
static const struct {
	enum turn_state from;
	enum turn_event event;
	enum turn_state to;
} legal[] = {
	{ TS_LOADING, TE_LOADED, TS_DECIDING }, { TS_LOADING, TE_OPENED, TS_ASKING }, { TS_LOADING, TE_GIVE_UP, TS_RELEASING },
	{ TS_DECIDING, TE_START, TS_STARTING }, { TS_DECIDING, TE_WAKE, TS_WAKING }, { TS_DECIDING, TE_RUN, TS_RUNNING },
	{ TS_DECIDING, TE_CLOSE, TS_CLOSING }, { TS_DECIDING, TE_YIELD, TS_YIELDING }, { TS_DECIDING, TE_END, TS_ENDING },
	{ TS_DECIDING, TE_GIVE_UP, TS_RELEASING },
	{ TS_READING, TE_LOADED, TS_DECIDING },
	{ TS_STARTING, TE_COMMITTED, TS_ASKING },
	{ TS_ASKING, TE_REPLIED, TS_REPLYING }, { TS_ASKING, TE_FINISHED, TS_CLOSING }, { TS_ASKING, TE_FAILED, TS_READING },
	{ TS_ASKING, TE_INTERRUPT, TS_READING }, { TS_ASKING, TE_DRAIN, TS_READING },
	{ TS_ASKING, TE_JUDGE, TS_JUDGING }, { TS_JUDGING, TE_REPLIED, TS_REPLYING }, { TS_JUDGING, TE_FINISHED, TS_CLOSING },
	{ TS_JUDGING, TE_DRAIN, TS_READING },
	{ TS_REPLYING, TE_TOOLS, TS_RUNNING }, { TS_REPLYING, TE_COMMITTED, TS_READING },
	{ TS_WAKING, TE_COMMITTED, TS_RUNNING },
	{ TS_RUNNING, TE_SETTLED, TS_READING }, { TS_RUNNING, TE_INTERRUPT, TS_STOPPING }, { TS_RUNNING, TE_DRAIN, TS_READING },
	{ TS_STOPPING, TE_SETTLED, TS_READING }, { TS_STOPPING, TE_DRAIN, TS_READING },
	{ TS_CLOSING, TE_COMMITTED, TS_GONE }, { TS_CLOSING, TE_MORE, TS_READING }, { TS_CLOSING, TE_WOKEN, TS_READING },
	{ TS_CLOSING, TE_CUT, TS_REPLYING }, { TS_CLOSING, TE_GIVE_UP, TS_RELEASING },
	{ TS_YIELDING, TE_COMMITTED, TS_GONE }, { TS_ENDING, TE_COMMITTED, TS_GONE },
	{ TS_RELEASING, TE_COMMITTED, TS_GONE }, { TS_RELEASING, TE_GIVE_UP, TS_RELEASING },
};
#define NLEGAL ((int)(sizeof(legal) / sizeof(legal[0])))

static int
want(int from, int event)
{
	for (int i = 0; i < NLEGAL; i++)
		if ((int)legal[i].from == from && (int)legal[i].event == event)
			return (int)legal[i].to;
	return NO;
}

static void
every_pair(void **state)
{
	(void)state;
	for (int from = 0; from < TS_COUNT; from++)
		for (int event = 0; event < TE_COUNT; event++)
			if (turn_next((enum turn_state)from, (enum turn_event)event) != want(from, event))
				fail_msg("%s + %s", turn_state_name((enum turn_state)from), turn_event_name((enum turn_event)event));
}

static void
rows_are_single(void **state)
{
	int n;
	const struct turn_row *r = turn_rows(&n);

	(void)state;
	assert_int_equal(n, NLEGAL);
	for (int i = 0; i < n; i++) {
		assert_true(strlen(r[i].why) > 0 && strlen(r[i].crash) > 0);
		for (int k = 0; k < i; k++)
			assert_false(r[i].from == r[k].from && r[i].event == r[k].event);
	}
}

/* Which states can be reached from `from`. */
static void
spread(bool seen[TS_COUNT], enum turn_state from)
{
	if (seen[from])
		return;
	seen[from] = true;
	for (int event = 0; event < TE_COUNT; event++) {
		int to = turn_next(from, (enum turn_event)event);

		if (to >= 0)
			spread(seen, (enum turn_state)to);
	}
}

static void
no_state_is_lost(void **state)
{
	(void)state;
	for (int from = 0; from < TS_COUNT; from++) {
		bool seen[TS_COUNT] = { false };

		spread(seen, (enum turn_state)from);
		assert_true(seen[TS_GONE]);		/* every state has a way to the end */
		for (int s = 0; s < TS_COUNT && from == TS_LOADING; s++)
			assert_true(seen[s]);		/* and a way from the beginning */
	}
	for (int event = 0; event < TE_COUNT; event++)
		assert_int_equal(turn_next(TS_GONE, (enum turn_event)event), NO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair), cmocka_unit_test(rows_are_single), cmocka_unit_test(no_state_is_lost),
	};

	return cmocka_run_group_tests_name("turn table", tests, NULL, NULL);
}
