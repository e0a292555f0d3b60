/*
 * turn_scene: a turn at its joint, without a database: what has arrived, what is called, and the types of the events that plan_next()
 * writes. Each program has its own scene; fresh() of each begins a new turn in it. Included once.
 */
#ifndef ROOST_TESTS_TURN_SCENE_H
#define ROOST_TESTS_TURN_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"
#include "xalloc.h"

#define RUNNING "session.status_running session.thread_status_running"
#define IDLE "session.thread_status_idle session.usage session.status_idle"
#define START "span.model_request_start"
#define END "span.model_request_end"

static const struct plan_limits limits = { .rounds_max = 3, .retries_max = 2, .backoff_ms = 100 };

static struct turn t;
static struct batch b;
static struct plan p;
static int64_t inbox_seq;

/* A turn of an agent in this status; the one before is freed. */
static void
scene_begin(const char *status, const char *agent_text)
{
	struct err e = ERR_INIT;

	turn_free(&t);
	batch_free(&b);
	strcpy(t.id, "sesn_1");
	strcpy(t.thread_id, "sthr_1");
	strcpy(t.status, status);
	t.last_at_us = 1000000;
	if (strcmp(status, "running") == 0)
		t.totals.running_since_us = 900000;
	assert_int_equal(agent_parse(agent_text, &t.agent, &e), 0);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
}

static int
scene_end(void **state)
{
	(void)state;
	turn_free(&t);
	batch_free(&b);
	return 0;
}

/* Something waits in the inbox. */
static struct arrival *
arrive(const char *type, const char *fragment, const char *refers)
{
	struct arrival *item;

	t.inbox = xrealloc(t.inbox, (size_t)(t.ninbox + 1) * sizeof(*item));
	item = &t.inbox[t.ninbox++];
	*item = (struct arrival){ .seq = ++inbox_seq, .wakes = true, .role = 'u', .fragment = fragment ? xstrdup(fragment) : NULL };
	strcpy(item->id, "sevt_in");
	strcpy(item->type, type);
	strcpy(item->refers_to, refers ? refers : "");
	item->stem = xasprintf("{\"id\":\"sevt_in\",\"type\":\"%s\"", type);
	return item;
}

/* A call of the agent's: of the custom tool weather, or of write, which may be of those that ask. */
static struct call *
call(const char *id, enum call_state state, bool custom, bool confirm)
{
	struct call *c = turn_call_add(&t, id, custom ? "weather" : "write", "{}");

	c->custom = custom;
	c->confirm = confirm;
	c->state = c->next = state;
	if (state == CALL_DONE)
		c->content = xstrdup("out");
	return c;
}

static char *
types(void)
{
	struct buf out = BUF_INIT(0);

	buf_str(&out, "");
	for (int i = 0; i < b.nev; i++)
		buf_printf(&out, "%s%s", i > 0 ? " " : "", b.ev[i].type);
	return buf_steal(&out);
}

/* Plan the next step: these events, in this order. */
static void
expect(enum turn_event event, enum plan_release release, const char *want)
{
	AUTO(str) char *got = NULL;

	plan_next(&t, &limits, &b, &p);
	got = types();
	assert_string_equal(got, want);
	assert_int_equal(p.event, event);
	assert_int_equal(p.release, release);
}

#endif
