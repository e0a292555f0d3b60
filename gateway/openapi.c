/*
 * openapi: see openapi.h. Walks the route table once; schemas come from shapes.def, queries.def and replies.def, refusals from err.def and
 * errcode.def, words from routedoc.def. Nothing is said here that the tables do not say, so the description cannot lag behind.
 */
#include "openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempt.h"
#include "err.h"
#include "jw.h"
#include "openapi_schema.h"
#include "replies.h"
#include "route.h"
#include "routedoc.h"
#include "xalloc.h"

static struct buf document;

static void
ref(struct jw *w, const char *kind, const char *name)
{
	char text[96];

	snprintf(text, sizeof text, "#/components/%s/%s", kind, name);
	jw_obj(w);
	jw_kstr(w, "$ref", text);
	jw_obj_end(w);
}

/* --- parameters -------------------------------------------------------------------------------------------------------------- */

static void
parameter_begin(struct jw *w, const char *name, const char *in, bool required)
{
	jw_obj(w);
	jw_kstr(w, "name", name);
	jw_kstr(w, "in", in);
	jw_kbool(w, "required", required);
}

static void
path_parameter(struct jw *w, const char *name)
{
	const char *prefix = route_param_prefix(name);
	char pattern[64];

	parameter_begin(w, name, "path", true);
	jw_key(w, "schema");
	jw_obj(w);
	jw_kstr(w, "type", "string");
	if (prefix) {
		snprintf(pattern, sizeof pattern, "^%s01[1-9A-HJ-NP-Za-km-z]{22}$", prefix);
		jw_kstr(w, "pattern", pattern);
	}
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
query_parameter(struct jw *w, const struct query_param *p)
{
	char name[64];

	snprintf(name, sizeof name, "%s%s", p->name, p->kind == QK_ENUMS || p->kind == QK_TEXTS ? "[]" : "");
	parameter_begin(w, name, "query", false);
	jw_key(w, "schema");
	schema_query(w, p);
	jw_obj_end(w);
}

static void
parameters(struct jw *w, const struct route *r)
{
	char name[32];

	jw_key(w, "parameters");
	jw_arr(w);
	for (int i = 0; i < REQ_PARAMS && route_param_name(r, i, name); i++)
		path_parameter(w, name);
	for (const struct query_param *p = r->query->params; p->name; p++)
		query_parameter(w, p);
	if (r->access != ROUTE_OPEN) {
		ref(w, "parameters", "version");
		ref(w, "parameters", r->beta == AUTH_BETA_MANAGED ? "beta_required" : "beta");
		ref(w, "parameters", "workspace");
	}
	if (route_writes(r))
		ref(w, "parameters", "idempotency_key");
	if (r->handler == route_elsewhere)
		ref(w, "parameters", "last_event_id");
	jw_arr_end(w);
}

static void
header_parameter(struct jw *w, const char *id, const char *name, bool required, const char *text, const char *schema)
{
	jw_key(w, id);
	parameter_begin(w, name, "header", required);
	jw_kstr(w, "description", text);
	jw_kraw(w, "schema", schema);
	jw_obj_end(w);
}

static void
parameter_components(struct jw *w)
{
	char schema[96];

	jw_key(w, "parameters");
	jw_obj(w);
	header_parameter(w, "version", "anthropic-version", true, "Version of the API.",
	    "{\"type\":\"string\",\"enum\":[\"2026-10-21\",\"2023-06-01\"]}");
	header_parameter(w, "beta", "anthropic-beta", false, "Beta features, separated by commas.", "{\"type\":\"string\"}");
	header_parameter(w, "beta_required", "anthropic-beta", true, "Beta features, separated by commas; `managed-agents-2026-04-01` among them.",
	    "{\"type\":\"string\",\"pattern\":\"managed-agents-2026-04-01\",\"example\":\"managed-agents-2026-04-01\"}");
	header_parameter(w, "workspace", "anthropic-workspace-id", false, "Must name the workspace of the API key.", "{\"type\":\"string\"}");
	snprintf(schema, sizeof schema, "{\"type\":\"string\",\"minLength\":1,\"maxLength\":%d,\"pattern\":\"^[ -~]*$\"}", ATTEMPT_KEY_MAX);
	header_parameter(w, "idempotency_key", "idempotency-key", false, "Names this call. Sent again with the same key, path and body, it has "
	    "no second effect and gets the first attempt's reply, with the header `idempotent-replayed: true`; with another path or body it is "
	    "a 409.", schema);
	header_parameter(w, "last_event_id", "last-event-id", false, "Sequence number (the `id:` of a frame) or id of the last event that was "
	    "got: the stream begins behind it. Without it, only what happens from now on is sent.", "{\"type\":\"string\"}");
	jw_obj_end(w);
}

/* --- bodies ------------------------------------------------------------------------------------------------------------------ */

static void
request_body(struct jw *w, struct schemas *c, const struct route *r)
{
	bool parts = shape_multipart(r->body);

	if (r->body == &shape_none)
		return;
	jw_key(w, "requestBody");
	jw_obj(w);
	jw_kbool(w, "required", r->body != &shape_empty);
	jw_key(w, "content");
	jw_obj(w);
	jw_key(w, parts ? "multipart/form-data" : "application/json");
	jw_obj(w);
	jw_key(w, "schema");
	jw_obj(w);
	if (parts)
		schema_parts(w, r->body);
	else
		schema_ref(w, c, r->body, NULL);
	jw_obj_end(w);
	jw_obj_end(w);
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
object_ref(struct jw *w, struct schemas *c, const struct reply_doc *of)
{
	jw_obj(w);
	if (of)
		schema_ref(w, c, of->shape, of->one);
	else
		jw_kstr(w, "type", "object");
	jw_obj_end(w);
}

/* A list's schema around its objects. */
static void
page_schema(struct jw *w, struct schemas *c, enum reply_envelope kind, const struct reply_doc *of)
{
	static const char *const members[] = {
		[REPLY_PAGE_CURSOR] = "{\"type\":[\"string\",\"null\"],\"description\":\"Sent as `page`, it gets the next page; null at the end.\"}",
		[REPLY_BOTH_WAYS] = "{\"type\":[\"string\",\"null\"]}",
	};

	jw_obj(w);
	jw_kstr(w, "type", "object");
	jw_key(w, "properties");
	jw_obj(w);
	jw_key(w, "data");
	jw_obj(w);
	jw_kstr(w, "type", "array");
	jw_key(w, "items");
	object_ref(w, c, of);
	jw_obj_end(w);
	if (kind == REPLY_PAGE || kind == REPLY_EITHER) {
		jw_kraw(w, "has_more", "{\"type\":\"boolean\"}");
		jw_kraw(w, "first_id", members[REPLY_BOTH_WAYS]);
		jw_kraw(w, "last_id", members[REPLY_BOTH_WAYS]);
	}
	if (kind != REPLY_PAGE)
		jw_kraw(w, "next_page", members[REPLY_PAGE_CURSOR]);
	if (kind == REPLY_BOTH_WAYS)
		jw_kraw(w, "prev_page", members[REPLY_BOTH_WAYS]);
	jw_obj_end(w);
	jw_kraw(w, "required", kind == REPLY_PAGE ? "[\"data\",\"has_more\",\"first_id\",\"last_id\"]" :
	    kind == REPLY_EITHER ? "[\"data\",\"next_page\",\"has_more\",\"first_id\",\"last_id\"]" :
	    kind == REPLY_BOTH_WAYS ? "[\"data\",\"next_page\",\"prev_page\"]" : "[\"data\",\"next_page\"]");
	jw_obj_end(w);
}

static void
reply_content(struct jw *w, struct schemas *c, const struct route *r)
{
	const struct reply_doc *of;
	enum reply_envelope kind = reply_of(r->reply, &of);

	jw_key(w, "content");
	jw_obj(w);
	jw_key(w, kind == REPLY_STREAM ? "text/event-stream" : kind == REPLY_BINARY ? "application/octet-stream" : "application/json");
	jw_obj(w);
	jw_key(w, "schema");
	switch (kind) {
	case REPLY_PAGE_CURSOR:
	case REPLY_BOTH_WAYS:
	case REPLY_EITHER:
	case REPLY_PAGE:
		page_schema(w, c, kind, of);
		break;
	case REPLY_STREAM:
		jw_obj(w);
		jw_kstr(w, "type", "string");
		jw_kstr(w, "description", "Server-sent events. `event:` is the type, `data:` one line of JSON (see x-event-data); `event: ping` every few "
		    "seconds; `event: error` with an Error ends the stream.");
		jw_key(w, "x-event-data");
		object_ref(w, c, of);
		jw_obj_end(w);
		break;
	case REPLY_BINARY:
		jw_raw(w, "{\"type\":\"string\",\"format\":\"binary\"}", 35);
		break;
	case REPLY_NONE:
	case REPLY_PLAIN:
		object_ref(w, c, of);
	}
	jw_obj_end(w);
	jw_obj_end(w);
}

/* --- responses --------------------------------------------------------------------------------------------------------------- */

/* Statuses of refusals, and which operations can have them. */
static const struct {
	int status;
	enum { OF_ALL, OF_KEYED, OF_WRITES, OF_BODIES } who;
	const char *text;
} refusals[] = {
	{ 400, OF_KEYED, "The request is malformed or not possible in this state; the message names the field." },
	{ 401, OF_KEYED, "No valid API key." },
	{ 403, OF_KEYED, "The key may not do this, or its organization is suspended." },
	{ 404, OF_KEYED, "No such object in this workspace, or a required beta header is missing." },
	{ 405, OF_ALL, "The path has no such method; `allow` lists those it has." },
	{ 409, OF_WRITES, "The object has changed, is in use or exists already, or the same call is under way." },
	{ 413, OF_BODIES, "The body is too large." },
	{ 414, OF_ALL, "Path and query are too long." },
	{ 415, OF_BODIES, "The body's content type is not supported." },
	{ 429, OF_KEYED, "Too much waits already." },
	{ 431, OF_ALL, "The headers are too large." },
	{ 500, OF_ALL, "A fault of the service." },
	{ 503, OF_KEYED, "The service, or a part it needs, is not available." },
	{ 504, OF_KEYED, "The service took too long." },
};

static bool
applies(int who, const struct route *r)
{
	switch (who) {
	case OF_KEYED:
		return r->access != ROUTE_OPEN;
	case OF_WRITES:
		return route_writes(r);
	case OF_BODIES:
		return r->access != ROUTE_OPEN && r->body != &shape_none;
	default:
		return true;
	}
}

static void
headers(struct jw *w, const char *const *names)
{
	jw_key(w, "headers");
	jw_obj(w);
	for (; *names; names++) {
		jw_key(w, *names);
		ref(w, "headers", *names);
	}
	jw_obj_end(w);
}

static void
responses(struct jw *w, struct schemas *c, const struct route *r)
{
	char name[16];

	jw_key(w, "responses");
	jw_obj(w);
	jw_key(w, "200");
	jw_obj(w);
	jw_kstr(w, "description", r->reply);
	if (r->access == ROUTE_OPEN)
		headers(w, (const char *const[]){ "request-id", NULL });
	else
		headers(w, (const char *const[]){ "request-id", "anthropic-organization-id", "anthropic-workspace-id",
		    route_writes(r) ? "idempotent-replayed" : NULL, NULL });
	reply_content(w, c, r);
	jw_obj_end(w);
	if (r->access == ROUTE_OPEN && strcmp(r->reply, "Health") == 0) {
		jw_key(w, "503");
		jw_obj(w);
		jw_kstr(w, "description", "Something does not work.");
		reply_content(w, c, r);
		jw_obj_end(w);
	}
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		if (!applies(refusals[i].who, r))
			continue;
		snprintf(name, sizeof name, "%d", refusals[i].status);
		jw_key(w, name);
		snprintf(name, sizeof name, "refused_%d", refusals[i].status);
		ref(w, "responses", name);
	}
	jw_key(w, "default");
	ref(w, "responses", "refused");
	jw_obj_end(w);
}

/* "The body is too large. error_code: a, b." */
static void
refusal_text(struct buf *b, int status, const char *text)
{
	int n = 0;

	buf_str(b, text);
	for (int code = EC_NONE + 1; code < EC_COUNT; code++)
		if (err_http(err_code_kind(code)) == status)
			buf_printf(b, "%s`%s`", n++ ? ", " : " `details.error_code` may be ", err_code_name(code));
	if (n)
		buf_ch(b, '.');
}

static void
refusal_response(struct jw *w, const char *name, int status, const char *text)
{
	AUTO(buf) struct buf words = BUF_INIT(0);

	refusal_text(&words, status, text);
	jw_key(w, name);
	jw_obj(w);
	jw_kstr(w, "description", words.data);
	headers(w, (const char *const[]){ "request-id", "x-should-retry", status == 405 ? "allow" : "retry-after", NULL });
	jw_kraw(w, "content", "{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}");
	jw_obj_end(w);
}

static void
response_components(struct jw *w)
{
	char name[16];

	jw_key(w, "responses");
	jw_obj(w);
	refusal_response(w, "refused", 0, "Any other refusal.");
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		snprintf(name, sizeof name, "refused_%d", refusals[i].status);
		refusal_response(w, name, refusals[i].status, refusals[i].text);
	}
	jw_obj_end(w);
	jw_kraw(w, "headers", "{\"request-id\":{\"description\":\"Name of this request, for questions about it.\",\"schema\":{\"type\":\"string\"}},"
	    "\"anthropic-organization-id\":{\"schema\":{\"type\":\"string\"}},\"anthropic-workspace-id\":{\"schema\":{\"type\":\"string\"}},"
	    "\"idempotent-replayed\":{\"description\":\"`true`: the answer of an earlier attempt.\",\"schema\":{\"type\":\"string\"}},"
	    "\"x-should-retry\":{\"description\":\"`false`: trying again is of no use; `true`: it is.\",\"schema\":{\"type\":\"string\"}},"
	    "\"retry-after\":{\"description\":\"Seconds to wait before another attempt.\",\"schema\":{\"type\":\"integer\"}},"
	    "\"allow\":{\"description\":\"Methods of this path.\",\"schema\":{\"type\":\"string\"}}}");
}

