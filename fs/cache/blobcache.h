/*
 * blobcache - bytes of blobs that were fetched, in a directory that processes share.
 *
 * Ciphertext, sealed indexes and public documents only. A blob is a sparse file, cut into blocks of
 * CK_CACHE_BLOCK bytes; behind its bytes stands a map with a word for each block: a checksum,
 * and when it was used last. Nothing is written through to the disk, nothing is locked to be
 * read: a block that a crash, another process or a bad disk left half-done does not have its
 * checksum, and is as good as absent. Checksums are against accidents; against malice, whoever
 * reads verifies what he gets, as if it came from the network, and tells ck_cached_blob_forget.
 *
 * The directory is bounded in bytes on the disk: what was used longest ago makes way.
 * A cache that cannot be written costs one log line, never a read.
 * Threads: any; processes: any.
 */
#ifndef CK_BLOBCACHE_H
#define CK_BLOBCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

enum { CK_CACHE_BLOCK = 16 << 10 };

struct ck_blobcache; /* opaque */

/*
 * DIR is made, mode 0700, where it is missing (its parent must be there); NULL: in memory, and
 * for this process alone. LIMIT: bytes that it may take; 0: a tenth of the disk, at most 10 GiB
 * (in memory: 256 MiB). *OUT is the caller's to close.
 * Errors: errnos, -EPERM (DIR is someone else's).
 */
CK_MUST_CHECK int ck_blobcache_open(struct ck_blobcache **out, const char *dir, uint64_t limit,
				    struct ck_err *err);
void ck_blobcache_close(struct ck_blobcache *c); /* NULL is allowed */

static inline void ck_blobcache_closep(struct ck_blobcache **c)
{
	ck_blobcache_close(*c);
}

struct ck_cached_blob; /* opaque: one blob's file */

/* The blob DIGEST of SIZE bytes, whose file is made where it is missing. *OUT is the caller's to
 * close, before the cache. Errors: -ENOMEM; what is wrong with the disk makes it empty. */
CK_MUST_CHECK int ck_cached_blob_open(struct ck_cached_blob **out, struct ck_blobcache *c,
				      const uint8_t digest[CK_SHA256_LEN], uint64_t size,
				      struct ck_err *err);
void ck_cached_blob_close(struct ck_cached_blob *b); /* NULL is allowed */

/* Whether blocks FIRST, FIRST + 1 ... are said to be there, into HAVE[0..N). Cheap: their bytes are
 * not looked at, and may prove wrong. */
void ck_cached_blob_have(struct ck_cached_blob *b, uint64_t first, size_t n, bool *have);

/* Reads block IDX whole (the last one of a blob may be shorter) into BUF; false: it is not there.
 */
CK_MUST_CHECK bool ck_cached_blob_get(struct ck_cached_blob *b, uint64_t idx, void *buf);

/* Keeps block IDX, whole. */
void ck_cached_blob_put(struct ck_cached_blob *b, uint64_t idx, const void *buf);

/* Drops N blocks from FIRST on: they are not what they should be. Returns how many were there. */
size_t ck_cached_blob_forget(struct ck_cached_blob *b, uint64_t first, uint64_t n);

/* Bytes of the blob that are there now. */
uint64_t ck_cached_blob_bytes(struct ck_cached_blob *b);

#define CK_CACHE_INDEX "index"

/*
 * Small things, whole, by the digest of their bytes or (KIND "index") of the blob that they are
 * about. KIND is a word of at most 16 lower-case letters, not "blobs": the directory of its files.
 * Load appends within OUT's max and checks nothing; load errors: -ENOENT, others; save errors are
 * the caller's to overlook.
 */
CK_MUST_CHECK int ck_blobcache_load(struct ck_blobcache *c, const char *kind,
				    const uint8_t digest[CK_SHA256_LEN], struct ck_buf *out,
				    struct ck_err *err);
CK_MUST_CHECK int ck_blobcache_save(struct ck_blobcache *c, const char *kind,
				    const uint8_t digest[CK_SHA256_LEN], const void *p,
				    size_t nbytes, struct ck_err *err);

#endif
