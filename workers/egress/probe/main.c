/*
 * roost-probe: validates one credential for one gateway and ends. Started by roost-egress (each.c): the connection is descriptor 3, an alarm
 * bounds its life. It asks roost-vault for the credential, the servers for their opinion, and answers with what may be shown.
 *
 *   {"probe":ID}      ->  {"has_refresh_token":..,"status":..,"mcp_probe":..,"refresh":..}  or  {"error":kind}
 *
 * It reads what hostile servers send, with a token in its memory: hence a process for each, confined, that cannot be looked into and writes
 * nothing. A crash costs one validation, which the gateway answers with 503.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ask.h"
#include "clock.h"
#include "confine.h"
#include "each.h"
#include "frame.h"
#include "harden.h"
#include "id.h"
#include "jx.h"
#include "log.h"
#include "validate.h"
#include "xalloc.h"

#define ASK_MS 5000

static void
bound(void)
{
	const struct rlimit cpu = { 20, 20 }, files = { 64, 64 }, size = { 0, 0 };

	must(setrlimit(RLIMIT_CPU, &cpu) == 0 && setrlimit(RLIMIT_NOFILE, &files) == 0 && setrlimit(RLIMIT_FSIZE, &size) == 0);
}

static int
serve(const struct conf *c, struct buf *out, struct err *e)
{
	AUTO(buf) struct buf in = BUF_INIT(4096);
	AUTO(json) json_t *ask = NULL;
	const char *probe;

	if (ask_recv(EACH_FD, sizeof "{}" + 2 * ID_MAX, clock_mono_ms() + ASK_MS, &in, e) < 0 || jx_parse(in.data, in.len, &ask, e) < 0)
		return -1;
	probe = jx_str(ask, "probe");
	if (!probe || strlen(probe) >= ID_MAX)
		return err_set(e, EK_INVALID, 0, "no probe is named");
	return validate(c, probe, out, e);
}

int
main(int argc, char **argv)
{
	struct buf out = BUF_INIT(FRAME_MAX);
	struct err e = ERR_INIT;
	struct conf c;
	int rc;

	harden_process(true);
	(void)signal(SIGPIPE, SIG_IGN);
	conf_args(&c, argc, argv);
	log_open("roost-probe", log_level_of(c.log_level));
	bound();
	confine_process(true);
	rc = serve(&c, &out, &e);
	if (rc < 0) {
		log_err("failed", &e, NULL);
		ask_refuse(&out, e.kind);
	}
	if (ask_send(EACH_FD, out.data, out.len, clock_mono_ms() + ASK_MS, &e) < 0)
		log_err("not_answered", &e, NULL);
	buf_free(&out);
	return 0;
}
