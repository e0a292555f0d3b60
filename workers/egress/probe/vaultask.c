/*
 * vaultask: see vaultask.h. One question, one answer. Storing is tried again while there is time: by then the server has replaced the old
 * refresh token, and what is not stored is lost.
 */
#include "vaultask.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "clock.h"
#include "frame.h"
#include "jw.h"
#include "xalloc.h"

#define AGAIN_MS 300

struct vaultask {
	int fd;
	int64_t until;
	json_t *released, *refresh;	/* the last answers */
};

struct vaultask *
vaultask_open(const char *socket_path, int64_t until, struct err *e)
{
	struct vaultask *v;
	int fd = ask_reach(socket_path, until, e);

	if (fd < 0)
		return NULL;
	v = xcalloc(1, sizeof *v);
	v->fd = fd;
	v->until = until;
	return v;
}

void
vaultask_close(struct vaultask **v)
{
	if (!*v)
		return;
	close((*v)->fd);
	json_decref((*v)->released);
	json_decref((*v)->refresh);
	free(*v);
	*v = NULL;
}

static int
ask(struct vaultask *v, const char *question, json_t **out, struct err *e)
{
	json_t *doc = NULL;

	if (ask_json(v->fd, question, FRAME_MAX, v->until, &doc, e) < 0)
		return err_wrap(e, "roost-vault");
	json_decref(*out);
	*out = doc;
	return 0;
}

int
vault_release(struct vaultask *v, const char *probe, struct vault_credential *out, struct err *e)
{
	AUTO(buf) struct buf q = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &q);
	jw_obj(&w);
	jw_kstr(&w, "op", "release");
	jw_kstr(&w, "probe", probe);
	jw_obj_end(&w);
	jw_end(&w);
	if (ask(v, q.data, &v->released, e) < 0)
		return -1;
	*out = (struct vault_credential){ .access_token = jx_str(v->released, "access_token"), .url = jx_str(v->released, "mcp_server_url"),
	    .endpoint = jx_str(v->released, "token_endpoint"), .client_id = jx_str(v->released, "client_id"),
	    .auth = jx_str(v->released, "endpoint_auth"), .scope = jx_str(v->released, "scope"),
	    .resource = jx_str(v->released, "resource"), .has_refresh = jx_bool(v->released, "has_refresh", 0) };
	return out->url ? 0 : err_fault(e, EK_INTERNAL, 0, "roost-vault: a credential without a server");
}

int
vault_refresh(struct vaultask *v, enum vault_go *out, const char **refresh_token, const char **client_secret, struct err *e)
{
	static const char *const states[] = { [VAULT_GO] = "go", [VAULT_BUSY] = "busy", [VAULT_CHANGED] = "changed", [VAULT_NONE] = "none" };
	const char *state;

	if (ask(v, "{\"op\":\"refresh\"}", &v->refresh, e) < 0)
		return -1;
	state = jx_str(v->refresh, "state");
	*refresh_token = jx_str(v->refresh, "refresh_token");
	*client_secret = jx_str(v->refresh, "client_secret");
	for (size_t i = 0; state && i < sizeof states / sizeof *states; i++)
		if (strcmp(state, states[i]) == 0 && (i != VAULT_GO || *refresh_token)) {
			*out = (enum vault_go)i;
			return 0;
		}
	return err_set(e, EK_NOT_FOUND, 0, "The credential has gone");
}

int
vault_store(struct vaultask *v, const char *access, const char *refresh, int64_t expires_in, bool *out_stored, struct err *e)
{
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };
	AUTO(buf) struct buf q = { .secret = true };
	AUTO(json) json_t *answer = NULL;
	const char *state;
	struct jw w;

	jw_begin(&w, &q);
	jw_obj(&w);
	jw_kstr(&w, "op", "store");
	jw_kstr(&w, "access_token", access);
	jw_kstr(&w, "refresh_token", refresh);
	jw_key(&w, "expires_in");
	if (expires_in >= 0)
		jw_int(&w, expires_in);
	else
		jw_null(&w);
	jw_obj_end(&w);
	jw_end(&w);
	while (ask(v, q.data, &answer, e) < 0) {
		if (e->kind == EK_TIMEOUT || clock_mono_ms() + AGAIN_MS >= v->until)
			return -1;
		err_clear(e);
		(void)nanosleep(&pause, NULL);
	}
	state = jx_str(answer, "state");
	*out_stored = state && strcmp(state, "stored") == 0;
	return 0;
}

int
vault_end(struct vaultask *v, struct err *e)
{
	AUTO(json) json_t *answer = NULL;

	return ask(v, "{\"op\":\"end\"}", &answer, e);
}
