/* link: workers/model/model.c workers/model/http.c workers/model/adapter.c workers/model/anthropic.c workers/model/anthropic_stream.c workers/model/openai.c workers/model/openai_messages.c workers/model/openai_stream.c workers/model/scripted.c workers/model/reply.c workers/model/failure.c workers/model/context.c workers/model/filesrc.c workers/model/sse.c */
/*
 * The model client against the fake provider over loopback: both dialects and the scripted model play the same conversation, every
 * fault ends as the contract's error, routes fall back before output and never after, and cancelling is safe at every moment. Needs
 * node; starts tests/provider/provider.mjs and ends it with the pipe to its stdin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "jspan.h"
#include "log.h"
#include "model.h"
#include "model_probe.h"

#define DEADLINE_MS 30000
#define PATIENCE_S 20		/* whatever else the machine does: only the tests of silence give up sooner */

struct server {
	pid_t pid;
	int in;			/* its stdin: closing it ends the server */
	char url[64];
};

static struct server server;
static char base[64];
static struct loop *loop;
static struct model_client *client;
static struct conf conf;

static const struct model_tool tools[] = {
	{ "bash", "Run a command.", "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\"}}}" },
	{ "look", NULL, "{\"type\":\"object\"}" },
};

/* Start a fake provider; pem (key and certificate) makes it speak TLS. */
static void
server_start(struct server *s, const char *pem)
{
	int in[2], out[2];
	FILE *f;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	s->pid = fork();
	if (s->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("node", "node", "tests/provider/provider.mjs", "--until-eof", pem ? "--tls" : NULL, pem, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	s->in = in[1];
	f = fdopen(out[0], "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "listening %63s", s->url), 1);
	fclose(f);
}

static void
server_stop(struct server *s)
{
	close(s->in);
	waitpid(s->pid, NULL, 0);
}

static int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_open("test", LOG_ERROR_LEVEL);
	server_start(&server, NULL);
	memcpy(base, server.url, sizeof(base));
	conf.model_connect_s = PATIENCE_S;
	conf.model_stall_s = PATIENCE_S;
	conf.model_reply_bytes = 1 << 20;
	loop = loop_new();
	client = model_client_new(loop, &conf);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	model_client_free(&client);
	loop_free(&loop);
	server_stop(&server);
	return 0;
}

static void
run_until(const struct probe *p, int ends)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (p->ends < ends && clock_mono_ms() < until)
		loop_once(loop, 100);
}

/* Serve the loop for a while that must stay silent. */
static void
run_for(int ms)
{
	int64_t until = clock_mono_ms() + ms;

	while (clock_mono_ms() < until)
		loop_once(loop, 10);
}

static struct model_route
route(const char *dialect, const char *upstream)
{
	struct model_route r = { .api_key = "sk-secret-key" };

	snprintf(r.dialect, sizeof(r.dialect), "%s", dialect);
	snprintf(r.base_url, sizeof(r.base_url), "%s", strcmp(dialect, "scripted") ? base : "");
	snprintf(r.upstream, sizeof(r.upstream), "%s", upstream);
	return r;
}

/* A request with one user message. The block lives in *block. */
static struct model_request
request(const struct model_route *routes, int nroutes, struct model_item *item, struct buf *block, const char *message)
{
	buf_reset(block);
	buf_str(block, "{\"type\":\"text\",\"text\":\"");
	for (; *message; message++) {
		if (*message == '\n')
			buf_str(block, "\\n");
		else if (*message == '"')
			buf_str(block, "\\\"");
		else
			buf_ch(block, *message);
	}
	buf_str(block, "\"}");
	*item = (struct model_item){ 'u', block->data, block->len };
	return (struct model_request){ .routes = routes, .nroutes = nroutes, .model_id = "lab-1", .system = "Be brief.", .items = item,
		.nitems = 1, .tools = tools, .ntools = 2, .max_output_tokens = 1000 };
}

/* Start, run to the end, compare. want may end in '*'. */
static void
expect_of(struct model_client *c, const struct model_route *routes, int nroutes, const char *message, const char *want)
{
	AUTO(buf) struct buf block = { 0 };
	struct probe p = { .open = -1 };
	struct model_item item;
	struct model_request rq = request(routes, nroutes, &item, &block, message);
	size_t n = strlen(want);

	model_start(c, &rq, &probe_events, &p);
	run_until(&p, 1);
	assert_non_null(p.told.data);
	if (n && want[n - 1] == '*' && !strncmp(p.told.data, want, n - 1))
		want = p.told.data;
	assert_string_equal(p.told.data, want);
	assert_null(strstr(p.told.data, "sk-secret"));
	probe_reset(&p);
}

static void
expect(const struct model_route *routes, int nroutes, const char *message, const char *want)
{
	expect_of(client, routes, nroutes, message, want);
}

static void
test_same_on_all_dialects(void **state)
{
	static const struct { const char *message, *told; } cases[] = {
		{ "say this\nbash {\"command\":\"echo 1.10\"}\nlook {\"n\":12345678901234567890}\n\nthen",
		  "T0<say this> | tool_calls [text say this] [tool bash {\"command\":\"echo 1.10\"}] [tool look {\"n\":12345678901234567890}] u=10/7/0/0/0" },
		{ "look {}", "| tool_calls [tool look {}] u=4/2/0/0/0" },
		{ "look {} \n\nbye", "| tool_calls [tool look {}] u=5/2/0/0/0" },
		{ "bash {\"command\":}", "| tool_calls [tool bash {}!] u=4/2/0/0/0" },
	};
	static const char *const dialects[] = { "anthropic", "openai", "scripted" };

	(void)state;
	for (size_t d = 0; d < 3; d++) {
		struct model_route r = route(dialects[d], "fake-1");

		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			expect(&r, 1, cases[i].message, cases[i].told);
	}
}

/* A conversation with two steps behind it, results and a message that joined: the third step is played. */
static void
test_later_steps(void **state)
{
	static const struct model_item items[] = {
		PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"bash {\\\"command\\\":\\\"1\\\"}\\n\\nlook {\\\"n\\\":2}\\nbash {}\\n\\nbye\"}"),
		PROBE_ITEM('a', "{\"type\":\"tool_use\",\"id\":\"sevt_1\",\"name\":\"bash\",\"input\":{\"command\":\"1\"}}"),
		PROBE_ITEM('u', "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_1\",\"content\":[{\"type\":\"text\",\"text\":\"one\"}]}"),
		PROBE_ITEM('a', "{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"c2ln\"}"),
		PROBE_ITEM('a', "{\"type\":\"text\",\"text\":\"\\n\\n\"}"),
		PROBE_ITEM('a', "{\"type\":\"tool_use\",\"id\":\"sevt_2\",\"name\":\"look\",\"input\":{\"n\":2}},"
				"{\"type\":\"tool_use\",\"id\":\"sevt_3\",\"name\":\"bash\",\"input\":{}}"),
		PROBE_ITEM('u', "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_3\",\"content\":[{\"type\":\"text\",\"text\":\"no\"}],\"is_error\":true}"),
		PROBE_ITEM('u', "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_2\",\"content\":[]}"),
	};
	static const struct model_item joined[] = { PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"look {\\\"late\\\":1}\"}") };
	static const char *const dialects[] = { "anthropic", "openai", "scripted" };
	struct model_item all[16];
	size_t n = sizeof(items) / sizeof(items[0]);

	(void)state;
	for (size_t d = 0; d < 3; d++) {
		struct model_route r = route(dialects[d], "fake-1");
		struct model_request rq = { .routes = &r, .nroutes = 1, .model_id = "lab-1", .items = all, .nitems = (int)n, .tools = tools,
			.ntools = 2, .max_output_tokens = 10 };
		struct probe p = { .open = -1 };

		memcpy(all, items, sizeof(items));
		model_start(client, &rq, &probe_events, &p);
		run_until(&p, 1);
		assert_non_null(strstr(p.told.data, "T0<bye> | end_turn [text bye]"));
		probe_reset(&p);

		/* a message joins in front of the last result: results still come first, and the message is the latest */
		all[n] = all[n - 1];
		all[n - 1] = joined[0];
		rq.nitems = (int)n + 1;
		model_start(client, &rq, &probe_events, &p);
		run_until(&p, 1);
		assert_non_null(strstr(p.told.data, "| tool_calls [tool look {\"late\":1}]"));
		probe_reset(&p);
	}
}

