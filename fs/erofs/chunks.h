/*
 * chunks - a file's bytes as EROFS can name them: equal chunks of a power of two bytes,
 * each a hole, or in one piece at a block of a tar, or else in the patch device.
 * Threads: none of this is shared.
 */
#ifndef CK_EROFS_CHUNKS_H
#define CK_EROFS_CHUNKS_H

#include <stdint.h>

#include "tar/index/index.h"

enum ck_chunk_kind { CK_CHUNK_HOLE, CK_CHUNK_TAR, CK_CHUNK_PATCH };

struct ck_chunk {
	enum ck_chunk_kind kind;
	uint64_t file_off, len; /* its place in the file; the last one may be short */
	uint64_t tar_off;	/* CK_CHUNK_TAR: where it begins, a multiple of 512 */
};

/* A walk over the chunks of one file. */
struct ck_chunks {
	const struct ck_extent *extents; /* borrowed */
	uint32_t n_extents, at;
	uint64_t size, tar_len; /* of the file; of the tar */
	uint64_t off;		/* in the file: where the next chunk begins */
	unsigned bits;		/* a chunk has 1 << BITS bytes */
};

/*
 * Begins at the first chunk of a file of SIZE bytes in a tar of TAR_LEN. The chunks are
 * the largest that need no patch, unless these would be too many.
 */
void ck_chunks_begin(struct ck_chunks *c, const struct ck_extent *extents, uint32_t n_extents,
		     uint64_t size, uint64_t tar_len);
uint64_t ck_chunks_count(const struct ck_chunks *c); /* of the whole file */
/* The next chunk; false after the last. */
bool ck_chunks_next(struct ck_chunks *c, struct ck_chunk *out);

#endif
