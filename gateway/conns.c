/*
 * conns: see conns.h. One word per slot, chosen by a hash of the connection, or of caller and object: 40 bits of the hash and the highest
 * number that was seen. What shares its slot with something busier is forgotten. Numbers beyond 24 bits stop at the highest: then nothing
 * is proven.
 */
#include "conns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define SLOTS (1U << 16)
#define BYTES (SLOTS * sizeof(_Atomic uint64_t))
#define NUMBER_BITS 24
#define NUMBER_MAX ((1U << NUMBER_BITS) - 1)

struct conns {
	_Atomic uint64_t *slots;
};

struct seen {
	uint64_t key;		/* of the connection, in the upper 40 bits */
	uint64_t number;
	uint32_t slot;
};

struct conns *
conns_open(const char *path, struct err *e)
{
	AUTO(fd) int fd = -1;
	void *page = MAP_FAILED;
	struct conns *c;

	if (path[0] == '\0') {
		page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	} else {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0 && ftruncate(fd, (off_t)BYTES) == 0)
			page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (page == MAP_FAILED) {
		err_fault(e, EK_INTERNAL, errno, "connections_file %s: %s", path, strerror(errno));
		return NULL;
	}
	c = xcalloc(1, sizeof *c);
	c->slots = page;
	return c;
}

void
conns_close(struct conns **cp)
{
	if (!*cp)
		return;
	(void)munmap((*cp)->slots, BYTES);
	free(*cp);
	*cp = NULL;
}

#define HASH_START 14695981039346656037U

static uint64_t
hash(uint64_t h, const char *from, const char *to)
{
	for (; from < to; from++)
		h = (h ^ (unsigned char)*from) * 1099511628211U;
	return h;
}

static struct seen
seen_of(uint64_t h, uint64_t number)
{
	h ^= h >> 29;
	return (struct seen){ .key = h & ~(uint64_t)NUMBER_MAX, .number = number < NUMBER_MAX ? number : NUMBER_MAX,
	    .slot = (uint32_t)(h * 2654435761U >> 40) % SLOTS };
}

static bool
parse(const char *name, struct seen *out)
{
	const char *dot = name ? strrchr(name, '.') : NULL;
	char *end;
	unsigned long n;

	if (!dot || dot == name || dot[1] < '0' || dot[1] > '9' || strlen(name) >= CONN_NAME)
		return false;
	n = strtoul(dot + 1, &end, 10);
	if (*end)
		return false;
	*out = seen_of(hash(HASH_START, name, dot), n);
	return true;
}

static void
note(struct conns *c, struct seen s)
{
	uint64_t now = atomic_load_explicit(&c->slots[s.slot], memory_order_relaxed);

	if ((now & ~(uint64_t)NUMBER_MAX) != s.key || (now & NUMBER_MAX) < s.number)
		atomic_store_explicit(&c->slots[s.slot], s.key | s.number, memory_order_relaxed);
}

/* Was a number above this one noted? */
static bool
beyond(const struct conns *c, struct seen s)
{
	uint64_t now = atomic_load_explicit(&c->slots[s.slot], memory_order_relaxed);

	return (now & ~(uint64_t)NUMBER_MAX) == s.key && (now & NUMBER_MAX) > s.number;
}

void
conns_note(struct conns *c, const char *name)
{
	struct seen s;

	if (parse(name, &s))
		note(c, s);
}

bool
conns_went_on(const struct conns *c, const char *name)
{
	struct seen s;

	return parse(name, &s) && beyond(c, s);
}

/* Both with the NUL behind the first, which no name has inside. */
static uint64_t
of_caller(const char *caller, const char *object)
{
	return hash(hash(HASH_START, caller, caller + strlen(caller) + 1), object, object + strlen(object));
}

void
conns_named(struct conns *c, const char *caller, const char *object)
{
	note(c, seen_of(of_caller(caller, object), 1));
}

bool
conns_was_named(const struct conns *c, const char *caller, const char *object)
{
	return beyond(c, seen_of(of_caller(caller, object), 0));
}