static void
test_extras(void **state)
{
	struct model_route a = route("anthropic", "fake-1"), o = route("openai", "fake-1"), s = route("scripted", "x");

	(void)state;
	expect(&a, 1, "hi\n!provider {\"thinking\":\"Hm \xc3\xa4.\",\"redacted\":true,\"cache\":{\"read\":5,\"write_5m\":7,\"write_1h\":3},\"chunk\":1}",
	    "K T0<I am fake-1, a fake model. You said: hi> | end_turn [think {\"type\":\"thinking\",\"thinking\":\"Hm \xc3\xa4.\",\"signature\":\"c2lnbmF0dXJl\"}] "
	    "[think {\"type\":\"redacted_thinking\",\"data\":\"cmVkYWN0ZWQ=\"}] [text I am fake-1, a fake model. You said: hi] u=6/9/5/7/3");
	expect(&o, 1, "hi\n!provider {\"thinking\":\"Hm.\",\"cache\":{\"read\":5},\"chunk\":3}",
	    "K T0<I am fake-1, a fake model. You said: hi> | end_turn [text I am fake-1, a fake model. You said: hi] u=5/9/5/0/0");
	expect(&s, 1, "hi", "T0<I am the scripted model built into Roost, standing in for lab-1. You said: hi> | end_turn *");
	expect(&a, 1, "hi\n!provider {\"stop\":\"pause_turn\"}", "T0<I am fake-1, a fake model. You said: hi> | end_turn *");
	expect(&a, 1, "look {\"abc\":1}\n!provider {\"fault\":\"cut_off\"}", "| tool_calls [tool look {}!] *");
	expect(&o, 1, "look {\"abc\":12}\n!provider {\"fault\":\"cut_off\"}", "| tool_calls [tool look {}!] *");
	expect(&a, 1, "look {\"a\":1}\n!provider {\"fault\":\"bad_input\"}", "| tool_calls [tool look {}!] *");
	expect(&a, 1, "hi\n!provider {\"fault\":\"refusal\"}", "T0<I am fake-1, a fake model. You said: hi> | refusal *");
	expect(&o, 1, "hi\n!provider {\"fault\":\"refusal\"}", "T0<I am fake-1, a fake model. You said: hi> | refusal *");
	expect(&a, 1, "hi\n!provider {\"fault\":\"open_end\"}", "T0<I am fake-1, a fake model. You said: hi> | end_turn *");
}

