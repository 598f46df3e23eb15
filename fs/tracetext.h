/*
 * tracetext - a trace (fs/trace.h) made of ranges of an image's tar streams.
 *
 * The streams' blocks (CK_TAR_BLOCK) are counted through: layer 0's, one that nobody uses, so
 * that no range goes from one stream into the next, layer 1's, and so on.
 * Threads: ck_tracetext_write one at a time; ck_tracetext_blocks beside all else.
 */
#ifndef CK_TRACETEXT_H
#define CK_TRACETEXT_H

#include <stdbool.h>

#include "fs/trace.h"
#include "tar/index/byoffset.h"

struct ck_tracetext {
	const struct ck_index *const *index; /* borrowed; n_layers of them */
	size_t n_layers;
	uint64_t *tar_len;
	uint64_t *base;		   /* each layer's first block; and the end of all */
	struct ck_byoffset *files; /* made when they are needed */
};

/* Errors: -ENOMEM. Whatever comes, ck_tracetext_close is the caller's. */
CK_MUST_CHECK int ck_tracetext_open(struct ck_tracetext *t, const struct ck_index *const *index,
				    const uint64_t *tar_len, size_t n_layers, struct ck_err *err);
void ck_tracetext_close(struct ck_tracetext *t); /* {0} is allowed */

/* Which blocks NBYTES at OFF of a layer's stream are; false: none, or not within it. */
bool ck_tracetext_blocks(const struct ck_tracetext *t, uint32_t layer, uint64_t off,
			 uint64_t nbytes, uint64_t *first, uint64_t *n);

/*
 * Appends the trace of RANGES[0..N), blocks as they are counted here: the files' bytes in them,
 * in that order, as much as a trace has room for. What is no file's is left out.
 * Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_tracetext_write(struct ck_buf *out, struct ck_tracetext *t,
				     const struct ck_range *ranges, size_t n, struct ck_err *err);

#endif
