/*
 * keep: see keep.h. Any number of gateways may do this at once: rows are taken with SKIP LOCKED, removing a file that is gone is no error.
 * What a crash between two steps leaves is found by the next round (migration 0080 says how).
 */
#include "keep.h"

#include <stdatomic.h>

#include "blob.h"
#include "clock.h"
#include "file.h"
#include "log.h"

#define SOON_MS 500		/* after a round that found more than it took */
#define STORE_MS 60000		/* the store's folders: one at a time, so all of them in four hours */
#define ROWS 200
#define BLOBS 20		/* unlinking a large file takes its time */
#define TMP_S 900		/* a writer that has not written for so long is dead: its client would have been cut */
#define STRAY_S 86400		/* a blob without a row for a day: whoever wrote it will not commit any more */

/* Is it this thread's turn? Then nobody else's for `every` milliseconds. */
static bool
turn(atomic_llong *next_ms, int64_t every)
{
	long long due = atomic_load(next_ms), now = clock_mono_ms();

	return now >= due && atomic_compare_exchange_strong(next_ms, &due, now + every);
}

static void
sweep_rows(const struct conf *c, struct db *db, atomic_llong *next_ms)
{
	struct err e = ERR_INIT;
	int64_t expired = 0, removed = 0;

	if (file_expire(db, ROWS, c->file_keep_s, &expired, &e) < 0 ||
	    file_remove_blobs(db, c->blob_dir, BLOBS, c->blob_grace_s, &removed, &e) < 0)
		log_err("keep_files", &e, NULL);
	else if (expired >= ROWS || removed >= BLOBS)
		atomic_store(next_ms, clock_mono_ms() + SOON_MS);
	if (expired + removed > 0)
		log_info("kept_files", "expired", LOGN(expired), "blobs_removed", LOGN(removed), NULL);
}

static void
sweep_store(const struct conf *c, struct db *db)
{
	static atomic_uint folder;
	struct err e = ERR_INIT;
	int left = blob_sweep_tmp(c->blob_dir, TMP_S);
	int64_t strays = 0;

	if (file_remove_strays(db, c->blob_dir, atomic_fetch_add(&folder, 1) % 256, STRAY_S, &strays, &e) < 0)
		log_err("keep_store", &e, NULL);
	if (left + strays > 0)
		log_info("kept_store", "unfinished", LOGN(left), "strays", LOGN(strays), NULL);
}

void
keep_sweep(const struct conf *c, struct db *db)
{
	static atomic_llong rows_ms, store_ms;

	if (!c->blob_dir[0])
		return;
	if (turn(&rows_ms, c->keep_ms))
		sweep_rows(c, db, &rows_ms);
	if (turn(&store_ms, STORE_MS))
		sweep_store(c, db);
}