static void
test_openai_quirks(void **state)
{
	static const char *const quirks[] = { "no_done", "no_index", "same_index", "repeat_ids", "args_object", "empty_chunk", "usage_inline",
		"no_reason", "no_index\",\"repeat_ids" };
	struct model_route o = route("openai", "fake-1");
	char message[256], want[256];

	(void)state;
	for (size_t i = 0; i < sizeof(quirks) / sizeof(quirks[0]); i++) {
		snprintf(message, sizeof(message), "say\nbash {\"a\":1.10}\nlook {\"b\":2}\n!provider {\"quirks\":[\"%s\"]}", quirks[i]);
		snprintf(want, sizeof(want), "T0<say> | tool_calls [text say] [tool bash {\"a\":1.10}] [tool look {\"b\":2}] u=9/5/0/0/0");
		expect(&o, 1, message, want);
	}
	expect(&o, 1, "hi\n!provider {\"fault\":\"no_usage\"}", "T0<I am fake-1, a fake model. You said: hi> | end_turn "
	    "[text I am fake-1, a fake model. You said: hi] u=unknown");
}

static void
test_faults(void **state)
{
	static const struct { const char *fault, *told; } cases[] = {
		{ "{\"fault\":\"status\",\"status\":400,\"message\":\"nope\"}",
		  "| fail model_request_failed_error final http=400: The model provider refused the request: nope" },
		{ "{\"fault\":\"status\",\"status\":400,\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}",
		  "| fail unknown_error final terminal http=400: prompt is too long: 9 tokens > 8 maximum" },
		{ "{\"fault\":\"status\",\"status\":401,\"message\":\"bad key sk-secret-key\"}",
		  "| fail model_request_failed_error final http=401: The model provider refused the credentials configured for this model." },
		{ "{\"fault\":\"status\",\"status\":403,\"message\":\"bad key sk-secret-key\"}", "| fail model_request_failed_error final http=403: *" },
		{ "{\"fault\":\"status\",\"status\":402,\"message\":\"pay\"}", "| fail billing_error final http=402: *" },
		{ "{\"fault\":\"status\",\"status\":429,\"retry_after\":7}", "| fail model_rate_limited_error retry after=7000 http=429: *" },
		{ "{\"fault\":\"status\",\"status\":500}", "| fail model_request_failed_error retry http=500: *" },
		{ "{\"fault\":\"status\",\"status\":503}", "| fail model_overloaded_error retry http=503: *" },
		{ "{\"fault\":\"status\",\"status\":529}", "| fail model_overloaded_error retry http=529: *" },
		{ "{\"fault\":\"redirect\"}", "| fail model_request_failed_error final http=302: *" },
		{ "{\"fault\":\"html\"}", "| fail model_request_failed_error retry: The model provider's reply is broken: it ended before it was whole." },
		{ "{\"fault\":\"reset\",\"after\":0}", "| fail model_request_failed_error retry: The connection to the model provider failed: *" },
		{ "{\"fault\":\"error_event\",\"status\":529,\"after\":1}", "| fail model_overloaded_error retry http=529: *" },
		{ "{\"fault\":\"error_event\",\"status\":529,\"after\":5}", "T0<I *" },
		{ "{\"fault\":\"error_event\",\"status\":429,\"after\":1}", "| fail model_rate_limited_error retry http=429: *" },
		{ "{\"fault\":\"truncate\",\"after\":1}", "| fail model_request_failed_error retry: *" },
		{ "{\"fault\":\"truncate\",\"after\":6}", "T0<I am *" },
		{ "{\"fault\":\"reset\",\"after\":5}", "T0<I *" },
		{ "{\"fault\":\"bad_json\",\"after\":1}", "| fail model_request_failed_error retry: The model provider's reply is broken: an event is not JSON." },
		{ "{\"fault\":\"flood\",\"after\":1}", "| fail model_request_failed_error final: The model provider's reply is larger than allowed." },
	};
	static const char *const dialects[] = { "anthropic", "openai" };

	(void)state;
	for (size_t d = 0; d < 2; d++) {
		struct model_route r = route(dialects[d], "fake-1");

		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			char message[256];

			snprintf(message, sizeof(message), "hi %zu %zu\n!provider %s", d, i, cases[i].fault);
			expect(&r, 1, message, cases[i].told);
		}
	}
	struct model_route a = route("anthropic", "fake-1");

	expect(&a, 1, "hi there\n!provider {\"fault\":\"no_usage\"}", "| fail model_request_failed_error retry: The model provider's reply is broken: it tells no usage.");
	snprintf(a.base_url, sizeof(a.base_url), "http://127.0.0.1:1");
	expect(&a, 1, "hi", "| fail model_request_failed_error retry: The connection to the model provider failed: *");
	snprintf(a.base_url, sizeof(a.base_url), "file:///etc/passwd");
	expect(&a, 1, "hi", "| fail model_request_failed_error retry: The connection to the model provider failed: *");
	expect(NULL, 0, "hi", "| fail model_request_failed_error final: No provider is configured for model lab-1.");
}

