/*
 * jweseal - makes a JWE packet for one public key, as ocicrypt's go-jose does.
 *
 * Source: RFC 7516 section 7.2.2 (flattened JSON), RFC 7518 sections 4.3, 4.6 and 5.3:
 *     {"protected","encrypted_key","iv","ciphertext","tag"}
 * RSA keys: RSA-OAEP, with SHA-1, the one form that ocicrypt writes for them. EC keys:
 * ECDH-ES+A256KW, "epk" protected. Content: A256GCM.
 */
#ifndef CK_JWESEAL_H
#define CK_JWESEAL_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/*
 * Appends to OUT a JWE of CONTENT that KEY's private half opens (jwe.h). Content key, IV
 * and ephemeral key are fresh each time. Threads: any number, KEY is only read.
 * Errors: -EINVAL (KEY is neither RSA nor EC on P-256, P-384 or P-521), -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_jwe_seal(EVP_PKEY *key, const struct ck_secret *content, struct ck_buf *out,
			      struct ck_err *err);

#endif
