/*
 * policy: from a SessionAgent to the tools the model is offered and the verdict on each call.
 *
 * Resolution: per-tool config, then default_config, then the toolset's default (enabled, always_allow). Bodies in the database are
 * already resolved by the gateway; the fallbacks only keep an older row readable. What an `auto` policy means for one call is a judge's to
 * say (judge.h); without a judgement it asks (contract 4.2). Nothing here fails on an unknown tool type: it is simply not offered.
 */
#include "policy.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "jx.h"
#include "xalloc.h"

#define OUTPUTS_SENTENCE								\
	"Files that the user should receive belong in /mnt/session/outputs."

#define UPLOADS_SENTENCE								\
	"Files that the user has provided are in /mnt/session/uploads, read-only."

enum tool_policy { POLICY_ALLOW, POLICY_ASK, POLICY_AUTO };

struct builtin {
	const char *name, *description, *schema;
};

static const struct builtin builtins[] = {
#define TOOL(name, description, schema) { #name, description, schema },
#include "tools.def"
#undef TOOL
};
#define NBUILTINS ((int)(sizeof(builtins) / sizeof(builtins[0])))

struct tool_set {
	bool enabled[NBUILTINS];
	enum tool_policy policy[NBUILTINS];
	int ncustom;
	char **custom;		/* names; owned, like the texts below */
	char **texts;
	int ntexts;
};

static const char *
keep(struct tool_set *set, char *owned)
{
	set->texts = xrealloc(set->texts, (size_t)(set->ntexts + 1) * sizeof(char *));
	set->texts[set->ntexts++] = owned;
	return owned;
}

static int
builtin_find(const char *name)
{
	for (int i = 0; i < NBUILTINS; i++)
		if (strcmp(builtins[i].name, name) == 0)
			return i;
	return -1;
}

static enum tool_policy
policy_read(const json_t *config, enum tool_policy dflt)
{
	const char *type = jx_str(json_object_get(config, "permission_policy"), "type");

	if (type == NULL)
		return dflt;
	if (strcmp(type, "always_allow") == 0)
		return POLICY_ALLOW;
	return strcmp(type, "auto") == 0 ? POLICY_AUTO : POLICY_ASK;
}

static bool
enabled_read(const json_t *config, bool dflt)
{
	return jx_bool(config, "enabled", dflt) != 0;
}

static void
toolset_read(struct tool_set *set, const json_t *tool)
{
	const json_t *dflt = json_object_get(tool, "default_config"), *c;	/* borrowed */
	bool enabled = enabled_read(dflt, true);
	enum tool_policy policy = policy_read(dflt, POLICY_ALLOW);
	size_t i;

	for (int b = 0; b < NBUILTINS; b++) {
		set->enabled[b] = enabled;
		set->policy[b] = policy;
	}
	json_array_foreach(json_object_get(tool, "configs"), i, c) {
		const char *name = jx_str(c, "name");
		int b = name != NULL ? builtin_find(name) : -1;

		if (b < 0)
			continue;
		set->enabled[b] = enabled_read(c, enabled);
		set->policy[b] = policy_read(c, policy);
	}
}

static void
offer(struct agent *a, const char *name, const char *description, const char *schema)
{
	a->tools = xrealloc(a->tools, (size_t)(a->ntools + 1) * sizeof(a->tools[0]));
	a->tools[a->ntools++] = (struct model_tool){ .name = name, .description = description, .schema = schema };
}

static void
custom_read(struct agent *a, const json_t *tool)
{
	struct tool_set *set = a->set;
	const json_t *schema = json_object_get(tool, "input_schema");
	const char *name = jx_str(tool, "name"), *description = jx_str(tool, "description");

	if (name == NULL)
		return;
	set->custom = xrealloc(set->custom, (size_t)(set->ncustom + 1) * sizeof(char *));
	set->custom[set->ncustom++] = xstrdup(name);
	offer(a, set->custom[set->ncustom - 1], keep(set, xstrdup(description != NULL ? description : "")),
	    keep(set, schema != NULL ? jx_dump(schema) : xstrdup("{\"type\":\"object\"}")));
}

static void
tools_read(struct agent *a, const json_t *tools)
{
	const json_t *tool;
	size_t i;

	json_array_foreach(tools, i, tool) {
		const char *type = jx_str(tool, "type");

		if (type != NULL && strncmp(type, "agent_toolset_", 14) == 0)
			toolset_read(a->set, tool);
	}
	for (int b = 0; b < NBUILTINS; b++) {
		if (!a->set->enabled[b])
			continue;
		offer(a, builtins[b].name, builtins[b].description, builtins[b].schema);
		a->sandbox = true;
	}
	json_array_foreach(tools, i, tool) {
		const char *type = jx_str(tool, "type");

		if (type != NULL && strcmp(type, "custom") == 0)
			custom_read(a, tool);
	}
}

