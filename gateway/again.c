/*
 * again: see again.h. How often and when is db_again()'s to say (lib/store/db.h). Handlers change the body's tree, so it is parsed anew from
 * r->text, which has been decoded and was right the first time. What the run allocated in the arena stays until the request's end. A body
 * that was not kept (serve.c) makes it the client's to try again: it is told 503.
 */
#include "again.h"

#include "body.h"
#include "log.h"
#include "park.h"
#include "route.h"

static bool
fresh(struct gw_req *r)
{
	struct err ignored = ERR_INIT;

	buf_reset(&r->out);
	buf_reset(&r->sent);
	buf_reset(&r->head);
	r->type = NULL;
	r->status = 200;
	r->after = NULL;
	r->later = NULL;
	r->write = NULL;
	if (!r->body)
		return true;
	json_decref(r->body);
	r->body = NULL;
	return body_parse(r->route->body, "application/json", NULL, BODY_SMALL, &r->text, &r->body, &ignored) == 0;
}

bool
again(struct gw_req *r, int runs, struct err *e)
{
	struct err why = *e;

	if (e->kind != EK_UNDONE || (r->body && r->text.len == 0))
		return false;
	park_yield();		/* it waits */
	if (!db_again(runs, e))
		return false;
	log_err("request_again", &why, "request", r->id, NULL);
	if (fresh(r))
		return true;
	*e = why;
	return false;
}
