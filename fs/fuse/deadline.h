/*
 * deadline - reads of layers that are under way, and what becomes of those that take too long.
 *
 * The kernel waits for an answer for ever, and so do those who wait for the kernel. What reads a
 * layer may never come back, and cannot be interrupted: so a clock answers in its place once the
 * time is up. Whoever takes the read out of the table answers it, the worker or the clock; the
 * worker that comes late has lost it, and throws away what it has.
 * A worker whose read is overdue is *stuck* until it comes back. Stuck workers are bounded, for
 * others wait for them: ck_deadline_begin refuses
 *   - any read while half of the slots are stuck;
 *   - bytes that a stuck read has asked for: the kernel asks for them again at once;
 *   - more than CK_DEADLINE_PER_LAYER reads of a layer at once, one of which is stuck.
 * Threads: any.
 */
#ifndef CK_DEADLINE_H
#define CK_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CK_DEADLINE_SLOTS = 64, CK_DEADLINE_PER_LAYER = 8 };

struct ck_deadline; /* opaque */

/* ID: the node of the layer; two reads of it that share a byte ask for the same. */
struct ck_deadline_read {
	void *req;
	uint32_t layer;
	uint64_t id, off;
	size_t nbytes;
};

/* Called by the clock, one at a time. */
struct ck_deadline_ops {
	/* R is overdue, and the callee's to answer. */
	void (*overdue)(void *ctx, const struct ck_deadline_read *r);
	/* Again and again while nothing is under way but what is stuck; may be NULL. */
	void (*stuck)(void *ctx);
	/* Each tick, a second at most, while any are under way; may be NULL. */
	void (*tick)(void *ctx);
};

/* OPS and CTX must outlive it. A read is overdue TIMEOUT_MS (1 or more) after it began, and is
 * found to be at most an eighth of that, or a second, later. The clock is a thread, which has the
 * caller's signal mask, and sleeps while there are no reads.
 * Errors: -ENOMEM, -EAGAIN (no thread). */
CK_MUST_CHECK int ck_deadline_open(struct ck_deadline **out, uint64_t timeout_ms,
				   const struct ck_deadline_ops *ops, void *ctx,
				   struct ck_err *err);
/* No read may be under way. NULL is allowed. */
void ck_deadline_close(struct ck_deadline *d);

uint64_t ck_deadline_timeout_ms(const struct ck_deadline *d);

/* From here on R may be answered by the clock. Returns its slot, or -EBUSY: refused, or all slots
 * are in use; then R is still the caller's to answer. */
CK_MUST_CHECK int ck_deadline_begin(struct ck_deadline *d, const struct ck_deadline_read *r);

/* Whether the read in SLOT is the caller's to answer; if not, its req is gone. */
CK_MUST_CHECK bool ck_deadline_end(struct ck_deadline *d, int slot);

struct ck_deadline_stats {
	uint64_t overdue, refused; /* reads so far */
	unsigned under_way, stuck; /* now; the stuck are under way, too */
};

void ck_deadline_stats(struct ck_deadline *d, struct ck_deadline_stats *out);

#endif
