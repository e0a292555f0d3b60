/* link: workers/harness/stamp.c workers/harness/delta.c workers/harness/policy.c workers/harness/agents.c workers/harness/peers.c */
/* Stamps, delta merging, tool policy and the choice among workers: the harness's small pure parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus.h"
#include "agents.h"
#include "delta.h"
#include "id.h"
#include "peers.h"
#include "policy.h"
#include "stamp.h"
#include "xalloc.h"

/* --- peers ---------------------------------------------------------------------------------------------------------------------- */

static const char *const names[] = { "worker_a", "worker_b", "worker_c", "worker_d" };

/* What worker `me` of host h knows: n workers, all of host h, that take sessions, reach hands and bear this load. */
static struct peers
known(const char *me, int n, int load, int spread)
{
	struct peers p;

	peers_begin(&p, me, "h", 3000);
	for (p.n = 0; p.n < n; p.n++)
		p.all[p.n] = (struct peer){ .hash = id_hash(names[p.n]), .host = id_hash("h"), .open = true, .hands = true,
		    .load = load, .spread = spread };
	peers_look(&p);
	return p;
}

/* Every session has one favourite; when one worker leaves, only its sessions change theirs; who knows nobody takes all. */
static void
favourites(void **state)
{
	struct peers all[3], two[2], none = known(names[0], 0, 0, 3);
	int each[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		all[i] = known(names[i], 3, 0, 3);
	for (int i = 0; i < 2; i++)
		two[i] = known(names[i], 2, 0, 3);
	for (int k = 0; k < 3000; k++) {
		char session[32];
		int who = -1;

		snprintf(session, sizeof(session), "sesn_01%d", k);
		for (int i = 0; i < 3; i++) {
			if (!peers_favourite(&all[i], session))
				continue;
			assert_int_equal(who, -1);
			who = i;
		}
		if (who < 0) {
			fail_msg("nobody's: %s", session);
			return;
		}
		each[who]++;
		if (who < 2)
			assert_true(peers_favourite(&two[who], session));
		assert_true(peers_favourite(&none, session));
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(each[i], 800, 1200);
}

/* Who is at work: the places of the four behind those, as each sees itself; -1: it is not in the line. */
static void
same_places(struct peer line[4], int n, const int want[4])
{
	for (int i = 0; i < n; i++) {
		struct peers p = known(names[i], 0, 0, 1);

		memcpy(p.all, line, (size_t)n * sizeof(line[0]));
		p.n = n;
		peers_look(&p);
		assert_int_equal(p.behind, want[i] < 0 ? PEERS_MAX : want[i]);
	}
}

/* The oldest that can is at work and the others stand behind it: not who drains, is full or stalled, nor who misses hands that others have. */
static void
line_of_peers(void **state)
{
	struct peers p = known(names[0], 4, 10, 1);
	struct peer *w = p.all;

	(void)state;
	same_places(w, 4, (const int[]){ 0, 1, 2, 3 });
	w[0].open = false;
	same_places(w, 4, (const int[]){ -1, 0, 1, 2 });
	w[1].hands = false;
	same_places(w, 4, (const int[]){ -1, -1, 0, 1 });
	w[2].hands = w[3].hands = false;	/* nobody has hands */
	same_places(w, 4, (const int[]){ -1, 0, 1, 2 });
	w[1].spread = 2;			/* the first one's word counts */
	w[2].spread = 1;
	same_places(w, 4, (const int[]){ -1, 0, 0, 1 });
	for (int i = 0; i < 4; i++)
		w[i].open = false;		/* nobody says that it takes any: all do */
	same_places(w, 4, (const int[]){ 0, 0, 0, 0 });
	for (int i = 0; i < 4; i++)
		w[i] = (struct peer){ .hash = id_hash(names[i]), .host = id_hash(i % 2 == 0 ? "h" : "i"), .open = true, .spread = 1 };
	same_places(w, 4, (const int[]){ 0, 0, 1, 1 });		/* each machine has a line of its own */
}

/* How many are at work grows at once with what they bear, and shrinks when it has been little for a while. */
static void
spread_of_peers(void **state)
{
	struct peers p = known(names[0], 3, PEERS_HIGH + 1, 1);
	struct peers other = known(names[1], 4, PEERS_HIGH + 1, 2);

	(void)state;
	assert_int_equal(p.spread, 2);
	assert_int_equal(other.spread, 2);	/* it repeats what the first one says, */
	other.all[0].open = false;
	other.all[1].spread = other.spread;
	peers_look(&other);
	assert_int_equal(other.spread, 3);	/* and goes on from there when that one is gone: both left bear too much */
	p = known(names[0], 3, 100, 3);
	assert_int_equal(p.spread, 3);		/* there are no more */
	p = known(names[0], 3, PEERS_LOW, 2);
	for (int i = 0; i < 3 * PEERS_CALM; i++)
		peers_look(&p);
	assert_int_equal(p.spread, 2);		/* one alone would have too much */
	for (int i = 0; i < p.n; i++)
		p.all[i].load = PEERS_LOW / 2 - 1;
	for (int i = 1; i < PEERS_CALM; i++) {
		peers_look(&p);
		assert_int_equal(p.spread, 2);
	}
	peers_look(&p);
	assert_int_equal(p.spread, 1);
}

/* --- stamps ------------------------------------------------------------------------------------------------------------------- */

static void
stamps(void **state)
{
	struct stamp s = { 0 };

	(void)state;
	stamp_learn(&s, 1000, 3000, 1000000);		/* the database said 1000000 when our clock showed 2000 */
	assert_true(s.known);
	assert_int_equal(stamp_now(&s, 5000), 1003000);
	assert_int_equal(stamp_base(&s, 5000, 1002999), 1003000);
	assert_int_equal(stamp_base(&s, 5000, 1003000), 1003001);	/* not above the log's last: one microsecond more */
	assert_int_equal(stamp_base(&s, 5000, 2000000), 2000001);
	stamp_learn(&s, 10000, 90000, 1040000);		/* a stalled beat explains this difference: not learnt */
	assert_int_equal(stamp_now(&s, 5000), 1003000);
	stamp_learn(&s, 10000, 90000, 9000000);		/* the clock has stepped: learnt even from a slow beat */
	assert_int_equal(stamp_now(&s, 50000), 9000000);
}

/* --- deltas -------------------------------------------------------------------------------------------------------------------- */

static char out[32768];
static int sent;
static size_t largest;

static void
sink(void *ctx, const char *type, const char *json, size_t len)
{
	(void)ctx;
	assert_int_equal(strlen(json), len);
	assert_non_null(strstr(json, type));
	snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s\n", json);
	sent++;
	largest = len > largest ? len : largest;
}

static void
say(struct delta *d, int64_t now, int index, const char *text)
{
	delta_text(d, now, index, text, strlen(text));
}

#define DELTA(index, text) "{\"type\":\"event_delta\",\"event_id\":\"sevt_1\",\"delta\":{\"type\":\"content_delta\",\"index\":" index	\
	",\"content\":{\"type\":\"text\",\"text\":\"" text "\"}}}\n"
#define STARTED "{\"type\":\"event_start\",\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_1\"}}\n"

static void
deltas_are_merged(void **state)
{
	struct delta d = { 0 };

	(void)state;
	out[0] = '\0';
	delta_begin(&d, "sevt_1", 100, sink, NULL);
	assert_int_equal(delta_due(&d), 0);
	say(&d, 1000, 0, "a");
	assert_string_equal(out, STARTED DELTA("0", "a"));
	say(&d, 1001, 0, "b");
	say(&d, 1002, 0, "\n\"c");
	assert_int_equal(delta_due(&d), 1100);
	say(&d, 1100, 0, "d");
	assert_string_equal(out, STARTED DELTA("0", "a") DELTA("0", "b\\n\\\"cd"));
	assert_int_equal(delta_due(&d), 0);
	delta_flush(&d, 1101);			/* nothing waits: nothing goes out */
	say(&d, 1102, 3, "next block");		/* two empty blocks in between have no place in the message */
	delta_flush(&d, 1150);
	assert_string_equal(out, STARTED DELTA("0", "a") DELTA("0", "b\\n\\\"cd") DELTA("1", "next block"));
	delta_free(&d);
}

/*
 * One per window and no more (and one start, and the first at once), whatever arrives; two follow each other by a window, less a sixteenth
 * of it at most.
 */
static void
deltas_keep_the_rate(void **state)
{
	struct delta d = { 0 };

	(void)state;
	out[0] = '\0';
	sent = 0;
	delta_begin(&d, "sevt_1", 100, sink, NULL);
	for (int ms = 0, last = -100, had = 1; ms < 10000; ms++) {
		say(&d, ms, 0, "x");
		if (sent == had)
			continue;
		assert_true(had == 1 || ms - last >= 94);
		had = sent;
		last = ms;
		out[0] = '\0';
	}
	assert_int_equal(sent, 1 + 1 + 10000 / 100);
	delta_free(&d);
}

static void
large_deltas_are_split(void **state)
{
	char big[20000];
	struct delta d = { 0 };

	(void)state;
	largest = 0;
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	sent = 0;
	out[0] = '\0';
	delta_begin(&d, "sevt_1", 100, sink, NULL);
	say(&d, 0, 0, "x");
	say(&d, 1, 0, big);
	delta_flush(&d, 2);
	assert_in_range(largest, 1000, BUS_PREVIEW_MAX);
	sent = 0;
	memset(big, '\1', sizeof(big) - 1);	/* each is \u0001 in JSON */
	say(&d, 3, 0, big);
	delta_flush(&d, 4);
	assert_in_range(largest, BUS_PREVIEW_MAX - 1000, BUS_PREVIEW_MAX);
	for (size_t i = 0; i < sizeof(big) - 1; i++)
		big[i] = "\xf0\x9f\x98\x80"[i % 4];	/* never cut in a character */
	big[(sizeof(big) - 1) / 4 * 4] = '\0';
	say(&d, 5, 0, "z");
	say(&d, 5, 0, big);
	delta_flush(&d, 6);
	assert_null(strstr(out, "\xef\xbf\xbd"));
	say(&d, 7, 0, "x");
	delta_begin(&d, "sevt_2", 100, sink, NULL);	/* a new message forgets the old one's rest */
	assert_int_equal(delta_due(&d), 0);
	delta_free(&d);
}

/* --- policy -------------------------------------------------------------------------------------------------------------------- */

#define AGENT(tools) "{\"type\":\"agent\",\"name\":\"Bot\",\"model\":{\"id\":\"m-1\",\"effort\":{\"type\":\"low\"}},\"system\":\"S\",\"tools\":[" \
	tools "]}"
#define POLICY(p) "\"permission_policy\":{\"type\":\"" p "\"}"

static const char agent_text[] = AGENT(
    "{\"type\":\"agent_toolset_20260401\",\"default_config\":{\"enabled\":true," POLICY("always_ask") "},\"configs\":["
    "{\"type\":\"bash\",\"name\":\"bash\",\"enabled\":true," POLICY("always_allow") "},"
    "{\"type\":\"edit\",\"name\":\"edit\",\"enabled\":false," POLICY("always_allow") "},"
    "{\"type\":\"grep\",\"name\":\"grep\",\"enabled\":true," POLICY("auto") "},"
    "{\"type\":\"web_search\",\"name\":\"web_search\",\"enabled\":true," POLICY("always_allow") "}]},"
    "{\"type\":\"custom\",\"name\":\"weather\",\"description\":\"W\",\"input_schema\":{\"type\":\"object\"}}");

static void
verdicts(void **state)
{
	static const struct {
		const char *tool;
		enum tool_kind kind;
		enum tool_verdict verdict;
		const char *evaluation;
	} cases[] = {
		{ "bash", TOOL_SANDBOX, VERDICT_ALLOW, "{\"type\":\"always_allow\"}" },
		{ "read", TOOL_SANDBOX, VERDICT_ASK, "{\"type\":\"always_ask\"}" },
		{ "grep", TOOL_SANDBOX, VERDICT_ASK,
		    "{\"type\":\"auto\",\"evaluated_permission\":{\"type\":\"ask\",\"reason_code\":\"indeterminate\"}}" },
		{ "edit", TOOL_DISABLED, VERDICT_DENY, NULL },
		{ "web_search", TOOL_DISABLED, VERDICT_DENY, NULL },
		{ "web_fetch", TOOL_DISABLED, VERDICT_DENY, NULL },
		{ "weather", TOOL_CUSTOM, VERDICT_NONE, NULL },
		{ "rm", TOOL_UNKNOWN, VERDICT_DENY, NULL },
		{ "", TOOL_UNKNOWN, VERDICT_DENY, NULL },
	};
	struct agent *a = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(agent_parse(agent_text, &a, &e), 0);
	assert_string_equal(a->model_id, "m-1");
	assert_string_equal(a->effort, "low");
	assert_true(a->sandbox);
	assert_non_null(strstr(a->system, "S\n\n"));
	assert_int_equal(a->ntools, 6);		/* five sandbox tools but edit, and weather; no web tool */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tool_rule r = agent_rule(a, cases[i].tool);

		assert_int_equal(r.kind, cases[i].kind);
		assert_int_equal(r.verdict, cases[i].verdict);
		if (cases[i].evaluation == NULL)
			assert_null(r.evaluation);
		else
			assert_string_equal(r.evaluation, cases[i].evaluation);
	}
	agent_free(&a);
}

static void
agents_without_toolset(void **state)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(agent_parse("{\"name\":\"B\",\"model\":\"m-2\",\"system\":null,\"tools\":[]}", &a, &e), 0);
	assert_false(a->sandbox);
	assert_int_equal(a->ntools, 0);
	assert_null(a->system);
	assert_null(a->effort);
	assert_int_equal(agent_rule(a, "bash").kind, TOOL_DISABLED);
	agent_free(&a);
	assert_null(a);
	agent_free(&a);
	assert_int_equal(agent_parse("{\"name\":\"B\"}", &a, &e), -1);
	assert_int_equal(agent_parse("nonsense", &a, &e), -1);
}

