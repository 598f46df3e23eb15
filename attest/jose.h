/*
 * jose - as much of JWS (RFC 7515), JWK (RFC 7517, 7638) and JWT as the answers of
 * MAA and the HSM need: compact form, RSA, nothing that a header could talk us into.
 */
#ifndef CK_JOSE_H
#define CK_JOSE_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum {
	CK_JWS_MAX = 1 << 20,
	CK_RSA_BITS_MIN = 2048,
	CK_RSA_BITS_MAX = 8192,
	CK_THUMBPRINT_STR = 44,
};

static inline void ck_pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}
#define CK_PKEY CK_AUTO(ck_pkey_freep) EVP_PKEY

struct ck_jws {
	json_t *header, *payload; /* objects; owned */
	const char *alg;	  /* borrowed from the header, as is: */
	const char *kid;	  /* NULL when absent */
	const char *input;	  /* what is signed; borrowed from the text parsed */
	size_t input_len;
	struct ck_buf signature;
};

void ck_jws_free(struct ck_jws *j);
#define CK_JWS CK_AUTO(ck_jws_free) struct ck_jws

/*
 * Takes apart the compact form S[0..LEN), which must outlive *OUT. NOTHING in it is to
 * be believed before ck_jws_verify. NAME is for the message. A "crit" header is an
 * error: we know no extension. *OUT is the caller's to free.
 * Errors: -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_jws_parse(struct ck_jws *out, const char *s, size_t len, const char *name,
			       struct ck_err *err);

/*
 * Verifies J's signature with KEY (RSA, of at least 2048 bits), whose header algorithm
 * must be one of ALGS (NULL-ended; known are RS256 and PS256).
 * Errors: -EBADMSG.
 */
CK_MUST_CHECK int ck_jws_verify(const struct ck_jws *j, EVP_PKEY *key, const char *const *algs,
				struct ck_err *err);

/* The public RSA key of a JWK with "n" and "e" (its "kty" is the caller's to judge).
 * *OUT is the caller's. Errors: -EBADMSG (also below 2048 or above 8192 bits), -ENOMEM. */
CK_MUST_CHECK int ck_jwk_rsa(EVP_PKEY **out, const json_t *jwk, struct ck_err *err);

/* Appends "n" and "e" of an RSA KEY as base64url. Errors: -EINVAL, -ENOMEM. */
CK_MUST_CHECK int ck_jwk_numbers(EVP_PKEY *key, struct ck_buf *n, struct ck_buf *e,
				 struct ck_err *err);

/* RFC 7638 with SHA-256, base64url, of the RSA key with these numbers. */
CK_MUST_CHECK int ck_jwk_thumbprint(char out[CK_THUMBPRINT_STR], const char *n, const char *e,
				    struct ck_err *err);

/* Checks "exp" (required) and "nbf" of CLAIMS against NOW (seconds since the epoch) with
 * 60 s of skew. Errors: -EBADMSG. */
CK_MUST_CHECK int ck_jwt_times(const json_t *claims, int64_t now, struct ck_err *err);

#endif
