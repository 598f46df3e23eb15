/*
 * byoffset - whose bytes lie where in a tar stream: an index's extents in the stream's order.
 * Threads: read-only once made.
 */
#ifndef CK_INDEX_BYOFFSET_H
#define CK_INDEX_BYOFFSET_H

#include "tar/index/index.h"

/* LEN bytes of an entry at FILE_OFF are at TAR_OFF of the tar stream. */
struct ck_owned {
	uint64_t tar_off, len, file_off;
	uint32_t entry; /* its number in the index */
};

struct ck_byoffset {
	struct ck_owned *v; /* by tar_off */
	size_t n;
};

/* *OUT is the caller's to ck_byoffset_free. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_byoffset_make(struct ck_byoffset *out, const struct ck_index *x,
				   struct ck_err *err);
void ck_byoffset_free(struct ck_byoffset *b); /* {0} is allowed */

/* The first of V that ends behind OFF; N: none does. (Where an index lies and extents lie over
 * each other, it may be a later one.) */
size_t ck_byoffset_find(const struct ck_byoffset *b, uint64_t off);

#endif
