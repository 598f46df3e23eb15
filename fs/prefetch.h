/*
 * prefetch - what of an image is fetched in the background while it is in use.
 *
 * First what a trace says will be wanted soon, several requests at once and beside the readers',
 * who come for the same; then, if it was asked for, all the rest, while no reader waits. What
 * cannot be had now is tried again later, for as long as the mount lives.
 * Threads: start and stop in one; stats: any.
 */
#ifndef CK_PREFETCH_H
#define CK_PREFETCH_H

#include <stdatomic.h>

#include "fs/registry/remote.h"

enum ck_prefetch_mode { CK_PREFETCH_NONE, CK_PREFETCH_TRACE, CK_PREFETCH_ALL };

/* A range of a blob. REMOTE is borrowed. */
struct ck_prefetch_item {
	struct ck_remote *remote;
	uint64_t off, len; /* bytes */
};

/* Bytes of all items; what was there already counts as done. */
struct ck_prefetch_progress {
	atomic_uint_fast64_t done, total;
};

struct ck_prefetch; /* opaque */

/*
 * Fetches ITEMS[0..N) (copied) in order, of which the first N_URGENT are urgent. PROGRESS
 * (borrowed) is set and moved on. *OUT is the caller's to stop. Errors: -EAGAIN (no thread),
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_prefetch_start(struct ck_prefetch **out, const struct ck_prefetch_item *items,
				    size_t n, size_t n_urgent,
				    struct ck_prefetch_progress *progress, struct ck_err *err);

/* Ends it. Waits for what is being fetched, unless its net was cancelled. NULL is allowed. */
void ck_prefetch_stop(struct ck_prefetch *p);

static inline void ck_prefetch_stopp(struct ck_prefetch **p)
{
	ck_prefetch_stop(*p);
}

#endif
