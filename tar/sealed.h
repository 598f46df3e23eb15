/*
 * sealed - a layer's index (indexfile.h) outside the layer: in a cache, in an artifact.
 *
 * One chunked message (tar/cipher/chunked.h) under the layer's symkey, whose context is
 * "cloakfs/index/v1" || 0x00 || the blob's digest as the manifest writes it.
 * Threads: any.
 */
#ifndef CK_SEALED_H
#define CK_SEALED_H

#include "base/buf.h"
#include "tar/pass.h"

/* Bytes of a sealed index at most: a file that claims more is not read into memory. */
enum { CK_SEALED_MAX = 1 << 30 };

/* Appends the sealed index of a layer with a key, whose blob has BLOB_LEN bytes. WINDOWS (NULL:
 * they stay in the index) gets what goes into a blob of their own, nothing where there are none.
 * Errors: -EFBIG, -ENOMEM, -EIO. */
CK_MUST_CHECK int ck_sealed_write(struct ck_buf *out, struct ck_buf *windows,
				  const struct ck_pass_result *what,
				  const struct ck_layer_spec *spec, uint64_t blob_len,
				  struct ck_err *err);

/*
 * Opens P[0..NBYTES) as the index of the layer that SPEC and its blob's length describe.
 * *OUT is the caller's to ck_pass_result_free, on success only; where its windows are apart,
 * units.store is the caller's to set.
 * Errors: -EBADMSG (not authentic, another layer's, malformed: the message says which
 * check failed), -ENOMEM.
 */
CK_MUST_CHECK int ck_sealed_read(struct ck_pass_result *out, const struct ck_layer_spec *spec,
				 uint64_t blob_len, const void *p, size_t nbytes,
				 struct ck_err *err);

#endif
