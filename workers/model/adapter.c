/*
 * adapter: the table of dialects and what both of them need to read a stream: the numbers of blocks, strings and counts out of
 * checked JSON text, and failures. Nothing here knows a dialect's field names beyond what it is handed.
 */
#include "adapter.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define COUNT_MAX 1000000000	/* tokens of one request that can be meant seriously */

static const struct adapter *const adapters[] = { &adapter_anthropic, &adapter_openai };

const struct adapter *
adapter_find(const char *dialect)
{
	for (size_t i = 0; i < sizeof(adapters) / sizeof(adapters[0]); i++) {
		if (!strcmp(adapters[i]->dialect, dialect))
			return adapters[i];
	}
	return NULL;
}

void
decode_init(struct decode *d, struct reply *r, struct failure *f, const char *secret)
{
	*d = (struct decode){ .reply = r, .failure = f, .secret = secret, .text = -1, .call = -1 };
}

void
decode_free(struct decode *d)
{
	free(d->parts);
	d->parts = NULL;
	d->nparts = 0;
}

int
decode_map(struct decode *d, int64_t number, int part)
{
	if (number < 0 || number >= REPLY_PARTS_MAX)
		return -1;
	if (number >= d->nparts) {
		d->parts = xrealloc(d->parts, (size_t)(number + 1) * sizeof(*d->parts));
		while (d->nparts <= number)
			d->parts[d->nparts++] = -1;
	}
	d->parts[number] = part;
	return 0;
}

int
decode_part(const struct decode *d, int64_t number)
{
	return number >= 0 && number < d->nparts ? d->parts[number] : -1;
}

bool
decode_string(struct jspan object, const char *key, struct buf *out)
{
	struct jspan v;

	if (!jspan_get(object, key, &v) || *v.p != '"')
		return false;
	jspan_unquote(out, v);
	return true;
}

int64_t
decode_count(struct jspan object, const char *key)
{
	struct jspan v;
	int64_t n;

	if (!jspan_get(object, key, &v) || *v.p == 'n')
		return 0;
	return jspan_int(v, &n) && n >= 0 && n <= COUNT_MAX ? n : -1;
}

int
decode_text(struct decode *d, int part, struct jspan object, const char *key)
{
	AUTO(buf) struct buf text = { 0 };
	struct jspan v;

	if (!jspan_get(object, key, &v) || *v.p != '"')
		return ADAPTER_MORE;
	if (!memchr(v.p, '\\', v.n))		/* most pieces stand there as they are */
		return decode_rc(d, reply_text(d->reply, part, v.p + 1, v.n - 2));
	jspan_unquote(&text, v);
	return decode_rc(d, reply_text(d->reply, part, text.data, text.len));
}

int
decode_broken(struct decode *d, const char *what)
{
	failure_broken(d->failure, "The model provider's reply is broken: %s.", what);
	return ADAPTER_FAILED;
}

int
decode_error(struct decode *d, struct jspan error)
{
	int status = failure_implied_status(error);

	failure_body(d->failure, status, error.p, error.n, d->secret);
	return ADAPTER_FAILED;
}

int
decode_rc(struct decode *d, int rc)
{
	if (rc >= 0)
		return ADAPTER_MORE;
	if (rc == REPLY_STOP)
		return ADAPTER_STOP;
	d->reply->over = true;
	return ADAPTER_MORE;
}

int
decode_done(struct decode *d)
{
	if (!d->reply->over)
		return ADAPTER_DONE;
	failure_over(d->failure);
	d->failure->f.took_known = !d->reply->usage.unknown;
	d->failure->f.took = d->reply->usage;
	return ADAPTER_FAILED;
}