/* One that says nothing more, or nothing at all, is given up. */
static void
test_silence(void **state)
{
	static const char *const dialects[] = { "anthropic", "openai" };
	struct conf soon = conf;
	struct model_client *hasty;

	(void)state;
	soon.model_stall_s = 1;
	hasty = model_client_new(loop, &soon);
	for (size_t d = 0; d < 2; d++) {
		struct model_route r = route(dialects[d], "fake-1");

		expect_of(hasty, &r, 1, "hi\n!provider {\"fault\":\"stall\",\"after\":1}",
		    "| fail model_request_failed_error retry: The model provider went silent.");
		expect_of(hasty, &r, 1, "hi\n!provider {\"delay_ms\":60000}", "| fail model_request_failed_error retry: The model provider went silent.");
	}
	model_client_free(&hasty);
}

/* Who does not take the connection is given up, and the next route is tried; who streams for longer than that is not. */
static void
test_slow_connect(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting[4];
	socklen_t len = sizeof(at);
	struct model_route r[2] = { route("anthropic", "fake-1"), route("anthropic", "fake-2") };
	struct conf soon = conf;
	struct model_client *hasty;

	(void)state;
	soon.model_connect_s = 1;
	hasty = model_client_new(loop, &soon);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {	/* its queue is full: what comes now is not answered */
		waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (struct sockaddr *)&at, sizeof(at));
	}
	snprintf(r[0].base_url, sizeof(r[0].base_url), "http://127.0.0.1:%d", ntohs(at.sin_port));
	expect_of(hasty, r, 1, "hi", "| fail model_request_failed_error retry: The connection to the model provider failed: Timeout was reached.");
	expect_of(hasty, r, 2, "hi", "T0<I am fake-2, *");
	expect_of(hasty, &r[1], 1, "hi there, one two three\n!provider {\"word_ms\":200}", "T0<I am fake-2, a fake model. You said: hi there, one two three>*");
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		close(waiting[i]);
	model_client_free(&hasty);
	close(listener);
}

