/*
 * jwekey - how a JWE recipient hides the content key. Source: RFC 7518 section 4.
 */
#ifndef CK_JWEKEY_H
#define CK_JWEKEY_H

#include <jansson.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "keyprov/aead.h"

/* One recipient; all borrowed. */
struct ck_jwekey {
	const char *alg;
	const struct ck_enc *enc;
	const json_t *epk;	     /* ECDH-ES: the sender's public JWK, or NULL */
	struct ck_buf apu, apv;	     /* ECDH-ES: decoded party info */
	struct ck_buf encrypted_key; /* decoded; empty for plain ECDH-ES */
};

/* The content key, enc->key_len bytes. *OUT is the caller's to free.
 * Errors: -ENOTSUP (alg), -ENOKEY (KEY is of another kind or curve), -EBADMSG, -ENOMEM. */
CK_MUST_CHECK int ck_jwekey_open(const struct ck_jwekey *r, EVP_PKEY *key, struct ck_secret *out,
				 struct ck_err *err);

/*
 * ECDH-ES key agreement with Concat KDF (RFC 7518 section 4.6): LEN bytes for algorithm
 * id ALG. *OUT is the caller's to free. Errors: as above.
 */
CK_MUST_CHECK int ck_jwekey_agree(const struct ck_jwekey *r, EVP_PKEY *key, const char *alg,
				  size_t len, struct ck_secret *out, struct ck_err *err);

/*
 * The sender's side of it, for the recipient's public key KEY and without party info: a
 * fresh key of the same curve, its public JWK {"kty","crv","x","y"} to *EPK (the caller's
 * reference), and LEN bytes for algorithm id ALG that are agreed with it.
 * Errors: -EINVAL (KEY is not EC, or of another curve), -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_jwekey_offer(EVP_PKEY *key, const char *alg, size_t len, json_t **epk,
				  struct ck_secret *out, struct ck_err *err);

#endif
