/*
 * health: GET /healthz, without a key: is this process alive (it answered), and can it do its work? Each dependency by name: Postgres,
 * Redis, a worker that beats, and hands, which a worker reaches. 200 when all are well, 503 otherwise; an archive that takes nothing is
 * said but does not count, because everything goes on. It says nothing that would help an attacker: no versions, no hosts.
 * `timeline` is how often the database was restored to an earlier time: when it rises, clients list again what they hold.
 */
#include "api.h"

#include <unistd.h>

#include "clock.h"
#include "jw.h"
#include "modelinfo.h"
#include "openapi.h"

#define REDIS_HEALTH_MS 1200

static void
part(struct jw *w, const char *name, bool ok, bool *all)
{
	jw_key(w, name);
	jw_obj(w);
	jw_kstr(w, "status", ok ? "ok" : "down");
	jw_obj_end(w);
	*all = *all && ok;
}

/*
 * On a request's path Redis has 20 ms and a back-off after that, so one late answer on a busy machine would read as "down" here. Asked
 * for health there is time to see through both: down is what does not answer for longer than the longest back-off.
 */
static bool
redis_well(struct bus *bus)
{
	struct err why = ERR_INIT;
	int64_t until = clock_mono_ms() + REDIS_HEALTH_MS;

	while (bus_ping(bus, &why) < 0) {
		if (clock_mono_ms() >= until)
			return false;
		usleep(20000);
	}
	return true;
}

int
api_health(struct gw_req *r, struct err *e)
{
	struct err why = ERR_INIT;
	struct health h = { 0 };
	bool postgres = health_ask(r->db, &h, &why) == 0;
	bool redis = redis_well(r->bus), all = true, archive = true;
	struct jw w;

	jw_begin(&w, &r->out);
	jw_obj(&w);
	jw_key(&w, "checks");
	jw_obj(&w);
	part(&w, "gateway", true, &all);
	part(&w, "postgres", postgres, &all);
	part(&w, "redis", redis, &all);
	part(&w, "worker", h.workers > 0, &all);
	part(&w, "hands", h.hands, &all);
	part(&w, "archive", !h.archive_fails, &archive);
	jw_obj_end(&w);
	jw_kint(&w, "workers", h.workers);
	jw_kint(&w, "timeline", h.timeline);
	jw_kstr(&w, "status", all ? "ok" : "degraded");
	jw_obj_end(&w);
	jw_end(&w);
	r->status = all ? 200 : 503;
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
