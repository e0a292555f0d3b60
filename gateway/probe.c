/*
 * probe: see probe.h. One thread with a small stack per validation; it blocks on the socket of roost-egress, which bounds how long that
 * takes, and ends at the latest some seconds after it should have. The row that let it in (credential_probe) is what roost-vault releases
 * the credential for; it is ended when the answer is known, by one database connection that all probes share for that moment.
 *
 * roost-egress or roost-vault away: 503 after the seconds that one which is replaced may take, and nothing else waits. A crash leaves a row that counts against the organization's limit for a
 * minute. What egress says is copied as JSON, not believed as text: it was made from what hostile servers sent.
 */
#include "probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "respond.h"
#include "ask.h"
#include "clock.h"
#include "failpoint.h"
#include "jw.h"
#include "jx.h"
#include "log.h"
#include "serve.h"
#include "xalloc.h"

#define STACK (256 << 10)
#define LATE_MS 12000		/* how long after probe_s egress may still answer */
#define ANSWER_MAX (256u << 10)

struct probe {
	struct probes *all;
	struct probe *next;
	FCGX_Request *fcgi;
	struct gw_req r;
	int64_t start_us;
	int fd;				/* of roost-egress, -1: none; under the lock */
	char vault_id[ID_MAX], credential_id[ID_MAX];
};

struct probes {
	const struct gw *gw;
	struct park *park;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* one ended */
	struct probe *list;
	int n;
	bool closing;
	pthread_mutex_t db_lock;
	struct db *db;
};

/* --- in the handler ---------------------------------------------------------------------------------------------------------- */

int
probe_begin(struct gw_req *r, const char *vault_id, const char *credential_id, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct probe_target *t = arena_alloc(r->arena, sizeof *t);

	if (DB_RUN(r->db, STMT_CREDENTIAL_PROBE_BEGIN, &res, e, r->id, r->who.organization_id, r->who.workspace_id, vault_id, credential_id,
	    r->who.key_id, DBN(r->conf->probes_org_max)) < 0)
		return -1;
	if (strcmp(pg_str(res, 0, 0), "ok") != 0)
		return err_set(e, EK_LIMIT, 0, "Too many validations of this organization at the same time");
	t->vault_id = arena_strdup(r->arena, vault_id);
	t->credential_id = arena_strdup(r->arena, credential_id);
	r->probe = t;
	return 0;
}

/* --- in its own thread ------------------------------------------------------------------------------------------------------- */

/* The descriptor is known to probes_close(), which may cut it. */
static int
set_fd(struct probe *p, int fd, struct err *e)
{
	bool closing;

	pthread_mutex_lock(&p->all->lock);
	closing = p->all->closing;
	p->fd = closing ? -1 : fd;
	pthread_mutex_unlock(&p->all->lock);
	return closing && fd >= 0 ? err_fault(e, EK_UNAVAILABLE, 0, "the gateway is stopping") : 0;
}

static int
ask_egress(struct probe *p, json_t **out, struct err *e)
{
	AUTO(str) char *question = xasprintf("{\"probe\":\"%s\"}", p->r.id);
	AUTO(fd) int fd = ask_reach(p->r.conf->egress_socket, INT64_MAX, e);
	int rc;

	if (fd < 0 || set_fd(p, fd, e) < 0)
		return -1;
	FAILPOINT(PROBE);
	rc = ask_json(fd, question, ANSWER_MAX, clock_mono_ms() + p->r.conf->probe_s * 1000 + LATE_MS, out, e);
	FAILPOINT(PROBE_DONE);
	(void)set_fd(p, -1, e);
	if (rc == 0)
		return 0;
	if (e->kind == EK_NOT_FOUND)
		return err_set(e, EK_NOT_FOUND, 0, "Credential %s not found.", p->credential_id);
	if (e->kind == EK_OVERLOADED)
		return err_set(e, EK_OVERLOADED, 0, "Too many validations at the same time");
	if (e->kind != EK_INTERNAL)
		e->kind = EK_UNAVAILABLE;	/* late, gone: nothing that the client did */
	return err_wrap(e, "roost-egress");
}

static int
encode(struct probe *p, const json_t *v, struct err *e)
{
	const char *status = jx_str(v, "status");
	const json_t *mcp = json_object_get(v, "mcp_probe"), *refresh = json_object_get(v, "refresh");	/* borrowed */
	char now[CLOCK_TEXT];
	struct jw w;

	if (!status || (strcmp(status, "valid") && strcmp(status, "invalid") && strcmp(status, "unknown")) || !mcp || !refresh)
		return err_fault(e, EK_INTERNAL, 0, "roost-egress: not a result");
	jw_begin(&w, &p->r.out);
	jw_obj(&w);
	jw_kstr(&w, "type", "vault_credential_validation");
	jw_kstr(&w, "credential_id", p->credential_id);
	jw_kstr(&w, "vault_id", p->vault_id);
	jw_kstr(&w, "validated_at", clock_format(clock_wall_us(), now));
	jw_kbool(&w, "has_refresh_token", jx_bool(v, "has_refresh_token", 0));
	jw_kstr(&w, "status", status);
	jw_kjson(&w, "mcp_probe", mcp);
	jw_kjson(&w, "refresh", refresh);
	jw_obj_end(&w);
	jw_end(&w);
	return 0;
}

