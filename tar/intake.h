/*
 * intake - a blob read once from end to end: hashed, authenticated, decrypted.
 *
 * The first stage of the verifying pass. A sealed blob proves itself chunk by chunk; any
 * other is only as good as the verdict in the end, so nothing that comes out may be shown
 * before it.
 * Threads: one at a time.
 */
#ifndef CK_INTAKE_H
#define CK_INTAKE_H

#include "tar/cipher/tags.h"
#include "tar/layer.h"

/* Bytes that one call gives at most: whole chunks of either kind. */
enum { CK_INTAKE_BLOCK = 16 * CK_TAG_CHUNK };

struct ck_intake; /* opaque */

/*
 * SPEC and BLOB are borrowed. TAGS, made for a blob of that length, takes the tags of
 * its chunks; NULL for a sealed blob, which needs none. *OUT is the caller's to close.
 * Errors: -EBADMSG (a sealed blob's length or commitment), -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_intake_open(struct ck_intake **out, const struct ck_layer_spec *spec,
				 struct ck_reader *blob, struct ck_tags *tags, struct ck_err *err);
void ck_intake_close(struct ck_intake *in); /* NULL is allowed; wipes */

static inline void ck_intake_closep(struct ck_intake **in)
{
	ck_intake_close(*in);
}

/* The next bytes of the plaintext into BUF (CK_INTAKE_BLOCK of room); *NBYTES is 0 at the
 * end. Errors: -EBADMSG (a sealed chunk), those of the blob's reader, -EIO. */
CK_MUST_CHECK int ck_intake_next(struct ck_intake *in, uint8_t *buf, size_t *nbytes,
				 struct ck_err *err);

/* Bytes of the blob that were read so far. */
uint64_t ck_intake_through(const struct ck_intake *in);

/* At the end: whether the blob was the manifest's (digest) and the key's (HMAC).
 * Errors: -EBADMSG, -EIO. */
CK_MUST_CHECK int ck_intake_verdict(struct ck_intake *in, struct ck_err *err);

#endif
