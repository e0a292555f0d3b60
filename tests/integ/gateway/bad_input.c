/* link: tests/env/gateway_rig.c tests/env/shape_cases.c gateway/shape.c gateway/shape_tables.c gateway/query.c */
/*
 * Generated bad input against a running gateway: every case that the shape tables and the query tables give, for every endpoint. Each is
 * refused with the right status, error type and path, changes nothing, and leaves the connection usable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "../../env/shape_cases.h"
#include "buf.h"
#include "jx.h"
#include "query.h"
#include "xalloc.h"

static char agent[64], environment[64], session[64];

struct target { const char *uri; int cases, wrong; };

static int
start(void **state)
{
	AUTO(json) json_t *a = NULL, *v = NULL, *s = NULL;

	gwr_start("");
	a = gwr_ok(GWR_A, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}");
	v = gwr_ok(GWR_A, "POST", "/v1/environments", "{\"name\":\"E\"}");
	s = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", jx_str(a, "id"), jx_str(v, "id")));
	snprintf(agent, sizeof agent, "%s", jx_str(a, "id"));
	snprintf(environment, sizeof environment, "%s", jx_str(v, "id"));
	snprintf(session, sizeof session, "%s", jx_str(s, "id"));
	return 0;
}

static int
stop(void **state)
{
	gwr_stop();
	return 0;
}

static void
refused(void *arg, const char *name, const json_t *body, const char *expect)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	struct target *t = arg;
	AUTO(str) char *text = NULL;
	const char *type, *message;

	if (!expect)
		return;		/* what a good body does is tested elsewhere */
	text = jx_dump(body);
	gwr_send(GWR_A, "POST", t->uri, text, strlen(text), NULL, &r);
	t->cases++;
	type = jx_str(json_object_get(r.json, "error"), "type");
	message = jx_str(json_object_get(r.json, "error"), "message");
	if (r.status == 400 && type && strcmp(type, "invalid_request_error") == 0 && strncmp(message, expect, strlen(expect)) == 0)
		return;
	fprintf(stderr, "%s\n  want: 400 %s\n  got:  %d %s\n", name, expect, r.status, r.body);
	t->wrong++;
}

static void
endpoint(const struct shape *s, const char *uri)
{
	AUTO(str) char *before = gwr_state(), *after = NULL;
	char kept[256];
	struct target t = { .uri = kept };
	int connections = gwr_connections();

	snprintf(kept, sizeof kept, "%s", uri);	/* gwr_fmt's text does not last */
	shape_cases(s, refused, &t);
	after = gwr_state();
	assert_int_equal(t.wrong, 0);
	assert_true(t.cases > 5);
	assert_string_equal(before, after);
	assert_int_equal(gwr_connections(), connections);
}

static void agent_create(void **st) { endpoint(&shape_agent_create, "/v1/agents"); }
static void agent_update(void **st) { endpoint(&shape_agent_update, gwr_fmt("/v1/agents/%s", agent)); }
static void environment_create(void **st) { endpoint(&shape_environment_create, "/v1/environments"); }
static void environment_update(void **st) { endpoint(&shape_environment_update, gwr_fmt("/v1/environments/%s", environment)); }
static void session_create(void **st) { endpoint(&shape_session_create, "/v1/sessions"); }
static void session_update(void **st) { endpoint(&shape_session_update, gwr_fmt("/v1/sessions/%s", session)); }
static void events_send(void **st) { endpoint(&shape_events_send, gwr_fmt("/v1/sessions/%s/events", session)); }

