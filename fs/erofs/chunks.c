#include "fs/erofs/chunks.h"

#include <stdbool.h>

#include "fs/erofs/format.h"

/* CHUNKS_MAX: 8 bytes each; a sparse file with more is divided less finely, and patched.
 * PATCHED_BITS: chunks of at least 4 KiB where there are patches. */
enum { CHUNKS_MAX = 1 << 16, PATCHED_BITS = 3 };

/* The least bits with which a chunk has LEN bytes. */
static uint32_t bits_for(uint64_t len)
{
	uint32_t bits = 0;

	while (bits < EROFS_CHUNK_BITS_MAX && (uint64_t)EROFS_BLOCK << bits < len)
		bits++;
	return bits;
}

static uint64_t count(uint64_t size, uint32_t bits)
{
	uint64_t len = (uint64_t)EROFS_BLOCK << bits;

	return size / len + (size % len != 0);
}

/* The most bits with which every extent begins and ends between chunks, and in a block of the
 * tar; UINT32_MAX: there are none. */
static uint32_t bits_of_extents(const struct ck_extent *x, uint32_t n, uint64_t size)
{
	uint64_t edges = 0, tar = 0;
	uint32_t bits = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t end = x[i].file_off + x[i].len;
		edges |= x[i].file_off | (end < size ? end : 0);
		tar |= x[i].tar_off - x[i].file_off;
	}
	if ((edges | tar) % EROFS_BLOCK)
		return UINT32_MAX;
	if (!edges)
		return bits_for(size);
	while (bits < EROFS_CHUNK_BITS_MAX && (edges >> (EROFS_BLOCK_BITS + bits)) % 2 == 0)
		bits++;
	return bits;
}

void ck_chunks_plan(struct ck_chunks *out, const struct ck_index *index,
		    const struct ck_entry *file)
{
	const struct ck_extent *x = index->extents + file->first_extent;
	uint32_t bits = bits_of_extents(x, file->n_extents, file->size);

	if (bits == UINT32_MAX || count(file->size, bits) > CHUNKS_MAX) {
		bits = bits_for(file->size / CHUNKS_MAX + (file->size % CHUNKS_MAX != 0));
		if (bits < PATCHED_BITS)
			bits = PATCHED_BITS;
	}
	*out = (struct ck_chunks){ file, x, bits, count(file->size, bits) };
}

enum ck_chunk_kind ck_chunks_at(const struct ck_chunks *c, uint64_t idx, uint32_t *extent,
				uint64_t *tar_off)
{
	uint64_t from = idx * ck_chunks_len(c), to = from + ck_chunks_len(c);
	const struct ck_extent *x = c->extents;
	uint32_t n = c->file->n_extents, i = *extent;

	if (to > c->file->size)
		to = c->file->size;
	while (i < n && x[i].file_off + x[i].len <= from)
		i++;
	*extent = i;
	if (i == n || x[i].file_off >= to)
		return CK_CHUNK_HOLE;
	*tar_off = x[i].tar_off + (from - x[i].file_off);
	bool whole = x[i].file_off <= from && x[i].file_off + x[i].len >= to;
	return whole && *tar_off % EROFS_BLOCK == 0 ? CK_CHUNK_TAR : CK_CHUNK_PATCH;
}
