/*
 * replymem: see replymem.h. The functions that hiredis' reader calls for each part of a reply; memory comes from pieces that only grow and
 * go back together. A reply that is larger than usual gets pieces of its own, which are not kept.
 */
#include "replymem.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define PIECE 32768u

struct replymem_piece {
	struct replymem_piece *next;
	size_t used, room;
	alignas(max_align_t) char data[];
};

static void *
take(struct replymem *r, size_t n)
{
	struct replymem_piece *p = r->pieces;
	void *out;

	n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!p || p->room - p->used < n) {
		size_t room = n > PIECE ? n : PIECE;

		p = xmalloc(sizeof *p + room);
		p->next = r->pieces;
		p->used = 0;
		p->room = room;
		r->pieces = p;
	}
	out = p->data + p->used;
	p->used += n;
	return out;
}

/* A part of its parent, if it has one. */
static redisReply *
part(const redisReadTask *task)
{
	redisReply *o = take(task->privdata, sizeof *o);

	memset(o, 0, sizeof *o);
	o->type = task->type;
	if (task->parent)
		((redisReply *)task->parent->obj)->element[task->idx] = o;
	return o;
}

static void *
on_string(const redisReadTask *task, char *text, size_t len)
{
	redisReply *o = part(task);

	o->str = take(task->privdata, len + 1);
	memcpy(o->str, text, len);
	o->str[len] = '\0';
	o->len = len;
	return o;
}

static void *
on_array(const redisReadTask *task, int n)
{
	redisReply *o = part(task);
	size_t size = (size_t)(n > 0 ? n : 0) * sizeof(struct redisReply *);

	o->elements = (size_t)(n > 0 ? n : 0);
	o->element = take(task->privdata, size);
	memset(o->element, 0, size);
	return o;
}

static void *
on_integer(const redisReadTask *task, long long v)
{
	redisReply *o = part(task);

	o->integer = v;
	return o;
}

static void *
on_nil(const redisReadTask *task)
{
	redisReply *o = part(task);	/* its task is that of the string or array which it stands for */

	o->type = REDIS_REPLY_NIL;
	return o;
}

static void
on_free(void *reply)
{
	(void)reply;
}

void
replymem_use(struct replymem *r, redisContext *rc)
{
	static redisReplyObjectFunctions fn = {
		.createString = on_string, .createArray = on_array, .createInteger = on_integer, .createNil = on_nil, .freeObject = on_free,
	};

	rc->reader->fn = &fn;
	rc->reader->privdata = r;
}

void
replymem_reset(struct replymem *r)
{
	struct replymem_piece *p;

	while ((p = r->pieces) && (p->next || p->room > PIECE)) {
		r->pieces = p->next;
		free(p);
	}
	if (p)
		p->used = 0;
}

void
replymem_free(struct replymem *r)
{
	struct replymem_piece *p;

	while ((p = r->pieces)) {
		r->pieces = p->next;
		free(p);
	}
}