/* The row is done with. Failing costs the organization one place for a minute. */
static void
end_row(struct probe *p, const char *status)
{
	struct probes *all = p->all;
	struct err e = ERR_INIT;

	pthread_mutex_lock(&all->db_lock);
	if (DB_RUN(all->db, STMT_CREDENTIAL_PROBE_END, NULL, &e, p->r.id, status) < 0)
		log_err("probe_end", &e, "request", p->r.id, NULL);
	pthread_mutex_unlock(&all->db_lock);
}

static void
unlist(struct probe *p)
{
	struct probes *all = p->all;

	pthread_mutex_lock(&all->lock);
	for (struct probe **at = &all->list; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	pthread_mutex_unlock(&all->lock);
}

static void
gone(struct probes *all)
{
	pthread_mutex_lock(&all->lock);
	all->n--;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
}

static void *
probe_main(void *arg)
{
	struct probe *p = arg;
	struct probes *all = p->all;
	AUTO(json) json_t *v = NULL;
	struct err e = ERR_INIT;

	if (ask_egress(p, &v, &e) == 0)
		(void)encode(p, v, &e);
	end_row(p, e.kind == EK_NONE ? jx_str(v, "status") : NULL);
	respond(&p->r, p->fcgi, &e, "", p->start_us);
	unlist(p);
	park_done(all->park, p->fcgi);
	free(p);
	gone(all);
	return NULL;
}

/* --- taking ------------------------------------------------------------------------------------------------------------------ */

static int
start(struct probe *p, struct err *e)
{
	struct probes *all = p->all;
	pthread_attr_t attr;
	pthread_t thread;
	bool full;
	int rc;

	pthread_mutex_lock(&all->lock);
	full = all->n >= p->r.conf->probes_max || all->closing;
	if (!full) {
		p->next = all->list;
		all->list = p;
		all->n++;
	}
	pthread_mutex_unlock(&all->lock);
	if (full)
		return err_set(e, EK_OVERLOADED, 0, "Too many validations at the same time");
	must(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK) == 0 &&
	    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	rc = pthread_create(&thread, &attr, probe_main, p);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	unlist(p);
	gone(all);
	return err_fault(e, EK_UNAVAILABLE, rc, "start a validation's thread: %s", strerror(rc));
}

int
probes_take(struct probes *all, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e)
{
	struct probe *p = xcalloc(1, sizeof *p);

	p->all = all;
	p->fcgi = fcgi;
	p->r = *r;
	p->start_us = start_us;
	p->fd = -1;
	snprintf(p->vault_id, sizeof p->vault_id, "%s", r->probe->vault_id);
	snprintf(p->credential_id, sizeof p->credential_id, "%s", r->probe->credential_id);
	/* the arena and the thread's connections stay behind */
	p->r.param[0] = p->vault_id;
	p->r.param[1] = p->credential_id;
	p->r.arena = NULL;
	p->r.db = NULL;
	p->r.bus = NULL;
	p->r.bells = NULL;
	p->r.probe = NULL;
	p->r.after = NULL;
	if (start(p, e) == 0)
		return 0;
	end_row(p, NULL);
	free(p);
	return -1;
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

struct probes *
probes_open(const struct gw *gw, struct park *park)
{
	struct probes *all = xcalloc(1, sizeof *all);

	all->gw = gw;
	all->park = park;
	pthread_mutex_init(&all->lock, NULL);
	pthread_mutex_init(&all->db_lock, NULL);
	pthread_cond_init(&all->changed, NULL);
	all->db = db_open(gw->conf->pg_dsn, DB_GW, (int)gw->conf->pg_timeout_ms);
	return all;
}

void
probes_close(struct probes **allp, int64_t ms)
{
	struct probes *all = *allp;
	struct timespec until;

	if (!all)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	pthread_mutex_lock(&all->lock);
	while (all->n > 0 && pthread_cond_timedwait(&all->changed, &all->lock, &until) == 0)
		continue;
	all->closing = true;
	for (const struct probe *p = all->list; p; p = p->next)
		if (p->fd >= 0)
			(void)shutdown(p->fd, SHUT_RDWR);
	while (all->n > 0)
		pthread_cond_wait(&all->changed, &all->lock);
	pthread_mutex_unlock(&all->lock);
	db_close(&all->db);
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->db_lock);
	pthread_mutex_destroy(&all->lock);
	free(all);
	*allp = NULL;
}
