/*
 * hsm - authorised requests to an Azure Managed HSM, and the names it answers with.
 * Source: Key Vault REST API 7.4.
 */
#ifndef CK_HSM_H
#define CK_HSM_H

#include <jansson.h>
#include <openssl/evp.h>

#include "attest/identity.h"
#include "attest/service.h"

#define CK_HSM_API "api-version=7.4"

struct ck_hsm_req {
	const char *host, *kid;	   /* admitted by the configuration */
	const char *action;	   /* "/release", or "" */
	const struct ck_buf *body; /* JSON; NULL: a GET */
};

/*
 * Sends the request with a bearer token; a 401 gets one more try with a fresh token.
 * *RES is the caller's to free. Errors: those of ck_identity_token and ck_http_do.
 */
CK_MUST_CHECK int ck_hsm_call(struct ck_identity *id, const struct ck_call *call,
			      const struct ck_hsm_req *r, struct ck_http_res *res,
			      struct ck_err *err);

/* Whether URL = "https://HOST/keys/NAME[/VERSION]" is the key asked for: the same host
 * and name and, when VERSION, any version that KID asks for. Case does not matter. */
bool ck_hsm_same_key(const char *url, const char *host, const char *kid, bool version);

/*
 * The public RSA key of "key" = {kid, kty, n, e} of an answer about HOST's KID.
 * *OUT is the caller's. Errors: -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_hsm_public(EVP_PKEY **out, const json_t *key, const char *host,
				const char *kid, struct ck_err *err);

/* GET of the key's public half. Errors: as above, -EACCES. */
CK_MUST_CHECK int ck_hsm_get_public(EVP_PKEY **out, struct ck_identity *id,
				    const struct ck_call *call, const char *host, const char *kid,
				    struct ck_err *err);

#endif