static char *
system_text(const char *own, bool sandbox)
{
	struct buf b = BUF_INIT(0);

	if (own != NULL)
		buf_str(&b, own);
	if (sandbox) {
		if (b.len > 0)
			buf_str(&b, "\n\n");
		buf_str(&b, OUTPUTS_SENTENCE);
	}
	if (b.len == 0) {
		buf_free(&b);
		return NULL;
	}
	return buf_steal(&b);
}

int
agent_parse(const char *json, struct agent **out, struct err *e)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *model;		/* borrowed */
	const char *model_id;
	struct agent *a;

	if (jx_parse_exact(json, strlen(json), &doc, e) < 0)
		return err_wrap(e, "session agent");
	model = json_object_get(doc, "model");
	model_id = json_is_string(model) ? json_string_value(model) : jx_str(model, "id");
	if (model_id == NULL)
		return err_fault(e, EK_INVALID, 0, "session agent without a model id");
	a = xcalloc(1, sizeof(*a));
	a->holders = 1;
	a->set = xcalloc(1, sizeof(*a->set));
	a->model_id = xstrdup(model_id);
	a->name = xstrdup(jx_str(doc, "name") != NULL ? jx_str(doc, "name") : "");
	a->effort = xstrdup_opt(jx_str(json_object_get(model, "effort"), "type"));
	a->speed = xstrdup_opt(jx_str(model, "speed"));
	a->geo = xstrdup_opt(jx_str(model, "inference_geo"));
	tools_read(a, json_object_get(doc, "tools"));
	a->system = system_text(jx_str(doc, "system"), a->sandbox);
	*out = a;
	return 0;
}

void
agent_uploads(struct agent *a)
{
	char *own = a->system;

	must(a->holders == 1);
	a->system = own != NULL ? xasprintf("%s%s%s", own, a->sandbox ? " " : "\n\n", UPLOADS_SENTENCE) : xstrdup(UPLOADS_SENTENCE);
	free(own);
}

struct agent *
agent_share(struct agent *a)
{
	a->holders++;
	return a;
}

void
agent_free(struct agent **a)
{
	struct agent *x = *a;

	*a = NULL;
	if (x == NULL || --x->holders > 0)
		return;
	for (int i = 0; i < x->set->ncustom; i++)
		free(x->set->custom[i]);
	for (int i = 0; i < x->set->ntexts; i++)
		free(x->set->texts[i]);
	free(x->set->custom);
	free(x->set->texts);
	free(x->set);
	free(x->tools);
	free(x->name);
	free(x->model_id);
	free(x->effort);
	free(x->speed);
	free(x->geo);
	free(x->system);
	free(x);
}

#define AUTO_EVALUATION(permission) "{\"type\":\"auto\",\"evaluated_permission\":{\"type\":\"" permission "\"}}"

struct tool_rule
agent_judged(enum tool_verdict verdict)
{
	if (verdict == VERDICT_ALLOW)
		return (struct tool_rule){ TOOL_SANDBOX, VERDICT_ALLOW, AUTO_EVALUATION("allow"), true };
	if (verdict == VERDICT_DENY)
		return (struct tool_rule){ TOOL_SANDBOX, VERDICT_DENY, AUTO_EVALUATION("deny\",\"reason_code\":\"high_risk"), true };
	return (struct tool_rule){ TOOL_SANDBOX, VERDICT_ASK, AUTO_EVALUATION("ask\",\"reason_code\":\"indeterminate"), true };
}

struct tool_rule
agent_rule(const struct agent *a, const char *tool)
{
	static const struct tool_rule by_policy[] = {
		[POLICY_ALLOW] = { TOOL_SANDBOX, VERDICT_ALLOW, "{\"type\":\"always_allow\"}", false },
		[POLICY_ASK] = { TOOL_SANDBOX, VERDICT_ASK, "{\"type\":\"always_ask\"}", false },
		[POLICY_AUTO] = { TOOL_SANDBOX, VERDICT_ASK, AUTO_EVALUATION("ask\",\"reason_code\":\"indeterminate"), true },
	};
	int b = builtin_find(tool);

	if (b >= 0 && a->set->enabled[b])
		return by_policy[a->set->policy[b]];
	for (int i = 0; i < a->set->ncustom; i++)
		if (strcmp(a->set->custom[i], tool) == 0)
			return (struct tool_rule){ TOOL_CUSTOM, VERDICT_NONE, NULL, false };
	if (b >= 0 || strcmp(tool, "web_fetch") == 0 || strcmp(tool, "web_search") == 0)
		return (struct tool_rule){ TOOL_DISABLED, VERDICT_DENY, NULL, false };
	return (struct tool_rule){ TOOL_UNKNOWN, VERDICT_DENY, NULL, false };
}
