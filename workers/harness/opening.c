/*
 * opening: see opening.h. The batch that plan.c would make for one message to an idle session (go_ask), made ahead of it: the message comes
 * before the request's start, and both run in the order in which message_send writes them.
 *
 * Pure: ids come from the kernel's randomness, everything else from the caller.
 */
#include "opening.h"

#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

struct opening {
	struct batch batch;		/* running, the thread's, the request's start */
	char span_id[ID_MAX];
	char *epoch;
	const char *texts[OPENING_TEXTS];
};

struct opening *
opening_new(struct batch_who who, int64_t epoch)
{
	struct opening *o = xcalloc(1, sizeof(*o));

	batch_init(&o->batch, who);
	batch_running(&o->batch);
	batch_span_start(&o->batch, o->span_id);
	must(o->batch.nev == OPENING_TEXTS - 1);
	for (int i = 0; i < o->batch.nev; i++)
		o->texts[i] = o->batch.ev[i].stem;
	o->texts[OPENING_TEXTS - 1] = o->epoch = xasprintf("%lld", (long long)epoch);
	return o;
}

void
opening_free(struct opening **op)
{
	struct opening *o = *op;

	if (o == NULL)
		return;
	batch_free(&o->batch);
	free(o->epoch);
	free(o);
	*op = NULL;
}

const char *const *
opening_texts(const struct opening *o)
{
	return o->texts;
}

const char *
opening_span(const struct opening *o)
{
	return o->span_id;
}

void
opening_take(struct opening *o, struct batch_who who, const struct arrival *message, struct batch *out, struct plan *plan)
{
	struct event span;

	*out = o->batch;
	memset(&o->batch, 0, sizeof(o->batch));
	out->who = who;
	batch_inbox(out, message, true);
	span = out->ev[out->nev - 2];
	out->ev[out->nev - 2] = out->ev[out->nev - 1];
	out->ev[out->nev - 1] = span;
	*plan = (struct plan){ .event = TE_START };
	memcpy(plan->span_id, o->span_id, sizeof(plan->span_id));
}
