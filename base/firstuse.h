/*
 * firstuse - blocks of something long, each once, as ranges in the order of first use.
 *
 * A bit for each block says whether it was used; what is new becomes a range, or a part of one of
 * the last few that it touches, or nearly does: so several who read in order leave one range
 * each, though they take turns.
 * Threads: ck_firstuse_has beside all else; everything else one at a time.
 */
#ifndef CK_FIRSTUSE_H
#define CK_FIRSTUSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/range.h"

struct ck_firstuse; /* opaque */

/*
 * Of N_BLOCKS blocks none is used yet. At most MAX ranges are kept. A range grows to take in what
 * lies up to GAP unused blocks away, and those with it. Memory: a bit a block, 16 bytes a range.
 * *OUT is the caller's to close. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_firstuse_open(struct ck_firstuse **out, uint64_t n_blocks, uint64_t gap,
				   size_t max, struct ck_err *err);
void ck_firstuse_close(struct ck_firstuse *f); /* NULL is allowed */

static inline void ck_firstuse_closep(struct ck_firstuse **f)
{
	ck_firstuse_close(*f);
}

/* Whether blocks FIRST .. FIRST+N-1, which must be there, are all used. */
bool ck_firstuse_has(const struct ck_firstuse *f, uint64_t first, uint64_t n);

/* Uses blocks FIRST .. FIRST+N-1, which must be there. Errors: -EFBIG (more than MAX ranges; what
 * still fits is kept), -ENOMEM. */
CK_MUST_CHECK int ck_firstuse_add(struct ck_firstuse *f, uint64_t first, uint64_t n,
				  struct ck_err *err);

/* So far: never empty, never overlapping; in blocks. Borrowed until the next call of add. */
const struct ck_range *ck_firstuse_ranges(const struct ck_firstuse *f, size_t *n);

#endif
