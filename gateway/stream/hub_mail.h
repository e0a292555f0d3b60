/*
 * hub_mail: messages from the doors' threads to the hub's loop thread, in the order in which they were posted.
 *
 * A mail that is posted is the loop thread's to free; one that is asked stays its sender's, who waits in hub_mailbox_ask() until it is
 * answered.
 */
#ifndef ROOST_STREAM_HUB_MAIL_H
#define ROOST_STREAM_HUB_MAIL_H

#include <pthread.h>
#include <semaphore.h>

#include "hub.h"
#include "id.h"

enum hub_mail_kind { HUB_MAIL_JOIN, HUB_MAIL_LEAVE, HUB_MAIL_START };

/* A join is asked, the others are posted. */
struct hub_mail {
	struct hub_mail *next;
	enum hub_mail_kind kind;
	struct hub_sub *sub;		/* whose; of a join the answer, NULL: there is no room */
	sem_t *answered;
	struct hub_start start;
	char session[ID_MAX], organization_id[ID_MAX], key_id[ID_MAX];
	const char *greedy;		/* of a join that was refused for it: who holds too much */
};

struct hub_mailbox {
	pthread_mutex_t lock;		/* guards first and tail */
	struct hub_mail *first, **tail;
	int bell;			/* readable when there may be mail */
};

void hub_mailbox_init(struct hub_mailbox *b);
/* Nobody posts any more. */
void hub_mailbox_close(struct hub_mailbox *b);

/* Any thread. post takes m; ask waits for hub_mail_answer(). */
void hub_mailbox_post(struct hub_mailbox *b, struct hub_mail *m);
void hub_mailbox_ask(struct hub_mailbox *b, struct hub_mail *m);

/* Loop thread, when the bell is readable: all that has come, in a list by next. */
struct hub_mail *hub_mailbox_take(struct hub_mailbox *b);
/* To who asked; m is not ours any more. */
void hub_mail_answer(struct hub_mail *m);

#endif