static void
test_fallback(void **state)
{
	static const struct { const char *first; const char *told; } cases[] = {
		{ "fault-429", "T0<I am fake-2, *" }, { "fault-500", "T0<I am fake-2, *" }, { "fault-529", "T0<I am fake-2, *" },
		{ "fault-reset", "T0<I am fake-2, *" },
		{ "fault-400", "| fail model_request_failed_error final http=400: *" },
		{ "fault-401", "| fail model_request_failed_error final http=401: *" },
	};
	struct model_route r[3];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r[0] = route("anthropic", cases[i].first);
		r[1] = route("openai", "fake-2");
		expect(r, 2, "hi", cases[i].told);
		r[0] = route("openai", cases[i].first);
		r[1] = route("anthropic", "fake-2");
		expect(r, 2, "hi", cases[i].told);
	}
	r[0] = route("anthropic", "fault-529");
	r[1] = route("anthropic", "fault-429");
	r[2] = route("scripted", "x");
	expect(r, 3, "look {}", "| tool_calls [tool look {}] *");
	/* all fail: the last failure worth a retry is told, not the wrong key of the last route */
	r[2] = route("anthropic", "fault-401");
	expect(r, 3, "hi", "| fail model_rate_limited_error retry http=429: *");
	/* never after output */
	r[0] = route("anthropic", "fake-1");
	r[1] = route("anthropic", "fake-2");
	expect(r, 2, "never after\n!provider {\"fault\":\"truncate\",\"after\":5}", "T0<I am > | fail model_request_failed_error retry: *");
	/* before output: the stream had begun, nothing was said */
	expect(r, 2, "before\n!provider {\"fault\":\"truncate\",\"after\":2,\"model\":\"fake-1\"}", "T0<I am fake-2, *");
}

