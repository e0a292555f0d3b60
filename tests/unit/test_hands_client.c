/* link: workers/harness/hands.c */
/* The worker's connection to hands: requests beyond what it buffers wait for room and keep their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "hands.h"
#include "jx.h"
#include "loop.h"
#include "xalloc.h"

#define REQUESTS 12
#define INPUT (3u << 20)

static struct { int64_t last_n; int served, outcomes[4]; bool in_order; char doc[512]; } seen;

static int
serve(void *ctx, struct frame_conn *fc, const char *json, size_t len)
{
	AUTO(json) json_t *doc = NULL;
	struct err e = ERR_INIT;
	char reply[64];
	int64_t n;

	(void)ctx;
	assert_int_equal(jx_parse(json, len, &doc, &e), 0);
	n = jx_int(doc, "n", 0);
	seen.in_order = seen.in_order && n > seen.last_n;
	seen.last_n = n;
	snprintf(seen.doc, sizeof seen.doc, "%.500s", json);
	seen.served++;
	snprintf(reply, sizeof reply, "{\"n\":%lld,\"state\":\"done\"}", (long long)n);
	return frame_send(fc, reply, strlen(reply), &e);
}

static void
done(void *owner, const char *call, enum hands_outcome outcome, const json_t *doc)
{
	(void)owner, (void)call, (void)doc;
	seen.outcomes[outcome]++;
}

static void
late_reader(void **state)
{
	char dir[] = "/tmp/roost-hands-XXXXXX", path[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct loop *loop = loop_new();
	struct hands *h;
	struct frame_conn *fc;
	AUTO(str) char *input = xmalloc(INPUT + 1);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), i;
	int64_t until = clock_mono_ms() + 60000;

	(void)state;
	seen.in_order = true;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(listener, 4), 0);
	memset(input, 'x', INPUT);
	input[0] = input[INPUT - 1] = '"';
	input[INPUT] = '\0';
	h = hands_new(loop, path);
	while (!hands_up(h) && clock_mono_ms() < until)
		loop_once(loop, 10);
	assert_true(hands_up(h));
	for (i = 0; i < REQUESTS; i++)
		hands_send(h, &(struct hands_request){ .op = "call", .session = "sesn_x", .epoch = 1, .call = "sevt_x", .tool = "bash", .input = input,
		    .done = done, .owner = &seen });
	for (i = 0; i < 20; i++)		/* nobody reads: more than the connection buffers stays with us */
		loop_once(loop, 1);
	assert_int_equal(seen.outcomes[HANDS_DOWN] + seen.outcomes[HANDS_LOST] + seen.outcomes[HANDS_OK], 0);
	fc = frame_new(accept4(listener, NULL, NULL, SOCK_CLOEXEC), serve, NULL);
	while (seen.outcomes[HANDS_OK] < REQUESTS && clock_mono_ms() < until) {
		assert_int_equal(frame_on_event(fc, EPOLLIN | EPOLLOUT), 0);
		loop_once(loop, 1);
	}
	assert_int_equal(seen.outcomes[HANDS_OK], REQUESTS);
	assert_int_equal(seen.served, REQUESTS);
	assert_true(seen.in_order);
	hands_send(h, &(struct hands_request){ .op = "published", .session = "sesn_x", .epoch = -1, .more = "{\"blobs\":[\"b\"],\"keep\":false}",
	    .done = done, .owner = &seen });
	while (seen.outcomes[HANDS_OK] <= REQUESTS && clock_mono_ms() < until) {
		assert_int_equal(frame_on_event(fc, EPOLLIN | EPOLLOUT), 0);
		loop_once(loop, 1);
	}
	assert_string_equal(seen.doc, "{\"op\":\"published\",\"n\":13,\"session\":\"sesn_x\",\"blobs\":[\"b\"],\"keep\":false}");
	hands_free(&h);
	frame_free(&fc);
	close(listener);
	unlink(path);
	rmdir(dir);
	loop_free(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(late_reader) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
