/*
 * chunks - where the chunks of a regular file lie.
 *
 * A chunk is a hole, a run of a layer's tar stream that begins at a block there, or neither:
 * then it is a *patch*, which is put together when it is read.
 */
#ifndef CK_EROFS_CHUNKS_H
#define CK_EROFS_CHUNKS_H

#include "tar/index/index.h"

struct ck_chunks {
	const struct ck_entry *file;
	const struct ck_extent *extents; /* the file's own */
	uint32_t bits;			 /* a chunk has EROFS_BLOCK << bits bytes */
	uint64_t n;
};

enum ck_chunk_kind { CK_CHUNK_HOLE, CK_CHUNK_TAR, CK_CHUNK_PATCH };

/* Divides FILE of INDEX, the fewest chunks that map it without patches, if those are not too
 * many. */
void ck_chunks_plan(struct ck_chunks *out, const struct ck_index *index,
		    const struct ck_entry *file);

static inline uint64_t ck_chunks_len(const struct ck_chunks *c)
{
	return (uint64_t)512 << c->bits;
}

/* What chunk IDX is; *TAR_OFF is where it begins in the tar stream. *EXTENT, 0 at first,
 * remembers how far calls in the order of chunks have come. */
enum ck_chunk_kind ck_chunks_at(const struct ck_chunks *c, uint64_t idx, uint32_t *extent,
				uint64_t *tar_off);

#endif