/* The same text is the same agent, until its place or the table is given away; who holds one keeps it. */
static void
shared_agents(void **state)
{
	struct agents *all = agents_new();
	struct agent *a, *b, *c, *big;
	struct err e = ERR_INIT;
	AUTO(str) char *long_system = xmalloc(40001);
	AUTO(str) char *long_text = NULL;

	(void)state;
	assert_int_equal(agents_read(all, agent_text, &a, &e), 0);
	assert_int_equal(agents_read(all, agent_text, &b, &e), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(agents_read(all, "nonsense", &c, &e), -1);
	for (int i = 0; i < 500; i++) {
		AUTO(str) char *text = xasprintf("{\"name\":\"B\",\"model\":\"m-%d\",\"tools\":[]}", i);
		AUTO(str) char *want = xasprintf("m-%d", i);

		assert_int_equal(agents_read(all, text, &c, &e), 0);
		assert_string_equal(c->model_id, want);
		agent_free(&c);
	}
	memset(long_system, 'x', 40000);
	long_system[40000] = '\0';
	long_text = xasprintf("{\"name\":\"B\",\"model\":\"m\",\"system\":\"%s\",\"tools\":[]}", long_system);
	assert_int_equal(agents_read(all, long_text, &c, &e), 0);
	assert_int_equal(agents_read(all, long_text, &big, &e), 0);
	assert_ptr_not_equal(c, big);
	agent_free(&c);
	agent_free(&big);
	agents_free(&all);
	assert_null(all);
	assert_string_equal(a->model_id, "m-1");
	agent_free(&a);
	assert_int_equal(b->ntools, 6);
	agent_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(favourites),
		cmocka_unit_test(line_of_peers),
		cmocka_unit_test(spread_of_peers),
		cmocka_unit_test(stamps), cmocka_unit_test(deltas_are_merged), cmocka_unit_test(deltas_keep_the_rate),
		cmocka_unit_test(large_deltas_are_split), cmocka_unit_test(verdicts), cmocka_unit_test(agents_without_toolset),
		cmocka_unit_test(shared_agents),
	};

	return cmocka_run_group_tests_name("turn parts", tests, NULL, NULL);
}