/* The error envelope, with the types and codes of the tables. */
static void
error_schema(struct jw *w)
{
	jw_key(w, "Error");
	jw_obj(w);
	jw_kstr(w, "type", "object");
	jw_kraw(w, "required", "[\"type\",\"error\",\"request_id\"]");
	jw_key(w, "properties");
	jw_obj(w);
	jw_kraw(w, "type", "{\"const\":\"error\"}");
	jw_kraw(w, "request_id", "{\"type\":\"string\"}");
	jw_key(w, "error");
	jw_obj(w);
	jw_kstr(w, "type", "object");
	jw_kraw(w, "required", "[\"type\",\"message\"]");
	jw_key(w, "properties");
	jw_obj(w);
	jw_key(w, "type");
	jw_obj(w);
	jw_key(w, "enum");
	jw_arr(w);
	for (int k = EK_NONE + 1; k < EK_COUNT; k++) {
		bool seen = false;

		for (int i = EK_NONE + 1; i < k; i++)
			seen = seen || strcmp(err_type(i), err_type(k)) == 0;
		if (!seen)
			jw_str(w, err_type(k));
	}
	jw_arr_end(w);
	jw_obj_end(w);
	jw_kraw(w, "message", "{\"type\":\"string\"}");
	jw_kraw(w, "details", "{\"type\":\"object\",\"properties\":{\"error_code\":{\"type\":\"string\"}}}");
	jw_obj_end(w);
	jw_obj_end(w);
	jw_obj_end(w);
	jw_obj_end(w);
}

