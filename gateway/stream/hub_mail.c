/*
 * hub_mail: see hub_mail.h. The lock guards the list alone and is held for two assignments, so the loop never waits for a thread that does
 * something else with it.
 */
#include "hub_mail.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "xalloc.h"

void
hub_mailbox_init(struct hub_mailbox *b)
{
	pthread_mutex_init(&b->lock, NULL);
	b->first = NULL;
	b->tail = &b->first;
	b->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(b->bell >= 0);
}

void
hub_mailbox_close(struct hub_mailbox *b)
{
	close(b->bell);
}

void
hub_mailbox_post(struct hub_mailbox *b, struct hub_mail *m)
{
	static const uint64_t one = 1;

	m->next = NULL;
	pthread_mutex_lock(&b->lock);
	*b->tail = m;
	b->tail = &m->next;
	pthread_mutex_unlock(&b->lock);
	(void)!write(b->bell, &one, sizeof one);
}

void
hub_mailbox_ask(struct hub_mailbox *b, struct hub_mail *m)
{
	sem_t answered;

	sem_init(&answered, 0, 0);
	/* cppcheck-suppress autoVariables ; it has been answered before this returns */
	m->answered = &answered;
	hub_mailbox_post(b, m);
	while (sem_wait(&answered) < 0)
		;			/* EINTR */
	sem_destroy(&answered);
}

void
hub_mail_answer(struct hub_mail *m)
{
	sem_post(m->answered);
}

struct hub_mail *
hub_mailbox_take(struct hub_mailbox *b)
{
	struct hub_mail *m;
	uint64_t rings;

	(void)!read(b->bell, &rings, sizeof rings);
	pthread_mutex_lock(&b->lock);
	m = b->first;
	b->first = NULL;
	b->tail = &b->first;
	pthread_mutex_unlock(&b->lock);
	return m;
}
