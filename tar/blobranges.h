/*
 * blobranges - where in a blob the bytes are that ranges of its tar stream are made of.
 * Threads: any.
 */
#ifndef CK_BLOBRANGES_H
#define CK_BLOBRANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/range.h"
#include "tar/inflate/units.h"

struct ck_blobranges_spec {
	const struct ck_units *units;
	uint64_t blob_len;
	bool sealed;		    /* in chunks of chunked.h; else in those of tags.h */
	const struct ck_range *tar; /* within the stream; N_TAR of them */
	size_t n_tar;
	bool all; /* and all the rest of the blob behind them */
};

/*
 * Whole chunks, each once, in the order of SPEC's ranges; what touches is mostly one range.
 * A unit in the middle of a long frame is made from all of the frame before it, and where that
 * ends is estimated. *OUT, N of them, is the caller's to free. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_blobranges(struct ck_range **out, size_t *n,
				const struct ck_blobranges_spec *spec, struct ck_err *err);

#endif
