/*
 * input: see input.h. The worker passes on what the model wrote, so this is the first place that knows the shapes. A bad input is an
 * ordinary error result for the model; nothing is started for it.
 */
#include "input.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "fdio.h"

enum kind { STR, INT, BOOL, RANGE, MODE };

static const struct field {
	enum sb_tool tool;
	const char *key;
	enum kind kind;
	bool required;
	int64_t min, max;
} fields[] = {
#define FIELD(tool, key, kind, required, min, max) { SB_TOOL_##tool, key, kind, required, min, max },
#include "input.def"
#undef FIELD
};

static const char *const tools[SB_TOOLS] = {
#define TOOL(name) #name,
#include "tools.def"
#undef TOOL
};

#define NFIELDS (sizeof fields / sizeof *fields)

/* Models write 5.0 for 5. */
static bool
whole(const json_t *v, int64_t *out)
{
	double d = json_number_value(v);

	if (json_is_integer(v))
		*out = json_integer_value(v);
	else if (json_is_real(v) && d == floor(d) && fabs(d) < 1e15)
		*out = (int64_t)d;
	else
		return false;
	return true;
}

static void
put(struct buf *b, const char *key, const char *value, size_t len)
{
	buf_put(b, key, strlen(key) + 1);
	buf_put(b, value, len);
	buf_ch(b, '\0');
}

static void
put_int(struct buf *b, const char *key, int64_t v)
{
	buf_put(b, key, strlen(key) + 1);
	buf_printf(b, "%lld", (long long)v);
	buf_ch(b, '\0');
}

static int
take_range(const struct field *f, const json_t *v, struct input *in, struct err *e)
{
	int64_t start, end;

	if (!json_is_array(v) || json_array_size(v) != 2 || !whole(json_array_get(v, 0), &start) || !whole(json_array_get(v, 1), &end))
		return err_set(e, EK_INVALID, 0, "%s: must be an array of two integers", f->key);
	if (start < 1)
		return err_set(e, EK_INVALID, 0, "%s.0: must be at least 1", f->key);
	if (end > 0 && end < start)
		return err_set(e, EK_INVALID, 0, "%s.1: must not be less than the start", f->key);
	put_int(&in->args, "view_start", start);
	put_int(&in->args, "view_end", end > 0 ? end : 0);
	return 0;
}

static int
take_string(const struct field *f, const json_t *v, struct input *in, struct err *e)
{
	size_t len = json_string_length(v);

	if (!json_is_string(v))
		return err_set(e, EK_INVALID, 0, "%s: must be a string", f->key);
	if ((int64_t)len < f->min)
		return err_set(e, EK_INVALID, 0, "%s: must not be empty", f->key);
	if ((int64_t)len > f->max)
		return err_set(e, EK_INVALID, 0, "%s: must be at most %lld bytes", f->key, (long long)f->max);
	if (memchr(json_string_value(v), '\0', len))
		return err_set(e, EK_INVALID, 0, "%s: must not contain NUL", f->key);
	if (f->tool == SB_TOOL_bash)
		buf_put(&in->args, json_string_value(v), len);	/* the command alone */
	else
		put(&in->args, f->key, json_string_value(v), len);
	return 0;
}

static int
take_int(const struct field *f, const json_t *v, struct input *in, struct err *e)
{
	int64_t n;

	if (!whole(v, &n))
		return err_set(e, EK_INVALID, 0, "%s: must be an integer", f->key);
	if (n < f->min || n > f->max)
		return err_set(e, EK_INVALID, 0, "%s: must be between %lld and %lld", f->key, (long long)f->min, (long long)f->max);
	if (f->tool == SB_TOOL_bash)
		in->timeout_ms = n;
	else
		put_int(&in->args, f->key, n);
	return 0;
}

static int
take(const struct field *f, const json_t *v, struct input *in, struct err *e)
{
	const char *mode;

	switch (f->kind) {
	case STR:
		return take_string(f, v, in, e);
	case INT:
		return take_int(f, v, in, e);
	case RANGE:
		return take_range(f, v, in, e);
	case BOOL:
		if (!json_is_boolean(v))
			return err_set(e, EK_INVALID, 0, "%s: must be true or false", f->key);
		if (f->tool == SB_TOOL_bash)
			in->restart = json_is_true(v);
		else
			put(&in->args, f->key, json_is_true(v) ? "1" : "0", 1);
		return 0;
	case MODE:
		mode = json_string_value(v);
		if (!mode || (strcmp(mode, "content") != 0 && strcmp(mode, "files_with_matches") != 0 && strcmp(mode, "count") != 0))
			return err_set(e, EK_INVALID, 0, "%s: must be one of content, files_with_matches, count", f->key);
		put(&in->args, f->key, mode, strlen(mode));
		return 0;
	}
	return 0;
}

static const struct field *
field_of(enum sb_tool tool, const char *key)
{
	size_t i;

	for (i = 0; i < NFIELDS; i++)
		if (fields[i].tool == tool && strcmp(fields[i].key, key) == 0)
			return &fields[i];
	return NULL;
}

static int
check_object(const json_t *input, struct input *in, struct err *e)
{
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)input, key, v) {
		const struct field *f = field_of(in->tool, key);

		if (!f)
			return err_set(e, EK_INVALID, 0, "%.100s: unknown field", key);
		if (!(json_is_null(v) && !f->required) && take(f, v, in, e) < 0)
			return -1;
	}
	for (i = 0; i < NFIELDS; i++)
		if (fields[i].tool == in->tool && fields[i].required && !json_object_get(input, fields[i].key))
			return err_set(e, EK_INVALID, 0, "%s: required", fields[i].key);
	if (in->tool == SB_TOOL_bash && !in->restart && !json_is_string(json_object_get(input, "command")))
		return err_set(e, EK_INVALID, 0, "command: required");
	return 0;
}

int
input_check(const char *tool, const json_t *input, const char *call, struct input *out, struct err *e)
{
	struct input in = { .tool = SB_TOOLS };
	int i;

	for (i = 0; i < SB_TOOLS; i++)
		if (strcmp(tools[i], tool) == 0)
			in.tool = (enum sb_tool)i;
	if (in.tool == SB_TOOLS)
		return err_set(e, EK_INVALID, 0, "no tool named %.64s", tool);
	if (!json_is_object(input))
		return err_set(e, EK_INVALID, 0, "input: must be an object");
	if (check_object(input, &in, e) < 0) {
		input_free(&in);
		return -1;
	}
	if (in.tool != SB_TOOL_bash)
		put(&in.args, "call", call, strlen(call));
	*out = in;
	return 0;
}

void
input_free(struct input *in)
{
	buf_free(&in->args);
}

int
input_memfd(const struct input *in)
{
	AUTO(fd) int fd = memfd_create("args", MFD_CLOEXEC);

	if (fd < 0 || fdio_write(fd, in->args.data, in->args.len) < in->args.len)
		return -1;
	return steal_fd(fd);
}