/* An optional field that the upstream refuses is left out, once per upstream. */
static void
test_refused_field(void **state)
{
	AUTO(buf) struct buf block = { 0 };
	struct model_route r = route("anthropic", "claude-opus-5");
	struct model_item item;
	struct model_request rq = request(&r, 1, &item, &block, "hi\n!provider {\"refuse_field\":\"output_config\"}");
	struct probe p = { .open = -1 };

	(void)state;
	rq.effort = "high";
	for (int i = 1; i <= 2; i++) {
		model_start(client, &rq, &probe_events, &p);
		run_until(&p, 1);
		assert_non_null(strstr(p.told.data, "T0<I am claude-opus-5"));
		probe_reset(&p);
	}
}

/* Thoughts that another model signed: the conversation goes without them, in this call only. */
static void
test_refused_signature(void **state)
{
	static const struct model_item items[] = {
		PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"hi\"}"),
		PROBE_ITEM('a', "{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"c2ln\"},{\"type\":\"text\",\"text\":\"x\"}"),
		PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"again\\n!provider {\\\"refuse_thoughts\\\":true}\"}"),
	};
	struct model_route r = route("anthropic", "claude-opus-5");
	struct model_request rq = { .routes = &r, .nroutes = 1, .model_id = "m", .items = items, .nitems = 3, .max_output_tokens = 10 };
	struct probe p = { .open = -1 };

	(void)state;
	model_start(client, &rq, &probe_events, &p);
	run_until(&p, 1);
	assert_non_null(p.told.data);
	assert_non_null(strstr(p.told.data, "T0<I am claude-opus-5, a fake model. You said: again>"));
	probe_reset(&p);
}

/* Names are looked up beside the loop, several at a time, and a lookup under way can be cancelled. */
static void
test_names(void **state)
{
	enum { MANY = 12 };
	AUTO(buf) struct buf block = { 0 };
	struct conf soon = conf;		/* where no name server answers */
	struct model_client *fresh;
	struct model_call *call;
	struct probe p[MANY];
	bool cancelled[MANY] = { false };
	struct model_route r = route("anthropic", "fake-1");
	struct model_item item;
	struct model_request rq = request(&r, 1, &item, &block, "by name");

	(void)state;
	soon.model_connect_s = 5;
	fresh = model_client_new(loop, &soon);
	for (int i = 0; i < MANY; i++) {
		if (i % 2)
			snprintf(r.base_url, sizeof(r.base_url), "http://no-such-host-%d.invalid", i);
		else
			snprintf(r.base_url, sizeof(r.base_url), "http://localhost%s", strrchr(base, ':'));
		p[i] = (struct probe){ .open = -1 };
		call = model_start(fresh, &rq, &probe_events, &p[i]);
		if (i % 4 == 3) {
			run_for(1);
			cancelled[i] = p[i].ends == 0;	/* on a busy machine it may have failed by now, and a call that ended is gone */
			if (cancelled[i])
				model_cancel(&call);
		}
	}
	for (int i = 0; i < MANY; i++) {
		if (!cancelled[i])
			run_until(&p[i], 1);
		assert_int_equal(p[i].ends, !cancelled[i]);
		if (!cancelled[i])
			assert_non_null(strstr(p[i].told.data, i % 2 ? "| fail model_request_failed_error retry: " : "| end_turn"));
		probe_reset(&p[i]);
	}
	model_client_free(&fresh);
}

/* A certificate that nobody vouches for is refused before the key is sent. */
static void
test_certificate(void **state)
{
	char pem[] = "/tmp/roost-test-pem-XXXXXX", cmd[256];
	struct model_route r = route("anthropic", "fake-1");
	struct server tls;
	int fd = mkstemp(pem);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(cmd, sizeof(cmd), "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
	    "-keyout %s.k -out %s >/dev/null 2>&1 && cat %s.k >>%s && rm %s.k", pem, pem, pem, pem, pem);
	assert_int_equal(system(cmd), 0);
	server_start(&tls, pem);
	snprintf(r.base_url, sizeof(r.base_url), "%s", tls.url);
	expect(&r, 1, "hi", "| fail model_request_failed_error retry: The connection to the model provider failed: SSL peer certificate or SSH remote key was not OK.");
	server_stop(&tls);
	unlink(pem);
}

