/*
 * health: GET /healthz, without a key: would a request be served here, and what does the service do without? 200 when requests are served
 * (status ok, or degraded when a part is not well that they do not need), 503 when they are not (status down): Postgres is away, or takes no
 * writes. Any answer says that the process lives. It says nothing that would help an attacker: no versions, no hosts, no reasons; these are
 * in the log of who has them, and in `roostctl doctor`.
 * `timeline` is how often the database was restored to an earlier time: when it rises, clients list again what they hold.
 */
#include "api.h"

#include "jw.h"
#include "openapi.h"
#include "ready.h"

static void
known_int(struct jw *w, const char *key, int64_t v)
{
	if (v < 0)
		jw_knull(w, key);
	else
		jw_kint(w, key, v);
}

static void
encode(struct gw_req *r, const struct verdict *v)
{
	bool serves = ready_serves(v);
	struct jw w;

	jw_begin(&w, &r->out);
	jw_obj(&w);
	jw_key(&w, "checks");
	jw_obj(&w);
	for (int i = 0; i < READY_PARTS; i++) {
		jw_key(&w, ready_names[i]);
		jw_obj(&w);
		jw_kstr(&w, "status", ready_word(v->part[i]));
		jw_obj_end(&w);
	}
	jw_obj_end(&w);
	known_int(&w, "workers", v->workers);
	known_int(&w, "timeline", v->timeline);
	jw_kint(&w, "age_ms", v->age_ms);
	jw_kstr(&w, "status", !serves ? "down" : ready_whole(v) ? "ok" : "degraded");
	jw_obj_end(&w);
	jw_end(&w);
	r->status = serves ? 200 : 503;
}

int
api_health(struct gw_req *r, struct err *e)
{
	struct verdict v;

	if (ready_known(r->ready, &v))
		encode(r, &v);
	else
		r->looks = encode;
	return 0;
}

int
api_openapi(struct gw_req *r, struct err *e)
{
	size_t len;
	const char *text = openapi_text(&len);

	buf_put(&r->out, text, len);
	return 0;
}
