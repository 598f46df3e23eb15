/* oidc - the signing keys of an issuer, found by OpenID Connect discovery over TLS. */
#ifndef AZ_OIDC_H
#define AZ_OIDC_H

#include "base/http.h"
#include "tools/azsim/jose.h"

/*
 * The key KID of ISSUER ("https://host"): from the jwks_uri of its discovery document,
 * never from anything a token names. *OUT is the caller's.
 * Errors: -EACCES with the reason.
 */
CK_MUST_CHECK int az_oidc_key(EVP_PKEY **out, struct ck_http *http, const char *issuer,
			      const char *kid, struct ck_err *err);

#endif