static void
no_body_wanted(void **state)
{
	AUTO(str) char *before = gwr_state(), *after = NULL;

	gwr_bad(GWR_A, "POST", gwr_fmt("/v1/agents/%s/archive", agent), "{\"x\":1}", 400, "invalid_request_error",
	    "Failed to parse request body: unknown field \"x\"");
	gwr_bad(GWR_A, "POST", gwr_fmt("/v1/environments/%s/archive", environment), "[]", 400, "invalid_request_error",
	    "Failed to parse request body: expected an object");
	gwr_bad(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/archive", session), "{", 400, "invalid_request_error",
	    "Failed to parse request body: invalid JSON");
	after = gwr_state();
	assert_string_equal(before, after);
}

/* --- query parameters ------------------------------------------------------------------------------------------------------- */

static void
query_refused(const char *path, const char *name, const char *value)
{
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?%s=%s", path, name, value), NULL, 400, "invalid_request_error", gwr_fmt("%s: ", name));
}

static void
query_endpoint(const struct query_spec *q, const char *uri)
{
	char path[256];

	snprintf(path, sizeof path, "%s", uri);
	for (const struct query_param *p = q->params; p->name; p++) {
		switch (p->kind) {
		case QK_INT:
			query_refused(path, p->name, gwr_fmt("%lld", (long long)p->min - 1));
			query_refused(path, p->name, gwr_fmt("%lld", (long long)p->max + 1));
			query_refused(path, p->name, "99999999999999999999999");
			query_refused(path, p->name, "1.5");
			query_refused(path, p->name, "x");
			query_refused(path, p->name, "");
			query_refused(path, p->name, gwr_fmt("%lld&%s=%lld", (long long)p->min, p->name, (long long)p->min));
			break;
		case QK_BOOL:
			query_refused(path, p->name, "1");
			query_refused(path, p->name, "TRUE");
			query_refused(path, p->name, "");
			break;
		case QK_ENUM:
			query_refused(path, p->name, "nope");
			break;
		case QK_ENUMS:
			query_refused(path, p->name, "nope");
			gwr_bad(GWR_A, "GET", gwr_fmt("%s?%s%%5B%%5D=nope", path, p->name), NULL, 400, "invalid_request_error", p->name);
			break;
		case QK_TEXTS:
			query_refused(path, p->name, "");
			query_refused(path, p->name, "%ff");
			query_refused(path, p->name, gwr_fmt("%0*d", (int)p->max + 1, 0));
			break;
		case QK_TIME:
			query_refused(path, p->name, "yesterday");
			query_refused(path, p->name, "2026-11-20");
			query_refused(path, p->name, "1763617071");
			query_refused(path, p->name, "2026-13-20T00:00:00Z");
			break;
		case QK_TEXT:
			query_refused(path, p->name, "");
			query_refused(path, p->name, "%ff%fe");
			if (p->max < 1000)
				query_refused(path, p->name, gwr_fmt("%0*d", (int)p->max + 1, 0));
			break;
		}
	}
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?limit=%%zz", path), NULL, 400, "invalid_request_error", "Malformed query string");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?limit=%%00", path), NULL, 400, "invalid_request_error", "Malformed query string");
	json_decref(gwr_ok(GWR_A, "GET", gwr_fmt("%s?beta=true&unheard=of&&=&x", path), NULL));
}

static void
queries(void **state)
{
	query_endpoint(&query_agent_list, "/v1/agents");
	query_endpoint(&query_agent_get, gwr_fmt("/v1/agents/%s", agent));
	query_endpoint(&query_page, gwr_fmt("/v1/agents/%s/versions", agent));
	query_endpoint(&query_environment_list, "/v1/environments");
	query_endpoint(&query_session_list, "/v1/sessions");
	query_endpoint(&query_event_list, gwr_fmt("/v1/sessions/%s/events", session));
	query_endpoint(&query_model_list, "/v1/models");
	assert_int_equal(gwr_connections(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agent_create), cmocka_unit_test(agent_update), cmocka_unit_test(environment_create),
		cmocka_unit_test(environment_update), cmocka_unit_test(session_create), cmocka_unit_test(session_update),
		cmocka_unit_test(events_send), cmocka_unit_test(no_body_wanted), cmocka_unit_test(queries),
	};

	return cmocka_run_group_tests_name("bad_input", tests, start, stop);
}
