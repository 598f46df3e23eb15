/*
 * framer - a tar stream as independent zstd frames, cut where files begin.
 *
 * A file of the size of a frame or more begins one and is cut into frames; smaller ones
 * share one. So reading a file decompresses few bytes of others. Frames are compressed
 * beside each other on a pool and come out in order.
 * Source: RFC 8878 (frames).
 * Threads: one at a time.
 */
#ifndef CK_FRAMER_H
#define CK_FRAMER_H

#include "base/pool.h"
#include "base/sink.h"
#include "tar/inflate/seektable.h"
#include "tar/inflate/units.h"

/* Decompressed bytes of a frame at most: what a random read has to decompress. */
enum { CK_FRAME = 128 << 10 };

struct ck_framer; /* opaque */

/* LEVEL as zstd's; POOL and OUT are borrowed. *F is the caller's to close.
 * Errors: -EINVAL (level), -ENOMEM. */
CK_MUST_CHECK int ck_framer_open(struct ck_framer **f, int level, struct ck_pool *pool,
				 const struct ck_sink *out, struct ck_err *err);
void ck_framer_close(struct ck_framer *f); /* NULL is allowed; waits for its frames; wipes */

static inline void ck_framer_closep(struct ck_framer **f)
{
	ck_framer_close(*f);
}

/* The next bytes of the stream. Errors: -EIO (zstd), -EFBIG (too many frames), -ENOMEM, those of
 * OUT. */
CK_MUST_CHECK int ck_framer_write(struct ck_framer *f, const void *p, size_t nbytes,
				  struct ck_err *err);
/* Of the bytes written so far: an entry's header begins at HEADER_OFF, its data end at
 * DATA_END, which may lie ahead. In order. Errors: as above. */
CK_MUST_CHECK int ck_framer_entry(struct ck_framer *f, uint64_t header_off, uint64_t data_end,
				  struct ck_err *err);
/* Writes what is left. Errors: as above. */
CK_MUST_CHECK int ck_framer_end(struct ck_framer *f, struct ck_err *err);

/* After the end: the frames, borrowed; and, in UNITS, each as point and unit; the caller's to
 * ck_units_free. Errors: -EFBIG, -ENOMEM. */
const struct ck_seek_frame *ck_framer_frames(const struct ck_framer *f, size_t *n);
CK_MUST_CHECK int ck_framer_units(const struct ck_framer *f, struct ck_units *units,
				  struct ck_err *err);

#endif
