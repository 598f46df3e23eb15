/*
 * tarscan - the entries of a tar stream, by libarchive, into an index.
 * Sources: POSIX.1-2017 pax, GNU tar (old and PAX sparse formats, long names, base-256
 * numbers), SCHILY.xattr and LIBARCHIVE.xattr, SCHILY.acl; global pax headers are read
 * over, as every container runtime does.
 */
#ifndef CK_TARSCAN_H
#define CK_TARSCAN_H

#include <stddef.h>

#include "base/err.h"
#include "tar/index/index.h"

/* Gives the next bytes of the tar stream, borrowed until the next call; *NBYTES 0 at
 * the end. */
typedef int ck_tar_pull_fn(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err);

/* Told of each entry before its data: its (first) header begins at HEADER_OFF of the stream,
 * its data end at DATA_END, padding not counted. */
typedef int ck_tar_entry_fn(void *ctx, uint64_t header_off, uint64_t data_end, struct ck_err *err);

/*
 * Adds every entry of the stream to B, and tells ON_ENTRY (may be NULL) of it. Stops pulling where
 * the archive ends, which may be before the stream does. Errors: -EBADMSG (not a tar, malformed,
 * truncated, an entry no filesystem can hold; the message names path and offset), those of PULL and
 * ON_ENTRY, -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_tarscan(struct ck_index_builder *b, ck_tar_pull_fn *pull,
			     ck_tar_entry_fn *on_entry, void *ctx, struct ck_err *err);

#endif
