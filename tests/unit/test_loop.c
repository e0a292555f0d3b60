/* The event loop and the frames that travel over it: order of timers, watches that change under their own events, hostile lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "frame.h"
#include "loop.h"
#include "xalloc.h"

struct seen { struct loop *loop; struct loop_timer *t; char text[64]; };

static void put_a(void *ctx) { strcat(((struct seen *)ctx)->text, "a"); }
static void put_b(void *ctx) { strcat(((struct seen *)ctx)->text, "b"); }
static void stop(void *ctx) { loop_stop(((struct seen *)ctx)->loop); }

static void
chain(void *ctx)
{
	struct seen *s = ctx;

	strcat(s->text, "c");
	if (strlen(s->text) < 5)
		loop_after(s->loop, 0, chain, s);
	else
		loop_stop(s->loop);
}

static void
timers(void **state)
{
	struct seen s = { .loop = loop_new() };

	loop_after(s.loop, 600, stop, &s);		/* far apart: they are set one after another */
	loop_after(s.loop, 300, put_b, &s);
	loop_after(s.loop, 1, put_a, &s);
	loop_after(s.loop, 1, put_b, &s);
	s.t = loop_after(s.loop, 2, put_a, &s);
	loop_cancel(s.loop, &s.t);
	assert_null(s.t);
	loop_run(s.loop);
	assert_string_equal(s.text, "abb");
	loop_free(&s.loop);
	assert_null(s.loop);
}

struct early { struct loop *loop; int64_t due_us; int fired, early; };

static void
too_early(void *ctx)
{
	struct early *e = ctx;

	e->early += clock_mono_us() < e->due_us;
	e->fired++;
}

/* Also when the loop looks at the clock again and again meanwhile, as it does when it has other things to do. */
static void
timers_are_never_early(void **state)
{
	struct early e = { .loop = loop_new() };

	for (int i = 0; i < 40; i++) {
		e.due_us = clock_mono_us() + 2000;
		loop_after(e.loop, 2, too_early, &e);
		while (e.fired == i)
			loop_once(e.loop, i % 2 == 0 ? 0 : -1);
	}
	assert_int_equal(e.early, 0);
	loop_free(&e.loop);
}

static void
timers_that_set_timers(void **state)
{
	struct seen s = { .loop = loop_new() };

	loop_after(s.loop, 0, chain, &s);
	loop_run(s.loop);
	assert_string_equal(s.text, "ccccc");
	loop_free(&s.loop);
}

static void
many_timers_in_order(void **state)
{
	struct loop *l = loop_new();
	struct loop_timer *t[200];
	struct seen s = { .loop = l };
	int i;

	srand(7);
	for (i = 0; i < 200; i++)
		t[i] = loop_after(l, 60000 + rand() % 1000, put_a, &s);
	for (i = 0; i < 200; i += 2)
		loop_cancel(l, &t[i]);
	loop_after(l, 5, stop, &s);
	loop_run(l);
	assert_string_equal(s.text, "");
	loop_free(&l);
}

struct pair { struct loop *loop; struct frame_conn *a, *b; int frames; size_t bytes; };

static int
on_frame(void *ctx, struct frame_conn *fc, const char *json, size_t len)
{
	struct pair *p = ctx;

	assert_int_equal(strlen(json), len);
	p->frames++;
	p->bytes += len;
	return 0;
}

static void
frames(void **state)
{
	struct pair p = { .frames = 0 };
	struct err e = ERR_INIT;
	int sv[2], i;
	char *big = xmalloc(1 << 20);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	p.a = frame_new(sv[0], on_frame, &p);
	p.b = frame_new(sv[1], on_frame, &p);
	memset(big, 'x', 1 << 20);
	assert_int_equal(frame_send(p.a, "{}", 2, &e), 0);
	assert_int_equal(frame_send(p.a, big, 1 << 20, &e), 0);
	assert_int_equal(frame_send(p.a, "", 0, &e), 0);
	for (i = 0; i < 1000 && p.frames < 3; i++) {
		assert_int_equal(frame_on_event(p.a, EPOLLOUT), 0);
		assert_int_equal(frame_on_event(p.b, EPOLLIN), 0);
	}
	assert_int_equal(p.frames, 3);
	assert_int_equal(p.bytes, (1 << 20) + 2);
	assert_int_equal(frame_wants(p.a), EPOLLIN);
	assert_int_equal(frame_send(p.a, big, FRAME_MAX + 1, &e), -1);
	frame_free(&p.a);
	assert_int_equal(frame_on_event(p.b, EPOLLIN | EPOLLHUP), -1);
	frame_free(&p.b);
	free(big);
}

static void
hostile_length(void **state)
{
	struct pair p = { .frames = 0 };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	p.b = frame_new(sv[1], on_frame, &p);
	assert_int_equal(write(sv[0], "\xff\xff\xff\xff{}", 6), 6);
	assert_int_equal(frame_on_event(p.b, EPOLLIN), -1);
	assert_int_equal(p.frames, 0);
	frame_free(&p.b);
	close(sv[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers), cmocka_unit_test(timers_are_never_early), cmocka_unit_test(timers_that_set_timers),
		cmocka_unit_test(many_timers_in_order),
		cmocka_unit_test(frames), cmocka_unit_test(hostile_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
