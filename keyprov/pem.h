/* pem - keys in PEM files, without ever asking a terminal for a password. */
#ifndef CK_PEM_H
#define CK_PEM_H

#include <openssl/evp.h>

#include "base/err.h"

/*
 * An RSA (2048 bits or more) or EC (P-256, P-384, P-521) private key: PKCS#8, PKCS#1 or
 * SEC1. *OUT is the caller's to EVP_PKEY_free.
 * Errors: -EINVAL (encrypted, not a private key, another kind), errnos of the file, -EFBIG.
 */
CK_MUST_CHECK int ck_pem_private(EVP_PKEY **out, const char *path, struct ck_err *err);

/* A SubjectPublicKeyInfo ("BEGIN PUBLIC KEY"). Errors: the same. */
CK_MUST_CHECK int ck_pem_public(EVP_PKEY **out, const char *path, struct ck_err *err);

/*
 * The public key of somebody to encrypt for: a SubjectPublicKeyInfo, or an X.509
 * certificate ("BEGIN CERTIFICATE", the first one; its signature, dates and usage are not
 * looked at: that the file is theirs is the user's word). A file with a private key in it
 * is refused: it has no business where images are made.
 * Errors: the same.
 */
CK_MUST_CHECK int ck_pem_recipient(EVP_PKEY **out, const char *path, struct ck_err *err);

#endif
