/*
 * turn: the state table and the bookkeeping of struct turn. See turn.h; the meaning of states is in turn.def.
 */
#include "turn.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static const struct turn_row rows[] = {
#define TURN(from, event, to, why, crash) { TS_##from, TE_##event, TS_##to, why, crash },
#include "turn.def"
#undef TURN
};
#define NROWS ((int)(sizeof(rows) / sizeof(rows[0])))

static const char *const state_names[TS_COUNT] = {
	"loading", "deciding", "reading", "starting", "asking", "judging", "replying", "waking", "running", "stopping",
	"closing", "yielding", "ending", "releasing", "gone",
};

static const char *const event_names[TE_COUNT] = {
	"loaded", "opened", "give_up", "start", "wake", "run", "close", "yield", "end", "committed", "replied", "finished", "failed",
	"judge", "interrupt", "drain", "tools", "settled", "more", "woken", "cut",
};

const char *
turn_state_name(enum turn_state s)
{
	return state_names[s];
}

const char *
turn_event_name(enum turn_event e)
{
	return event_names[e];
}

int
turn_next(enum turn_state from, enum turn_event event)
{
	for (int i = 0; i < NROWS; i++)
		if (rows[i].from == from && rows[i].event == event)
			return (int)rows[i].to;
	return -1;
}

const struct turn_row *
turn_rows(int *n)
{
	*n = NROWS;
	return rows;
}

void
context_add(struct context *c, char role, const char *blocks)
{
	size_t len = strlen(blocks);

	if (c->n == c->cap) {
		c->cap = c->cap > 0 ? c->cap * 2 : 8;
		c->items = xrealloc(c->items, (size_t)c->cap * sizeof(c->items[0]));
		c->kinds = xrealloc(c->kinds, (size_t)c->cap * sizeof(c->kinds[0]));
	}
	c->items[c->n] = (struct model_item){ .role = role, .blocks = xstrndup(blocks, len), .len = len };
	c->kinds[c->n] = model_item_kind(&c->items[c->n]);
	c->tokens += model_item_tokens(&c->items[c->n]);
	c->n++;
	c->bytes += len;
}

void
context_replace(struct context *c, const char *blocks)
{
	context_clear(c);
	context_add(c, 'u', blocks);
	c->summary = true;
}

void
context_clear(struct context *c)
{
	for (int i = 0; i < c->n; i++)
		free((char *)(uintptr_t)c->items[i].blocks);
	free(c->items);
	free(c->kinds);
	*c = (struct context){ 0 };
}

struct call *
turn_call_add(struct turn *t, const char *id, const char *name, const char *input)
{
	struct call *c;

	t->calls = xrealloc(t->calls, (size_t)(t->ncalls + 1) * sizeof(t->calls[0]));
	c = &t->calls[t->ncalls++];
	*c = (struct call){ .name = xstrdup(name), .input = xstrdup(input), .state = CALL_READY, .next = CALL_READY };
	strncpy(c->id, id, sizeof(c->id) - 1);
	return c;
}

struct call *
turn_call(const struct turn *t, const char *id)
{
	for (int i = 0; id != NULL && i < t->ncalls; i++)
		if (strcmp(t->calls[i].id, id) == 0)
			return &t->calls[i];
	return NULL;
}

void
turn_call_clear(struct call *c)
{
	free(c->name);
	free(c->input);
	free(c->content);
	c->name = c->input = c->content = NULL;
}

bool
turn_idle(const struct turn *t)
{
	return strcmp(t->status, "idle") == 0;
}

bool
turn_running(const struct turn *t)
{
	return t->totals.running_since_us != 0;
}

bool
turn_interrupted(const struct turn *t)
{
	for (int i = 0; i < t->ninbox; i++)
		if (strcmp(t->inbox[i].type, "user.interrupt") == 0)
			return true;
	return false;
}

int
turn_calls_in(const struct turn *t, enum call_state state)
{
	int n = 0;

	for (int i = 0; i < t->ncalls; i++)
		n += t->calls[i].state == state;
	return n;
}

void
turn_free(struct turn *t)
{
	for (int i = 0; i < t->ncalls; i++)
		turn_call_clear(&t->calls[i]);
	for (int i = 0; i < t->ninbox; i++)
		arrival_free(&t->inbox[i]);
	context_clear(&t->context);
	outcome_clear(&t->outcome);
	free(t->calls);
	free(t->inbox);
	free(t->stop_details);
	agent_free(&t->agent);
	memset(t, 0, sizeof(*t));
}
