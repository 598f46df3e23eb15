/*
 * prefetch - what of a tar stream to fetch first, from what of its files was used first.
 * Threads: any, each with its own index.
 */
#ifndef CK_INDEX_PREFETCH_H
#define CK_INDEX_PREFETCH_H

#include "tar/index/index.h"

/* LEN bytes at OFF of the file PATH, as struct ck_entry has paths. */
struct ck_wanted {
	const char *path;
	uint64_t off, len;
};

/* What of one layer is wanted first, in order. */
struct ck_wants {
	const struct ck_wanted *v; /* borrowed */
	size_t n;
	/* Told by ck_prefetch_fill: */
	bool placed;	  /* there was an index to put it into */
	bool cut;	  /* the index has no room for all */
	size_t n_missing; /* of V: no such file, or it ends before */
};

/*
 * Makes X's ranges to prefetch, which it does not have yet, of W: whole blocks, and what lies
 * between near ones. A hard link stands for its file, and of entries with one path the last one
 * counts. TAR_LEN: of the tar stream. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_prefetch_fill(struct ck_index *x, uint64_t tar_len, struct ck_wants *w,
				   struct ck_err *err);

#endif
