/*
 * roost-opener: serves one connection to roost-vault and ends with it. Started by each.c: the connection is descriptor 3, an alarm bounds
 * its life. It is the only program that reads the vault's keys. See opener.h.
 *
 * Each failure is logged with its reason; the peer learns its kind only. A connection that says nonsense is closed.
 */
#include <sodium.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ask.h"
#include "clock.h"
#include "confine.h"
#include "each.h"
#include "frame.h"
#include "harden.h"
#include "log.h"
#include "opener.h"
#include "xalloc.h"

#define ASK_MAX (512u << 10)	/* two tokens of 64 kB, escaped */
#define IDLE_MS 60000

static int
answer(struct opener *o, const char *text, size_t len, struct buf *out, struct err *e)
{
	AUTO(json) json_t *ask = NULL;
	struct err quoting = ERR_INIT;		/* it may quote a token */
	const char *op;

	if (jx_parse(text, len, &ask, &quoting) < 0)
		return err_set(e, EK_INVALID, 0, "not JSON");
	op = jx_str(ask, "op");
	if (op && strcmp(op, "release") == 0)
		return opener_release(o, ask, out, e);
	if (op && strcmp(op, "refresh") == 0)
		return opener_refresh(o, out, e);
	if (op && strcmp(op, "store") == 0)
		return opener_store(o, ask, out, e);
	if (op && strcmp(op, "reseal") == 0)
		return opener_reseal(o, out, e);
	if (!op || strcmp(op, "end") != 0)
		return err_set(e, EK_INVALID, 0, "no such request");
	buf_str(out, "{}");
	return opener_end(o, e);
}

static void
serve(struct opener *o)
{
	struct buf in = { .max = ASK_MAX, .secret = true }, out = { .max = FRAME_MAX, .secret = true };
	struct err e = ERR_INIT;

	while (ask_recv(EACH_FD, ASK_MAX, clock_mono_ms() + IDLE_MS, &in, &e) == 0) {
		buf_reset(&out);
		if (answer(o, in.data, in.len, &out, &e) < 0) {
			log_err("refused", &e, "probe", o->probe[0] ? o->probe : NULL, NULL);
			ask_refuse(&out, e.kind);
			err_clear(&e);
		}
		if (ask_send(EACH_FD, out.data, out.len, clock_mono_ms() + IDLE_MS, &e) < 0)
			break;
	}
	if (opener_end(o, &e) < 0)
		log_err("lease_left", &e, "probe", o->probe, NULL);
	buf_free(&in);
	buf_free(&out);
}

int
main(int argc, char **argv)
{
	struct opener o = { 0 };
	struct err e = ERR_INIT;
	struct ucred peer;
	socklen_t len = sizeof peer;
	struct conf c;

	harden_process(true);
	(void)signal(SIGPIPE, SIG_IGN);
	conf_args(&c, argc, argv);
	log_open("roost-opener", log_level_of(c.log_level));
	if (getsockopt(EACH_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return 2;	/* not started by roost-vault */
	confine_process(false);
	o.conf = &c;
	o.root = peer.uid == 0;
	id_new("vlease_", o.owner);
	o.keys = credkeys_open(c.vault_key_dir, &e);
	if (!o.keys) {
		struct buf out = BUF_INIT(0);

		log_err("no_keys", &e, NULL);
		ask_refuse(&out, EK_UNAVAILABLE);
		(void)ask_send(EACH_FD, out.data, out.len, clock_mono_ms() + 1000, &e);
		buf_free(&out);
		return 1;
	}
	o.db = db_open(c.pg_dsn, DB_VAULT, (int)c.pg_timeout_ms);
	serve(&o);
	PQclear(o.row);
	db_close(&o.db);
	credkeys_close(&o.keys);
	return 0;
}