/* --- the document ------------------------------------------------------------------------------------------------------------ */

static void
operation(struct jw *w, struct schemas *c, const struct route *r)
{
	const struct routedoc doc = routedoc_of(r);
	char method[8];
	size_t i;

	for (i = 0; r->method[i] && i < sizeof method - 1; i++)
		method[i] = (char)(r->method[i] | 0x20);
	method[i] = '\0';
	jw_key(w, method);
	jw_obj(w);
	jw_kstr(w, "operationId", doc.id);
	jw_kstr(w, "summary", doc.summary);
	jw_key(w, "tags");
	jw_arr(w);
	jw_str(w, doc.tag);
	jw_arr_end(w);
	if (r->access == ROUTE_OPEN)
		jw_kraw(w, "security", "[]");
	parameters(w, r);
	request_body(w, c, r);
	responses(w, c, r);
	jw_obj_end(w);
}

static void
paths(struct jw *w, struct schemas *c)
{
	jw_key(w, "paths");
	jw_obj(w);
	for (size_t i = 0; i < routes_count; i++) {
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen = seen || strcmp(routes[k].path, routes[i].path) == 0;
		if (seen)
			continue;
		jw_key(w, routes[i].path);
		jw_obj(w);
		for (size_t k = i; k < routes_count; k++)
			if (strcmp(routes[k].path, routes[i].path) == 0 && routes[k].handler != route_nowhere)
				operation(w, c, &routes[k]);
		jw_obj_end(w);
	}
	jw_obj_end(w);
}

