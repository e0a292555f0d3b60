/*
 * redis_ask: connects, authenticates, reads INFO and two stream lengths. Waits at most two seconds. Changes nothing.
 */
#include "redis_ask.h"

#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "cleanup.h"
#include "ctl.h"

DEFINE_CLEANUP(redisContext *, rctx, redisFree)
DEFINE_CLEANUP(redisReply *, rreply, freeReplyObject)

/* The reply, or NULL with the server's reason. */
static redisReply *
checked(redisContext *rc, redisReply *r, const char *what, struct err *e)
{
	if (r && r->type != REDIS_REPLY_ERROR)
		return r;
	err_set(e, EK_UNAVAILABLE, 0, "Redis %s: %s", what, r ? r->str : rc->errstr);
	if (r)
		freeReplyObject(r);
	return NULL;
}

/* "name:value" of INFO. */
static void
info_field(const char *info, const char *name, char *out, size_t size)
{
	const char *at = strstr(info, name);

	snprintf(out, size, "%.*s", at ? (int)strcspn(at + strlen(name), "\r\n") : 1, at ? at + strlen(name) : "?");
}

static int
login(redisContext *rc, const struct conf *c, struct err *e)
{
	AUTO(rreply) redisReply *r = NULL;
	size_t len;
	char *pass;

	if (!c->redis_user[0])
		return 0;
	pass = ctl_read_file(c->redis_pass_file, 512, &len, e);
	if (!pass)
		return -1;
	pass[strcspn(pass, "\n")] = '\0';
	r = redisCommand(rc, "AUTH %s %s", c->redis_user, pass);
	sodium_memzero(pass, len);
	free(pass);
	r = checked(rc, r, "login", e);
	return r ? 0 : -1;
}

static int
stream_length(redisContext *rc, const char *stream, long long *out, struct err *e)
{
	AUTO(rreply) redisReply *r = checked(rc, redisCommand(rc, "XLEN %s", stream), "XLEN", e);

	if (!r)
		return -1;
	*out = r->integer;
	return 0;
}

int
redis_ask(const struct conf *c, struct redis_facts *out, struct err *e)
{
	AUTO(rctx) redisContext *rc = redisConnectUnixWithTimeout(c->redis_socket, (struct timeval){ 2, 0 });
	AUTO(rreply) redisReply *info = NULL;
	char clients[32];

	if (!rc || rc->err)
		return err_set(e, EK_UNAVAILABLE, 0, "%s: %s", c->redis_socket, rc ? rc->errstr : "out of memory");
	redisSetTimeout(rc, (struct timeval){ 2, 0 });
	if (login(rc, c, e) < 0)
		return -1;
	info = checked(rc, redisCommand(rc, "INFO"), "INFO", e);
	if (!info || stream_length(rc, BUS_JOBS, &out->jobs, e) < 0 || stream_length(rc, BUS_SSE, &out->fanout, e) < 0)
		return -1;
	info_field(info->str, "redis_version:", out->version, sizeof(out->version));
	info_field(info->str, "used_memory_human:", out->memory, sizeof(out->memory));
	info_field(info->str, "connected_clients:", clients, sizeof(clients));
	out->clients = atoll(clients);
	return 0;
}
