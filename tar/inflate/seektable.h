/*
 * seektable - where the frames of a zstd stream lie: its last frame, a skippable one.
 *
 * Source: the zstd project's "Zstandard Seekable Format", version 0.1.0: magic number
 * 0x184D2A5E, frame size, an entry for each frame (compressed size, decompressed size,
 * each 4 bytes; a checksum when the descriptor says so), then the footer: number of frames
 * (4), descriptor (1), magic number 0x8F92EAB1. All little-endian. A skippable frame has an
 * entry, too, with decompressed size 0.
 * RFC 8878 section 3.1.2: skippable frames.
 */
#ifndef CK_SEEKTABLE_H
#define CK_SEEKTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	CK_SKIPPABLE_HEADER = 8,  /* magic number and size before a skippable frame's contents */
	CK_SEEKTABLE_FOOTER = 9,  /* bytes at the very end */
	CK_SKIPPABLE_INDEX = 0x0c /* 0x184D2A5C: the layer index; the seek table has 0x0e */
};

/* Writes the header of a skippable frame 0x184D2A50 + NIBBLE of NBYTES of contents. */
void ck_skippable_header(uint8_t out[CK_SKIPPABLE_HEADER], unsigned nibble, uint32_t nbytes);
/* The contents' length when IN is such a header; -1 when it is not. */
int64_t ck_skippable_len(const uint8_t in[CK_SKIPPABLE_HEADER], unsigned nibble);

struct ck_seek_frame {
	uint32_t in_len, out_len; /* compressed, decompressed bytes */
};

/* Appends the seek table of FRAMES[0..N), N below 2^27. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_seektable_write(struct ck_buf *out, const struct ck_seek_frame *frames,
				     size_t n, struct ck_err *err);

/* Bytes of the whole seek table (frame header included) that ends with FOOTER, 0 when
 * FOOTER is none of a seek table's. */
uint64_t ck_seektable_len(const uint8_t footer[CK_SEEKTABLE_FOOTER]);

/*
 * The LAST frame that the table P[0..NBYTES) lists (itself not counted); the sums of all
 * must be IN_LEN = all compressed bytes before the table.
 * Errors: -EBADMSG (no seek table, malformed, empty, or of another stream).
 */
CK_MUST_CHECK int ck_seektable_last(struct ck_seek_frame *out, const uint8_t *p, size_t nbytes,
				    uint64_t in_len, struct ck_err *err);

#endif
