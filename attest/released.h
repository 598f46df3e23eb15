/*
 * released - what a Managed HSM answers to a release: a JWS that holds the request as
 * it understood it, the public key, and the private key wrapped to our runtime key.
 */
#ifndef CK_RELEASED_H
#define CK_RELEASED_H

#include <openssl/evp.h>

#include "base/err.h"

struct ck_released_expect {
	const char *host, *kid;
	const char *enc, *nonce; /* as asked */
	const char *ca_file;	 /* NULL: the system's roots */
};

/*
 * Checks JWS (RS256 or PS256; x5c.h for HOST; request kid, enc and nonce as asked;
 * response kid), unwraps the private key with RUNTIME and checks that it is consistent
 * and the one that the answer's public half belongs to. *OUT is the caller's.
 * Errors: -EBADMSG naming the check, -ENOMEM.
 */
CK_MUST_CHECK int ck_released_open(EVP_PKEY **out, const char *jws,
				   const struct ck_released_expect *expect, EVP_PKEY *runtime,
				   struct ck_err *err);

#endif
