/*
 * oaep - RSA-OAEP (RFC 8017 section 7.1), empty label, MGF1 with the same hash.
 */
#ifndef CK_OAEP_H
#define CK_OAEP_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* Bytes in KEY's modulus, 0 when KEY is no RSA key. */
size_t ck_rsa_size(const EVP_PKEY *key);

/* True when NBYTES fit in one OAEP block of KEY with hash MD. */
bool ck_oaep_fits(const EVP_PKEY *key, const EVP_MD *md, size_t nbytes);

/* Appends the block of ck_rsa_size(KEY) bytes. Errors: -EINVAL (no RSA key), -EFBIG (does
 * not fit), -EIO (OpenSSL), -ENOMEM. */
CK_MUST_CHECK int ck_oaep_encrypt(EVP_PKEY *key, const EVP_MD *md, const void *p, size_t nbytes,
				  struct ck_buf *out, struct ck_err *err);

/*
 * Opens the block P[0..NBYTES), NBYTES being exactly ck_rsa_size(KEY), into secret
 * memory. *OUT is the caller's to free.
 * Errors: -EINVAL (no RSA key), -EBADMSG (length; does not open: never why), -ENOMEM.
 */
CK_MUST_CHECK int ck_oaep_decrypt(EVP_PKEY *key, const EVP_MD *md, const void *p, size_t nbytes,
				  struct ck_secret *out, struct ck_err *err);

#endif
