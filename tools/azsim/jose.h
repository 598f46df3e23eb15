/* jose - JWK (RFC 7517), thumbprints (RFC 7638) and JWS in compact form (RFC 7515), RS256. */
#ifndef AZ_JOSE_H
#define AZ_JOSE_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "base/text.h"
#include "tools/azsim/fault.h"
#include "tools/azsim/pkey.h"

/* {"kty":"RSA","n","e"} of an RSA key, a new reference. */
CK_MUST_CHECK int az_jwk_public(json_t **out, const EVP_PKEY *k, struct ck_err *err);

/* Appends the number that OpenSSL calls PARAM in base64url, as JWK members are written. */
CK_MUST_CHECK int az_jwk_number(struct ck_buf *out, const EVP_PKEY *k, const char *param,
				struct ck_err *err);

/* An RSA key from a JWK, its kty already judged by the caller; all eight members when
 * PRIVATE. Errors: -EINVAL. */
CK_MUST_CHECK int az_jwk_read(EVP_PKEY **out, const json_t *jwk, bool private, struct ck_err *err);

/* Appends the SHA-256 thumbprint of an RSA key in base64 form FORM. */
CK_MUST_CHECK int az_jwk_thumbprint(struct ck_buf *out, enum ck_b64 form, const EVP_PKEY *k,
				    struct ck_err *err);

/*
 * Appends the compact JWS of PAYLOAD under HEADER (alg and typ are added here).
 * FAULT: AZ_BADSIG, AZ_ALGNONE, AZ_HS256 (keyed with the public key's PEM) spoil it.
 */
CK_MUST_CHECK int az_jws_sign(struct ck_buf *out, json_t *header, const json_t *payload,
			      EVP_PKEY *key, enum az_fault fault, struct ck_err *err);

struct az_jwt {
	json_t *header, *payload; /* objects */
	const char *text;	  /* borrowed */
	size_t signed_len;
	struct ck_buf sig;
};

/* Takes TEXT (borrowed) apart; nothing is verified yet. Errors: -EINVAL. */
CK_MUST_CHECK int az_jwt_parse(struct az_jwt *out, const char *text, struct ck_err *err);
void az_jwt_free(struct az_jwt *t);
#define AZ_JWT CK_AUTO(az_jwt_free) struct az_jwt

/* Signed by KEY with RS256, and NOW in its nbf..exp (60 s of skew). Errors: -EACCES. */
CK_MUST_CHECK int az_jwt_verify(const struct az_jwt *t, EVP_PKEY *key, time_t now,
				struct ck_err *err);

#endif
