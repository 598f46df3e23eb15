/*
 * keywrap - CKM_RSA_AES_KEY_WRAP: RSA-OAEP of a fresh AES-256 key, then the key
 * material wrapped with it (PKCS #11 section 6.1.21; RFC 5649).
 */
#ifndef AZ_KEYWRAP_H
#define AZ_KEYWRAP_H

#include "tools/azsim/pkey.h"

/* Appends AES key wrap with padding (RFC 5649) of P[0..NBYTES), NBYTES > 0, under a KEK
 * of 16, 24 or 32 bytes. Errors: -EINVAL, -EIO. */
CK_MUST_CHECK int az_kwp_wrap(struct ck_buf *out, const uint8_t *kek, size_t kek_len, const void *p,
			      size_t nbytes, struct ck_err *err);

/* "CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256", "RSA_AES_KEY_WRAP_384": the OAEP and
 * MGF1 hash of the name; NULL for any other. */
const EVP_MD *az_wrap_hash(const char *enc);

/* Appends the OAEP block for RSA key TO and the wrapped P[0..NBYTES). */
CK_MUST_CHECK int az_rsa_aes_wrap(struct ck_buf *out, const EVP_MD *hash, EVP_PKEY *to,
				  const void *p, size_t nbytes, struct ck_err *err);

#endif
