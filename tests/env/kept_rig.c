/*
 * kept_rig: see kept_rig.h. A turn is over when its worker has said so and not when the database shows it: a ring that comes in between
 * finds the session at its turn, where it is read and not told.
 */
#include "kept_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

static const char *words = "hello";

void
kept_words(const char *text)
{
	words = text;
}

void
kept_read(const char *session)
{
	rig_message(words);
	rig_send(session);
	(void)rig_done(session);
}

void
kept_put(const char *session)
{
	rig_message(words);
	assert_true(rig_put(session));
}

const char *
kept_turn(const char *session)
{
	kept_put(session);
	rig_tell(session);
	return rig_done(session);
}

bool
kept_leased(const char *session)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM work WHERE session_id = '%s' AND lease_owner IS NOT NULL", session);

	return atoi(n) == 1;
}

bool
kept_ready(const char *session)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM session s JOIN work w ON w.session_id = s.id WHERE s.id = '%s' AND s.prior = s.xmin"
	    " AND w.lease_owner IS NOT NULL AND w.lease_epoch::text = s.ready[4]", session);

	return atoi(n) == 1;
}

void
kept_stay(const char *session, kept_as *as)
{
	for (int64_t end = clock_mono_ms() + RIG_MS; !as(session); kept_read(session))
		if (clock_mono_ms() > end)
			fail_msg("%s is not kept", session);
}

void
kept_keep(const char *session, const char *model, kept_as *as)
{
	rig_session(session, model);
	kept_read(session);
	kept_stay(session, as);
}

void
kept_comes(const char *session, kept_as *as, const char *how)
{
	for (int64_t end = clock_mono_ms() + RIG_MS;;) {
		kept_stay(session, as);
		if (strcmp(kept_turn(session), how) == 0)
			return;
		if (clock_mono_ms() > end)
			fail_msg("no turn of %s has been %s", session, how);
	}
}

void
kept_answered(const char *session)
{
	AUTO(str) char *turns = rig_sql("SELECT count(*) FROM event WHERE session_id = '%s' AND type = 'user.message'", session);
	struct buf want = BUF_INIT(0);

	for (int i = atoi(turns); i > 0; i--)
		buf_printf(&want, "%s%s", KEPT_TURN, i > 1 ? " " : "");
	rig_same_log(session, 0, want.data);
	buf_free(&want);
	rig_wait("0", "SELECT inbox_events FROM session WHERE id = '%s'", session);
	rig_wait("0", "SELECT coalesce(sum(attempts), 0) FROM work WHERE session_id = '%s'", session);
	rig_wait("0", "SELECT count(*) FROM meter_gap WHERE session_id = '%s'", session);
	rig_check(session);
}

void
kept_same_totals(const char *session, const char *other)
{
#define TOTALS "SELECT concat_ws(' ', status, last_seq, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen," \
    " input_tokens, output_tokens," \
    " cache_read_tokens, cache_5m_tokens, cache_1h_tokens, token_nano, unpriced, paused, context_bytes, running_since IS NULL)" \
    " FROM session WHERE id = '%s'"
	AUTO(str) char *totals = rig_sql(TOTALS, other);

	rig_wait(totals, TOTALS, session);
}