void
openapi_init(void)
{
	struct schemas c = { .n = 0 };
	struct jw w;

	openapi_free();
	jw_begin(&w, &document);
	jw_obj(&w);
	jw_kstr(&w, "openapi", "3.1.0");
	jw_key(&w, "info");
	jw_obj(&w);
	jw_kstr(&w, "title", "Roost");
	jw_kstr(&w, "version", ROOST_VERSION);
	jw_kstr(&w, "description", "Managed agents on your own machines: agents, environments, sessions, events, files, vaults and models, in the wire "
	    "protocol of Claude Managed Agents.");
	jw_obj_end(&w);
	jw_kraw(&w, "servers", "[{\"url\":\"/\"}]");
	jw_kraw(&w, "security", "[{\"bearer\":[]},{\"apiKey\":[]}]");
	paths(&w, &c);
	jw_key(&w, "components");
	jw_obj(&w);
	jw_key(&w, "schemas");
	jw_obj(&w);
	schema_components(&w, &c);
	error_schema(&w);
	jw_obj_end(&w);
	parameter_components(&w);
	response_components(&w);
	jw_kraw(&w, "securitySchemes", "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
	    "\"apiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\"}}");
	jw_obj_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
}

void
openapi_free(void)
{
	buf_free(&document);
}

const char *
openapi_text(size_t *len)
{
	*len = document.len;
	return document.data;
}
