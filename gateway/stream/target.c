/*
 * target: parse the path and query of a stream request (contract 2.3, 3.9).
 *
 * Accepts what the SDK and curl send: brackets plain or percent-encoded, the un-bracketed form, repeats; `beta=true` and unknown
 * parameters are ignored. Pure functions on borrowed text; nothing here allocates. Errors carry the parameter's path.
 */
#include "target.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "percent.h"

#define DELTAS_MAX 100		/* contract 3.9 */
#define TIMELINE_DIGITS 9
#define SEQ_DIGITS 18		/* of a number that certainly fits */

static const struct { const char *name; enum target_delta bit; } delta_names[] = {
	{ "agent.message", TARGET_MESSAGE },
	{ "agent.thinking", TARGET_THINKING },
};

struct word { const char *text; size_t len; };

/* Split a path at its slashes; the words are still encoded. Their number, or -1 when there are more than max or it begins otherwise. */
static int
split(const char *path, struct word *out, int max)
{
	int n = 0;

	while (*path == '/' && n < max) {
		out[n].text = ++path;
		out[n].len = strcspn(path, "/");
		path += out[n++].len;
	}
	return *path ? -1 : n;
}

static bool
is(const struct word *w, const char *literal)
{
	return w->len == strlen(literal) && memcmp(w->text, literal, w->len) == 0;
}

/* An id's decoded text. False when it is empty, too long for any id, or hides a slash or a NUL. */
static bool
id_text(const struct word *w, char out[ID_MAX])
{
	return w->len > 0 && percent_decode(w->text, w->len, false, out, ID_MAX) && !strchr(out, '/');
}

int
target_route(const char *path, struct target *out, struct err *e)
{
	struct word w[6];		/* v1 sessions {id} events stream, or v1 sessions {id} threads {tid} stream */
	int n = split(path, w, 6);

	out->thread[0] = '\0';
	if (n >= 5 && is(&w[0], "v1") && is(&w[1], "sessions") && is(&w[n - 1], "stream") && is(&w[3], n == 5 ? "events" : "threads") &&
	    id_text(&w[2], out->session) && (n == 5 || id_text(&w[4], out->thread)))
		return 0;
	return err_set(e, EK_NO_ROUTE, 0, "Not found");
}

int
target_ids(const struct target *t, struct err *e)
{
	if (!id_ok("sesn_", t->session))
		return err_set(e, EK_INVALID, 0, "Invalid session ID.");
	if (t->thread[0] && !id_ok("sthr_", t->thread))
		return err_set(e, EK_INVALID, 0, "Invalid thread ID: %s", t->thread);
	return 0;
}

static int
add_delta(struct target *out, int index, const char *value, size_t len, struct err *e)
{
	char text[64] = "";
	bool ok = percent_decode(value, len, true, text, sizeof text);

	for (size_t i = 0; ok && i < sizeof delta_names / sizeof *delta_names; i++)
		if (strcmp(text, delta_names[i].name) == 0) {
			out->deltas |= delta_names[i].bit;
			return 0;
		}
	return err_set(e, EK_INVALID, 0,
	    "Failed to parse request: event_deltas[%d]: \"%s\" is not a valid value; expected one of \"agent.message\", \"agent.thinking\"",
	    index, text);
}

/* What follows the number: nothing, or ".3" for the third timeline. */
static bool
timeline_of(const char *text, int64_t *out)
{
	size_t digits = text[0] == '.' ? strspn(text + 1, "0123456789") : 0;

	*out = digits ? strtoll(text + 1, NULL, 10) : 0;
	return !text[0] || (digits > 0 && digits <= TIMELINE_DIGITS && !text[1 + digits] && text[1] != '0');
}

int
target_resume(const char *name, const char *text, struct target *out, struct err *e)
{
	size_t digits = strspn(text, "0123456789");
	bool number = digits > 0 && digits <= SEQ_DIGITS && timeline_of(text + digits, &out->timeline);

	if (!number && !id_ok("sevt_", text))
		return err_set(e, EK_INVALID, 0, "%s: must be the sequence number or the id of an event", name);
	out->resume = name;
	out->after = number ? strtoll(text, NULL, 10) : 0;
	out->after_id[0] = '\0';
	if (!number)
		memcpy(out->after_id, text, strlen(text) + 1);
	return 0;
}

static int
add_after(struct target *out, const char *value, size_t len, struct err *e)
{
	char text[ID_MAX] = "";

	if (out->resume)
		return err_set(e, EK_INVALID, 0, "after: given more than once");
	if (!percent_decode(value, len, true, text, sizeof text))
		text[0] = '\0';
	return target_resume("after", text, out, e);
}

int
target_query(const char *query, struct target *out, struct err *e)
{
	int n = 0;

	out->deltas = 0;
	out->resume = NULL;
	for (const char *p = query ? query : ""; *p;) {
		size_t len = strcspn(p, "&"), key = strcspn(p, "=&");
		const char *value = key < len ? p + key + 1 : p + len;
		char name[32];

		if (!percent_decode(p, key, true, name, sizeof name))
			name[0] = '\0';
		if (strcmp(name, "after") == 0) {
			if (add_after(out, value, (size_t)(p + len - value), e) < 0)
				return -1;
		} else if (strcmp(name, "event_deltas[]") == 0 || strcmp(name, "event_deltas") == 0) {
			if (n >= DELTAS_MAX)
				return err_set(e, EK_INVALID, 0, "Failed to parse request: event_deltas: at most %d values are allowed", DELTAS_MAX);
			if (add_delta(out, n++, value, (size_t)(p + len - value), e) < 0)
				return -1;
		}
		p += len + (p[len] == '&');
	}
	return 0;
}
