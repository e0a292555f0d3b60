/*
 * still: see still.h. The verdict is one flag that statements look at before they begin. The thread that sets it sleeps while nothing is
 * suspected, without a connection. While Postgres stands still it waits with one question: a backend that goes on answers it, and at most one
 * is left behind in ASK_MS. A crash forgets the verdict, which is found again.
 */
#include "still.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "clock.h"
#include "db.h"
#include "log.h"
#include "xalloc.h"

#define ASK_MS 30000		/* how long one question is kept while it stands still */
#define AGAIN_MS 200

static struct {
	pthread_mutex_t lock;		/* guards what follows */
	pthread_cond_t changed;
	struct db *db;
	still_ask *ask;
	int patience_ms;
} watch = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL, 0 };

static atomic_bool suspected, stands;

bool
still_stands(void)
{
	return atomic_load_explicit(&stands, memory_order_relaxed);
}

void
still_suspect(void)
{
	if (atomic_exchange(&suspected, true))
		return;
	pthread_mutex_lock(&watch.lock);
	pthread_cond_signal(&watch.changed);
	pthread_mutex_unlock(&watch.lock);
}

/* Does it say anything at all within ms? */
static bool
answers(int ms)
{
	struct err e = ERR_INIT;

	db_insist(watch.db, clock_mono_ms() + ms);
	return watch.ask(watch.db, &e) == 0 || !db_gave_up(watch.db);
}

static void *
watch_main(void *arg)
{
	const struct timespec again = { .tv_nsec = AGAIN_MS * 1000000L };

	for (;;) {
		pthread_mutex_lock(&watch.lock);
		while (!atomic_load(&suspected))
			pthread_cond_wait(&watch.changed, &watch.lock);
		pthread_mutex_unlock(&watch.lock);
		if (!answers(watch.patience_ms)) {
			int64_t since = clock_mono_ms();

			atomic_store(&stands, true);
			log_warn("postgres_stands_still", NULL);
			while (!answers(ASK_MS))
				(void)nanosleep(&again, NULL);
			atomic_store(&stands, false);
			log_info("postgres_goes_on", "ms", LOGN(clock_mono_ms() - since), NULL);
		}
		atomic_store(&suspected, false);
		(void)nanosleep(&again, NULL);
	}
	return arg;
}

void
still_watch(struct db *db, still_ask *ask, int patience_ms)
{
	pthread_attr_t attr;
	pthread_t thread;

	must(!watch.db);
	watch.db = db;
	watch.ask = ask;
	watch.patience_ms = patience_ms;
	must(pthread_attr_init(&attr) == 0 && pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	must(pthread_create(&thread, &attr, watch_main, NULL) == 0);
	pthread_attr_destroy(&attr);
}
