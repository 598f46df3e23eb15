/*
 * sealedblob - a sealed layer's blob as a reader of its plaintext (still compressed).
 *
 * The blob is one chunked message (tar/cipher/chunked.h) under the layer's symkey, whose
 * context is "cloakfs/layer/v1" || 0x00 || the media type of the plaintext. Every chunk
 * proves itself, so any range can be read without having seen the rest. A chunk that does
 * not is fetched afresh once, as in plain.h.
 */
#ifndef CK_SEALEDBLOB_H
#define CK_SEALEDBLOB_H

#include "base/reader.h"
#include "tar/cipher/blobkey.h"
#include "tar/cipher/chunked.h"

/* As long as a context can be: a media type has at most 255 bytes. */
enum { CK_LAYER_CONTEXT_MAX = sizeof "cloakfs/layer/v1" + 255 };

/* The context of a layer with that MEDIA_TYPE, in TEXT. Errors: -EINVAL (none, too long). */
CK_MUST_CHECK int ck_layer_context(struct ck_chunked_context *out, char text[CK_LAYER_CONTEXT_MAX],
				   const char *media_type, struct ck_err *err);

/*
 * Opens the view of BLOB; BLOB and NAME (of the layer, for the log) are borrowed and must
 * outlive it. Reads the header and checks length and commitment.
 * What is read is authentic wherever it lies; that nothing was cut off behind it is known
 * once the last byte was read (or there is none in the last chunk: that is checked here).
 * Reads give -EIO when a chunk is not authentic twice. Errors: -EBADMSG, those of BLOB,
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_sealedblob_open(struct ck_reader **out, struct ck_reader *blob,
				     const struct ck_blob_key *key, const char *media_type,
				     const char *name, struct ck_err *err);

/* The two halves of it, for who reads a blob from end to end: the header, and whole
 * chunks from IDX on in IN[0..NBYTES), whose plaintext OUT has room for. */
CK_MUST_CHECK int ck_sealedblob_begin(struct ck_chunked **out, struct ck_reader *blob,
				      const struct ck_blob_key *key, const char *media_type,
				      uint8_t header[CK_CHUNKED_HEADER], struct ck_err *err);
CK_MUST_CHECK int ck_sealedblob_unseal(struct ck_chunked *c, uint64_t idx, const uint8_t *in,
				       size_t nbytes, uint8_t *out, size_t *out_len,
				       struct ck_err *err);

#endif
