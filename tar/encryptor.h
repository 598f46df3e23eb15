/*
 * encryptor - writes a layer's blob: plaintext in, in pieces of any size; ciphertext out.
 * Threads: one at a time.
 */
#ifndef CK_ENCRYPTOR_H
#define CK_ENCRYPTOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/sink.h"
#include "tar/cipher/blobkey.h"

struct ck_encryptor; /* opaque */

/*
 * Begins a blob under KEY (NULL: it stays plain), for OUT; both borrowed. MEDIA_TYPE is that
 * of the plaintext, to which a sealed blob is bound. *E is the caller's to close.
 * Errors: -EINVAL (media type), -EIO, -ENOMEM, those of OUT.
 */
CK_MUST_CHECK int ck_encryptor_open(struct ck_encryptor **e, const struct ck_blob_key *key,
				    const char *media_type, const struct ck_sink *out,
				    struct ck_err *err);
void ck_encryptor_close(struct ck_encryptor *e); /* NULL is allowed; wipes */

static inline void ck_encryptor_closep(struct ck_encryptor **e)
{
	ck_encryptor_close(*e);
}

/* Errors: -EIO, those of OUT. */
CK_MUST_CHECK int ck_encryptor_write(struct ck_encryptor *e, const void *p, size_t nbytes,
				     struct ck_err *err);

/* Writes what is left. HMAC (may be NULL) takes that of a CTR blob's ciphertext, else zeros. */
CK_MUST_CHECK int ck_encryptor_end(struct ck_encryptor *e, uint8_t hmac[32], struct ck_err *err);

/* Plaintext bytes so far. */
uint64_t ck_encryptor_len(const struct ck_encryptor *e);

#endif
