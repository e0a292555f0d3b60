/*
 * policy: what a session's agent may do, read once from the wire's SessionAgent (contract 2.3, 4.1, 4.2).
 *
 * Pure: no I/O, no clock. Owns everything it hands out; pointers live as long as the struct agent.
 */
#ifndef ROOST_HARNESS_POLICY_H
#define ROOST_HARNESS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "model.h"

enum tool_kind {
	TOOL_SANDBOX,	/* runs in the sandbox through hands */
	TOOL_CUSTOM,	/* the client runs it */
	TOOL_DISABLED,	/* known, but not enabled for this agent: refused before any policy */
	TOOL_UNKNOWN,	/* the model invented the name */
};

enum tool_verdict { VERDICT_NONE, VERDICT_ALLOW, VERDICT_ASK, VERDICT_DENY };

struct tool_rule {
	enum tool_kind kind;
	enum tool_verdict verdict;	/* NONE for custom tools */
	const char *evaluation;		/* JSON of the event's evaluation, NULL when it carries none */
	bool automatic;			/* policy `auto`: the verdict is a judge's; ASK until there is one */
};

struct agent {
	char *name, *model_id, *effort;	/* effort NULL: the model's default */
	char *speed, *geo;		/* as the agent names them, or NULL: asked of the provider, and what a token costs */
	char *system;			/* the agent's prompt with the harness's additions; NULL when empty */
	struct model_tool *tools;	/* what the model is offered */
	int ntools;
	bool sandbox;			/* some enabled tool needs a sandbox */
	struct tool_set *set;		/* private to policy.c */
	int holders;			/* agent_free counts down */
};

/* Read a SessionAgent. EK_INVALID when it is not one (our own row is broken then). */
int agent_parse(const char *json, struct agent **out, struct err *e);
/* One more who holds it and will free it; shared ones are not changed any more. Returns a. */
struct agent *agent_share(struct agent *a);
/* Accepts NULL; sets *a = NULL. */
void agent_free(struct agent **a);
/* The session has files attached: the system prompt says where they are (contract 4.6). Once. */
void agent_uploads(struct agent *a);

/* What happens to a call of this tool. */
struct tool_rule agent_rule(const struct agent *a, const char *tool);
/* The same with a judge's verdict on this call, NONE when there is no judgement. Only for a rule that is automatic. */
struct tool_rule agent_judged(enum tool_verdict verdict);

#endif
