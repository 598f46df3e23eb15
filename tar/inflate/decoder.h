/*
 * decoder - gzip (RFC 1952, several members), zstd (RFC 8878, several frames,
 * skippable ones too) or nothing at all, as one forward stream.
 *
 * The same code makes the verifying pass, recording where the stream can be entered,
 * and decodes a unit from such a point afterwards.
 * Threads: one at a time per decoder.
 */
#ifndef CK_DECODER_H
#define CK_DECODER_H

#include "base/cleanup.h"
#include "tar/inflate/units.h"

struct ck_decoder; /* opaque */

/* Gives the next compressed bytes, borrowed until the next call; *NBYTES 0 at the end. */
typedef int ck_pull_fn(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err);

/* What the first bytes of a stream say it is. */
enum ck_compression ck_compression_sniff(const uint8_t *p, size_t nbytes);
const char *ck_compression_name(enum ck_compression c); /* "none", "gzip", "zstd" */

/*
 * Opens a decoder at the start of a stream. RECORD (may be NULL) is borrowed and takes
 * the points and units found. *OUT is the caller's to close. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_decoder_open(struct ck_decoder **out, enum ck_compression c, ck_pull_fn *pull,
				  void *ctx, struct ck_units *record, struct ck_err *err);
/* NULL is allowed. Wipes what it held of the stream, but for libzstd's own memory. */
void ck_decoder_close(struct ck_decoder *d);

static inline void ck_decoder_closep(struct ck_decoder **d)
{
	ck_decoder_close(*d);
}

/* Starts again at point IDX of U: the next pull must give the bytes at its in_off.
 * Errors: -EIO, -ENOMEM. */
CK_MUST_CHECK int ck_decoder_restart(struct ck_decoder *d, const struct ck_units *u, uint32_t idx,
				     struct ck_err *err);

/*
 * Fills BUF[0..CAP) (CAP below 2 GiB); *GOT is less than CAP only at the end of the
 * stream, and then all of it was well-formed and its checksums were right.
 * Errors: -EBADMSG (malformed, truncated, wrong checksum), those of the pull, -ENOMEM.
 */
CK_MUST_CHECK int ck_decoder_read(struct ck_decoder *d, uint8_t *buf, size_t cap, size_t *got,
				  struct ck_err *err);

#endif
