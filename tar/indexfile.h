/*
 * indexfile - what the verifying pass found out about a layer, as bytes: the layer index,
 * version 2, or 3 where it says what to prefetch, or 4 where its windows are in a blob of their
 * own (windowblob.h).
 *
 * Little-endian, in sections of fixed-size elements (entries, extents, xattrs, names,
 * points, units, windows, chunk tags; from version 3 on, ranges to prefetch) that are used in
 * place, behind a header that names the blob (digest, size), the tar stream (diff_id, size),
 * the sections, and from version 4 on the blob of windows (digest, size, key). Outside memory
 * it is one zstd frame, and only ever seen sealed: see sealed.h and embedded.h.
 * Whoever holds a layer's key can write one; it is checked in full all the same.
 * Threads: any.
 */
#ifndef CK_INDEXFILE_H
#define CK_INDEXFILE_H

#include "base/buf.h"
#include "tar/pass.h"

/* Bytes of an index at most, unpacked: one that claims more is not read into memory. */
enum { CK_INDEXFILE_MAX = 1 << 30 };

/* What an index says it is of. */
struct ck_indexfile_about {
	uint8_t digest[32];  /* of the blob; zeros in an index inside it */
	uint8_t diff_id[32]; /* of the tar stream */
	uint8_t hmac[32];    /* of a CTR layer's ciphertext; else zeros */
	uint64_t blob_len;   /* bytes; 0 in an index inside it */
};

/* Appends the index, compressed; where WHAT's windows are apart they are left out. Errors: -EFBIG,
 * -ENOMEM. */
CK_MUST_CHECK int ck_indexfile_pack(struct ck_buf *out, const struct ck_pass_result *what,
				    const struct ck_indexfile_about *about, struct ck_err *err);

/*
 * Unpacks P[0..NBYTES). IN_LEN is the length of the compressed stream that the units lie
 * in. *OUT is the caller's to ck_pass_result_free, on success only; what ABOUT then says is
 * the caller's to judge, and where windows are apart, units.store is the caller's to set.
 * Errors: -EBADMSG (malformed: the message says which check failed), -ENOMEM.
 */
CK_MUST_CHECK int ck_indexfile_unpack(struct ck_pass_result *out, struct ck_indexfile_about *about,
				      uint64_t in_len, const void *p, size_t nbytes,
				      struct ck_err *err);

#endif
