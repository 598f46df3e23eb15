/*
 * keywrap - CKM_RSA_AES_KEY_WRAP (PKCS #11 section 2.1.21): an AES key under
 * RSA-OAEP, then the wrapped key under that, AES key wrap with padding (RFC 5649).
 */
#ifndef CK_KEYWRAP_H
#define CK_KEYWRAP_H

#include <openssl/evp.h>
#include <stddef.h>

#include "base/secret.h"

/* The values of the release request's "enc". */
#define CK_ENC_SHA256 "RSA_AES_KEY_WRAP_256"
#define CK_ENC_SHA1   "CKM_RSA_AES_KEY_WRAP"

enum { CK_WRAPPED_MAX = 16 << 10 };

/*
 * Unwraps P[0..NBYTES) with the private RSA KEY. ENC is one of the above: OAEP's hash
 * (and MGF1's) follows from it. *OUT is the caller's to free.
 * Errors: -EBADMSG, without a word about which step failed: an oracle is what OAEP is
 * attacked by; -EINVAL (ENC); -ENOMEM.
 */
CK_MUST_CHECK int ck_keywrap_open(struct ck_secret *out, EVP_PKEY *key, const char *enc,
				  const uint8_t *p, size_t nbytes, struct ck_err *err);

/* RFC 5649: unwraps P[0..NBYTES) under a KEK of 16, 24 or 32 bytes. Errors: -EBADMSG. */
CK_MUST_CHECK int ck_kwp_unwrap(struct ck_secret *out, const uint8_t *kek, size_t kek_len,
				const uint8_t *p, size_t nbytes, struct ck_err *err);

/*
 * The RSA private key in a PKCS #8 PrivateKeyInfo (RFC 5208), its private numbers in
 * the secure heap. It must fill DER[0..NBYTES) and be consistent (EVP_PKEY_check).
 * *OUT is the caller's. Errors: -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_pkcs8_rsa(EVP_PKEY **out, const uint8_t *der, size_t nbytes,
			       struct ck_err *err);

#endif
