/*
 * harness: what one roost-worker process shares between its sessions. Everything runs in one thread, one loop.
 */
#ifndef ROOST_HARNESS_HARNESS_H
#define ROOST_HARNESS_HARNESS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "appendq.h"
#include "busq.h"
#include "conf.h"
#include "dbq.h"
#include "hands.h"
#include "loop.h"
#include "model.h"
#include "note.h"
#include "plan.h"
#include "routes.h"
#include "stamp.h"

struct work;
struct beat;
struct ctxcache;

struct wk {
	struct conf conf;
	char name[64];		/* lease owner: unique for this life of the process */
	char host[64];		/* the machine: the same for all its processes, in whatever container */
	struct loop *loop;
	struct dbq *db;		/* one connection: results come in the order of the questions, which rounds.c relies on */
	struct appendq *appends;	/* on that connection */
	struct busq *bus;
	struct hands *hands;
	struct model_client *models;
	struct routes *routes;
	struct stamp stamp;
	struct plan_limits limits;
	LIST_HEAD(, publish) publishing;	/* publish.c: outputs on their way into the database */
	struct work *work;
	struct beat *beat;
	struct ctxcache *contexts;	/* of sessions given back */
	struct agents *agents;		/* read lately */
	struct note *note;	/* the session at hand; NULL: not noted */
	struct note_left left;	/* what the last worker on this file died with */
	bool draining;
};

#endif