/* ---- cancelling ---- */

enum { CALLS = 4 };
static struct model_call *calls[CALLS];
static struct probe probes[CALLS];
static int watched, at_delta;		/* whose delta or end cancels all; at_delta 0: its end does */

static void
cancel_all(void)
{
	for (int i = 0; i < CALLS; i++)
		model_cancel(&calls[i]);
}

static void
cancel_on_text(void *ctx)
{
	if (ctx == &probes[watched] && probes[watched].deltas == at_delta)
		cancel_all();
}

/* A call that ended by itself is gone: its pointer must not be used again, unless it is the one that ends now. */
static void
cancel_on_end(void *ctx)
{
	if (ctx == &probes[watched] && at_delta == 0)
		cancel_all();
	else
		calls[(struct probe *)ctx - probes] = NULL;
}

/* Four calls at once; call `who` cancels all of them at its delta number `when` (0: from inside its end; -1: right after the start). */
static void
cancel_round(int who, int when)
{
	static const char *const dialects[CALLS] = { "anthropic", "openai", "scripted", "anthropic" };
	AUTO(buf) struct buf block = { 0 };
	struct model_item item;
	int before[CALLS];

	watched = who;
	at_delta = when;
	for (int i = 0; i < CALLS; i++) {
		struct model_route r = route(dialects[i], "fake-1");
		struct model_request rq = request(&r, 1, &item, &block, "one two three four five");

		probes[i] = (struct probe){ .open = -1, .on_text = cancel_on_text, .on_end = cancel_on_end, .ctx = &probes[i] };
		calls[i] = model_start(client, &rq, &probe_events, &probes[i]);
	}
	if (when < 0)
		cancel_all();
	for (int64_t until = clock_mono_ms() + DEADLINE_MS; calls[who] && clock_mono_ms() < until;)
		loop_once(loop, 100);
	for (int i = 0; i < CALLS; i++) {
		assert_null(calls[i]);
		before[i] = probes[i].deltas + 1000 * probes[i].ends;
	}
	run_for(30);
	for (int i = 0; i < CALLS; i++) {
		assert_int_equal(probes[i].deltas + 1000 * probes[i].ends, before[i]);
		probe_reset(&probes[i]);
	}
}

static void
test_cancel(void **state)
{
	AUTO(buf) struct buf block = { 0 };
	struct model_route r = route("anthropic", "fake-1");
	struct model_item item;
	struct model_request rq = request(&r, 1, &item, &block, "one two\n!provider {\"word_ms\":200}");
	struct probe p = { .open = -1 };
	struct model_call *call;

	(void)state;
	for (int who = 0; who < CALLS; who++) {
		for (int when = -1; when <= 5; when++)
			cancel_round(who, when);
	}
	/* in the middle of a stream, from outside */
	call = model_start(client, &rq, &probe_events, &p);
	while (!p.deltas)
		loop_once(loop, 100);
	model_cancel(&call);
	run_for(200);
	assert_int_equal(p.ends, 0);
	probe_reset(&p);
}

