/*
 * background - what of an image is fetched in the background while it is in use.
 *
 * First what a trace says will be wanted soon, several requests at once and beside the readers',
 * who come for the same; then, if it was asked for, all the rest, while no reader waits. What
 * cannot be had now is tried again later, for as long as the mount lives.
 * Threads: start and stop in one; stats: any.
 */
#ifndef CK_BACKGROUND_H
#define CK_BACKGROUND_H

#include "fs/registry/progress.h"
#include "fs/registry/remote.h"
#include "fs/stack.h"

enum ck_prefetch_mode { CK_PREFETCH_NONE, CK_PREFETCH_TRACE, CK_PREFETCH_ALL };

/* A range of a blob. REMOTE is borrowed. */
struct ck_background_item {
	struct ck_remote *remote;
	uint64_t off, len; /* bytes */
};

/*
 * What to fetch of the layers of STACK, which come from REMOTES (one for each; NULL: not from a
 * registry), and of the windows of their indexes: what the indexes say first, a range of each in
 * turn; with ALL all of them behind it, in pieces. *OUT, N of them, is the caller's to free.
 * Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_background_plan(struct ck_background_item **out, size_t *n, size_t *n_urgent,
				     const struct ck_stack *stack, struct ck_remote *const *remotes,
				     bool all, struct ck_err *err);

struct ck_background; /* opaque */

/*
 * Fetches ITEMS[0..N) (copied) in order, of which the first N_URGENT are urgent. PROGRESS
 * (borrowed) is set and moved on: the bytes of those that are not urgent, else of all; what was
 * there already counts as done. *OUT is the caller's to stop. Errors: -EAGAIN (no thread),
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_background_start(struct ck_background **out,
				      const struct ck_background_item *items, size_t n,
				      size_t n_urgent, struct ck_prefetch_progress *progress,
				      struct ck_err *err);

/* Ends it. Waits for what is being fetched, unless its net was cancelled. NULL is allowed. */
void ck_background_stop(struct ck_background *p);

static inline void ck_background_stopp(struct ck_background **p)
{
	ck_background_stop(*p);
}

#endif
