/*
 * runtimekey - an RSA key pair of this one attestation. Its public half goes, as a
 * JWK set, into the token; the HSM wraps the released key to it; then it is gone.
 */
#ifndef CK_RUNTIMEKEY_H
#define CK_RUNTIMEKEY_H

#include <openssl/evp.h>
#include <stdint.h>

#include "base/buf.h"

struct ck_runtime_key {
	EVP_PKEY *pair;		 /* owned */
	struct ck_buf n, e;	 /* base64url */
	struct ck_buf jwks;	 /* the runtime data: exactly these bytes are hashed and sent */
	uint8_t report_data[64]; /* SHA-256 of jwks, then zeros */
};

/* *OUT is the caller's to free. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_runtime_key_new(struct ck_runtime_key *out, struct ck_err *err);

/* Fills everything but the pair from the pair's public half. */
CK_MUST_CHECK int ck_runtime_key_describe(struct ck_runtime_key *k, struct ck_err *err);

void ck_runtime_key_free(struct ck_runtime_key *k);
#define CK_RUNTIME_KEY CK_AUTO(ck_runtime_key_free) struct ck_runtime_key

#endif