/* What a cut transfer leaves of itself is not what the next one is read into: libcurl keeps its small buffer and forgets that it is small. */
static void
test_cut_then_much(void **state)
{
	enum { MUCH = 60000 };
	AUTO(buf) struct buf block = { 0 };
	AUTO(str) char *much = calloc(1, MUCH + 1);
	struct model_client *fresh = model_client_new(loop, &conf);
	struct model_route r = route("anthropic", "fake-1");
	struct model_item item;
	struct model_request slow, long_one;
	struct probe p = { .open = -1 };
	struct model_call *call;

	(void)state;
	memset(much, 'x', MUCH);
	for (int i = 0; i < 8; i++) {
		slow = request(&r, 1, &item, &block, "one two\n!provider {\"word_ms\":200}");
		call = model_start(fresh, &slow, &probe_events, &p);
		while (!p.deltas)
			loop_once(loop, 100);
		model_cancel(&call);
		probe_reset(&p);
		long_one = request(&r, 1, &item, &block, much);
		model_start(fresh, &long_one, &probe_events, &p);
		run_until(&p, 1);
		assert_int_equal(p.ends, 1);
		assert_non_null(strstr(p.told.data, "| end_turn "));
		assert_true(p.told.len > 2 * MUCH);	/* in its deltas, and whole */
		probe_reset(&p);
	}
	model_client_free(&fresh);
}

/* A new call from inside the end of another, as a turn's next step would. */
static int chain_left;
static struct probe chain;

static void
chain_next(void *ctx)
{
	AUTO(buf) struct buf block = { 0 };
	struct model_route r = route(chain_left % 2 ? "anthropic" : "openai", "fake-1");
	struct model_item item;
	struct model_request rq = request(&r, 1, &item, &block, "go on");

	(void)ctx;
	if (chain_left-- > 0)
		model_start(client, &rq, &probe_events, &chain);
}

static void
test_chain_and_many(void **state)
{
	enum { MANY = 40 };
	AUTO(buf) struct buf block = { 0 };
	struct probe many[MANY];
	struct model_item item;

	(void)state;
	chain = (struct probe){ .open = -1, .on_end = chain_next };
	chain_left = 20;
	chain_next(NULL);
	run_until(&chain, 20);
	assert_int_equal(chain.ends, 20);
	assert_null(strstr(chain.told.data, "fail"));
	probe_reset(&chain);
	for (int i = 0; i < MANY; i++) {
		struct model_route r = route(i % 2 ? "anthropic" : "openai", "fake-1");
		struct model_request rq = request(&r, 1, &item, &block, "all at once\n!provider {\"word_ms\":2,\"chunk\":11}");

		many[i] = (struct probe){ .open = -1 };
		model_start(client, &rq, &probe_events, &many[i]);
	}
	for (int i = 0; i < MANY; i++) {
		run_until(&many[i], 1);
		assert_non_null(strstr(many[i].told.data, "| end_turn [text I am fake-1, a fake model. You said: all at once]"));
		probe_reset(&many[i]);
	}
}

/* Ending the client with calls under way frees everything (the sanitizers look). */
static void
test_free_under_way(void **state)
{
	AUTO(buf) struct buf block = { 0 };
	struct model_client *other = model_client_new(loop, &conf);
	struct probe p = { .open = -1 };
	struct model_item item;
	struct model_route r = route("anthropic", "fake-1"), s = route("scripted", "x");
	struct model_request a = request(&r, 1, &item, &block, "one two\n!provider {\"word_ms\":20}");
	struct model_request b = a;

	(void)state;
	b.routes = &s;
	model_start(other, &a, &probe_events, &p);
	model_start(other, &b, &probe_events, &p);
	model_start(other, &b, &probe_events, &p);
	while (p.deltas < 3)
		loop_once(loop, 100);
	model_client_free(&other);
	assert_null(other);
	p.ends = 0;
	run_for(50);
	assert_int_equal(p.ends, 0);
	probe_reset(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_on_all_dialects),
		cmocka_unit_test(test_later_steps),
		cmocka_unit_test(test_extras),
		cmocka_unit_test(test_openai_quirks),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_slow_connect),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_refused_field),
		cmocka_unit_test(test_refused_signature),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_certificate),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cut_then_much),
		cmocka_unit_test(test_chain_and_many),
		cmocka_unit_test(test_free_under_way),
	};

	return cmocka_run_group_tests_name("model over loopback", tests, setup, teardown);
}
