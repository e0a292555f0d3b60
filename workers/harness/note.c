/*
 * note: see note.h.
 *
 * The page belongs to the kernel: a process that is killed at any instruction leaves what it had stored. `at_hand` is stored last and
 * taken back first, so a name is whole whenever it counts. A machine that goes down may leave an old page; the epoch in it then names a
 * claim that has been counted or is over, and the database ignores it.
 *
 * The file is locked as long as its process lives, so who gets the lock knows that the worker named in it does not.
 */
#include "note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define MAGIC 0x524e4f5445303031	/* "RNOTE001" */

struct page {
	uint64_t magic;
	char worker[ID_MAX], session[ID_MAX];
	int64_t epoch;
	int at_hand;
};

struct note {
	struct page *page;
	int fd;			/* holds the lock */
};

static void
copy(char *out, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(out, from, n);
	out[n] = '\0';
}

struct note *
note_open(const char *path, struct note_left *left, struct err *e)
{
	AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct page *page = MAP_FAILED;
	struct note *n;

	memset(left, 0, sizeof(*left));
	if (fd >= 0 && ftruncate(fd, (off_t)sizeof(*page)) == 0)
		page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		err_set(e, EK_INVALID, errno, "at_hand_file %s: %s", path, strerror(errno));
		return NULL;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && page->magic == MAGIC)
		copy(left->ended, sizeof(left->ended), page->worker);
	if (page->magic == MAGIC && page->at_hand != 0) {
		copy(left->worker, sizeof(left->worker), page->worker);
		copy(left->session, sizeof(left->session), page->session);
		left->epoch = page->epoch;
	}
	n = xcalloc(1, sizeof(*n));
	n->page = page;
	n->fd = steal_fd(fd);
	return n;
}

void
note_clear(struct note *n)
{
	if (n != NULL)
		__atomic_store_n(&n->page->at_hand, 0, __ATOMIC_RELEASE);
}

void
note_begin(struct note *n, const char *worker)
{
	if (n == NULL)
		return;
	note_clear(n);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memset(n->page->session, 0, sizeof(n->page->session));
	copy(n->page->worker, sizeof(n->page->worker), worker);
	n->page->magic = MAGIC;
}

void
note_set(struct note *n, const char *session, int64_t epoch)
{
	struct page *p;

	if (n == NULL)
		return;
	p = n->page;
	if (p->epoch != epoch || strcmp(p->session, session) != 0) {
		note_clear(n);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		copy(p->session, sizeof(p->session), session);
		p->epoch = epoch;
	}
	__atomic_store_n(&p->at_hand, 1, __ATOMIC_RELEASE);
}

void
note_close(struct note **np)
{
	struct note *n = *np;

	if (n == NULL)
		return;
	note_clear(n);
	(void)munmap(n->page, sizeof(*n->page));
	(void)close(n->fd);
	free(n);
	*np = NULL;
}
