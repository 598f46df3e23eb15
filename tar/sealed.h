/*
 * sealed - what the verifying pass found out about a layer, kept outside memory: the
 * layer index, version 1, sealed under the layer's own key.
 *
 * Inside: little-endian, in sections of fixed-size elements (entries, extents, xattrs,
 * names, points, units, windows, chunk tags) that are used in place; behind a header that
 * names the blob (digest, size), the tar stream (diff_id, size) and the sections. Outside:
 * one chunked message (tar/cipher/chunked.h) under the layer's symkey, whose context is
 * "cloakfs/index/v1" || 0x00 || the blob's digest as the manifest writes it.
 * Only who holds the layer's key can make one; it is checked in full all the same.
 * Threads: any.
 */
#ifndef CK_SEALED_H
#define CK_SEALED_H

#include "base/buf.h"
#include "tar/pass.h"

/* Bytes of a sealed index at most: a file that claims more is not read into memory. */
enum { CK_SEALED_MAX = 1 << 30 };

/* Appends the sealed index of a layer with a key. Errors: -EFBIG, -ENOMEM, -EIO. */
CK_MUST_CHECK int ck_sealed_write(struct ck_buf *out, const struct ck_pass_result *what,
				  const struct ck_layer_spec *spec, struct ck_err *err);

/*
 * Opens P[0..NBYTES) as the index of the layer that SPEC and its blob's length describe.
 * *OUT is the caller's to ck_pass_result_free, on success only.
 * Errors: -EBADMSG (not authentic, another layer's, malformed: the message says which
 * check failed), -ENOMEM.
 */
CK_MUST_CHECK int ck_sealed_read(struct ck_pass_result *out, const struct ck_layer_spec *spec,
				 uint64_t blob_len, const void *p, size_t nbytes,
				 struct ck_err *err);

#endif
