/*
 * jwe - opens ocicrypt's JWE packets with a private key.
 *
 * Source: RFC 7516 section 7.2 (general and flattened JSON; go-jose's FullSerialize
 * writes both, and a needless top-level encrypted_key into the general one).
 * Key management: RSA-OAEP, RSA-OAEP-256, ECDH-ES and ECDH-ES+A128KW/A192KW/A256KW.
 * Content: the AES-GCM and AES-CBC-HMAC forms of RFC 7518 section 5.1.
 * "zip" and "crit" are refused: nobody writes them, and what they say must not be missed.
 */
#ifndef CK_JWE_H
#define CK_JWE_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

enum { CK_JWE_MAX = 256 << 10, CK_JWE_RECIPIENTS_MAX = 64 };

struct ck_jwe; /* opaque, read-only once parsed */

/* *OUT is the caller's to ck_jwe_free. Errors: -EBADMSG, -ENOTSUP (zip, crit), -EFBIG,
 * -ENOMEM. */
CK_MUST_CHECK int ck_jwe_parse(struct ck_jwe **out, const void *p, size_t nbytes,
			       struct ck_err *err);
void ck_jwe_free(struct ck_jwe *j); /* NULL is allowed */

static inline void ck_jwe_freep(struct ck_jwe **j)
{
	ck_jwe_free(*j);
}

/* Appends the recipients' algorithms, "RSA-OAEP, ECDH-ES+A256KW". Errors: -ENOMEM. */
CK_MUST_CHECK int ck_jwe_describe(const struct ck_jwe *j, struct ck_buf *algs, struct ck_err *err);

/* The first recipient's key id, borrowed; NULL when it names none. */
const char *ck_jwe_kid(const struct ck_jwe *j);

/*
 * Opens the content with the first recipient that KEY fits. *OUT is the caller's.
 * Errors: -ENOKEY (no recipient opens with it: the message says why not), -ENOTSUP
 * (enc), -ENOMEM.
 */
CK_MUST_CHECK int ck_jwe_open(const struct ck_jwe *j, EVP_PKEY *key, struct ck_secret *out,
			      struct ck_err *err);

#endif
