#include "fs/erofs/chunks.h"

#include "fs/erofs/format.h"

/*
 * PATCH_BITS: where boundaries are not aligned to blocks, a chunk is a page, so that what
 * lies between them is still read straight from the tar. MAX_CHUNKS: of a file (512 KiB of
 * indexes), or as many as FOR_EXTENT for each extent: these are as many bytes in the index.
 */
enum { PATCH_BITS = 12, MAX_CHUNKS = 65536, FOR_EXTENT = 4 };

/* The end of the run of extents, each going on in file and tar where the last ended, that
 * begins at *IDX and is at least of interest up to OFF; *IDX becomes its last extent. */
static uint64_t run_end(const struct ck_chunks *c, uint32_t *idx, uint64_t off)
{
	const struct ck_extent *x = &c->extents[*idx];

	while (x->file_off + x->len < off && *idx + 1 < c->n_extents &&
	       x[1].file_off == x->file_off + x->len && x[1].tar_off == x->tar_off + x->len) {
		x++;
		++*idx;
	}
	return x->file_off + x->len;
}

/* All places where data begin or end, or'ed: their lowest bit is what all are aligned to. */
static uint64_t boundaries(const struct ck_chunks *c)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < c->n_extents; i++) {
		all |= c->extents[i].file_off;
		uint64_t end = run_end(c, &i, c->size);
		all |= end < c->size ? end : 0;
	}
	return all;
}

static unsigned choose_bits(const struct ck_chunks *c)
{
	uint64_t all = boundaries(c), max = (uint64_t)c->n_extents * FOR_EXTENT;
	unsigned bits = all ? (unsigned)__builtin_ctzll(all) : EROFS_MAX_CHUNK_BITS;

	if (bits > EROFS_MAX_CHUNK_BITS)
		bits = EROFS_MAX_CHUNK_BITS;
	if (bits < EROFS_BLOCK_BITS)
		bits = PATCH_BITS;
	if (max < MAX_CHUNKS)
		max = MAX_CHUNKS;
	while (bits < EROFS_MAX_CHUNK_BITS && (c->size - 1) >> bits >= max)
		bits++;
	/* No larger than the file. */
	while (bits > EROFS_BLOCK_BITS && (c->size - 1) >> (bits - 1) == 0)
		bits--;
	return bits;
}

void ck_chunks_begin(struct ck_chunks *c, const struct ck_extent *extents, uint32_t n_extents,
		     uint64_t size, uint64_t tar_len)
{
	*c = (struct ck_chunks){
		.extents = extents, .n_extents = n_extents, .size = size, .tar_len = tar_len
	};
	c->bits = size ? choose_bits(c) : EROFS_BLOCK_BITS;
}

uint64_t ck_chunks_count(const struct ck_chunks *c)
{
	return c->size ? ((c->size - 1) >> c->bits) + 1 : 0;
}

/* Where the bytes [OFF, OFF + LEN) of the file are. */
static enum ck_chunk_kind locate(struct ck_chunks *c, uint64_t off, uint64_t len, uint64_t *tar_off)
{
	uint64_t end = off + len, skip;

	while (c->at < c->n_extents && c->extents[c->at].file_off + c->extents[c->at].len <= off)
		c->at++;
	if (c->at == c->n_extents || c->extents[c->at].file_off >= end)
		return CK_CHUNK_HOLE;
	const struct ck_extent *x = &c->extents[c->at];
	if (x->file_off > off)
		return CK_CHUNK_PATCH;
	skip = off - x->file_off;
	if (x->tar_off > c->tar_len || skip > c->tar_len - x->tar_off)
		return CK_CHUNK_PATCH;
	*tar_off = x->tar_off + skip;
	/* The kernel reads whole blocks, also past the file's end: the tar must have them. */
	bool whole =
	    *tar_off % EROFS_BLOCK == 0 && ck_round_up(len, EROFS_BLOCK) <= c->tar_len - *tar_off;
	return whole && run_end(c, &c->at, end) >= end ? CK_CHUNK_TAR : CK_CHUNK_PATCH;
}

bool ck_chunks_next(struct ck_chunks *c, struct ck_chunk *out)
{
	if (c->off >= c->size)
		return false;
	uint64_t len = UINT64_C(1) << c->bits, left = c->size - c->off;
	*out = (struct ck_chunk){ .file_off = c->off, .len = left < len ? left : len };
	out->kind = locate(c, out->file_off, out->len, &out->tar_off);
	c->off += out->len;
	return true;
}
