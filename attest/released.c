#include "attest/released.h"

#include <errno.h>
#include <string.h>

#include "attest/hsm.h"
#include "attest/jose.h"
#include "attest/keywrap.h"
#include "attest/x5c.h"
#include "base/json.h"

static int check_request(const json_t *payload, const struct ck_released_expect *x,
			 struct ck_err *err)
{
	const char *kid = "", *enc = "", *nonce = "";
	json_t *req;

	int rc = ck_json_obj(&req, payload, "request", true, err);
	if (rc == 0)
		rc = ck_json_str(&kid, req, "kid", true, err);
	if (rc == 0)
		rc = ck_json_str(&enc, req, "enc", true, err);
	if (rc == 0)
		rc = ck_json_str(&nonce, req, "nonce", true, err);
	if (rc < 0)
		return ck_wrap(err, "its request");
	/* The service need not repeat the version here; below, it must. */
	if (!ck_hsm_same_key(kid, x->host, x->kid, false))
		return ck_fail(err, -EBADMSG, "it answers a request for key \"%.200s\"", kid);
	if (strcmp(nonce, x->nonce) != 0)
		return ck_fail(err, -EBADMSG, "it answers another request (nonce)");
	if (strcmp(enc, x->enc) != 0)
		return ck_fail(err, -EBADMSG, "it is wrapped with \"%.40s\", asked was \"%s\"", enc,
			       x->enc);
	return 0;
}

/* {"schema_version", "header", "ciphertext"}, base64url: shaped like a JWE, but none. */
static int wrapped_key(struct ck_buf *out, const json_t *key, struct ck_err *err)
{
	CK_BUF text = { 0 };
	CK_JSON *j = NULL;

	int rc = ck_json_b64(&text, key, "key_hsm", CK_B64_URL, true, err);
	if (rc == 0)
		rc = ck_json_parse(&j, text.data, text.len, "key_hsm", err);
	if (rc == 0)
		rc = ck_json_b64(out, j, "ciphertext", CK_B64_URL, true, err);
	return rc;
}

static int open_response(EVP_PKEY **out, const json_t *payload, const struct ck_released_expect *x,
			 EVP_PKEY *runtime, struct ck_err *err)
{
	json_t *response, *bundle, *key;
	CK_PKEY *public = NULL;
	CK_PKEY *private = NULL;
	CK_BUF wrapped = { .max = CK_WRAPPED_MAX };
	CK_SECRET der = { 0 };

	int rc = ck_json_obj(&response, payload, "response", true, err);
	if (rc == 0)
		rc = ck_json_obj(&bundle, response, "key", true, err);
	if (rc == 0)
		rc = ck_json_obj(&key, bundle, "key", true, err);
	if (rc == 0)
		rc = ck_hsm_public(&public, key, x->host, x->kid, err);
	if (rc == 0)
		rc = wrapped_key(&wrapped, key, err);
	if (rc == 0)
		rc = ck_keywrap_open(&der, runtime, x->enc, wrapped.data, wrapped.len, err);
	if (rc == 0)
		rc = ck_pkcs8_rsa(&private, der.data, der.len, err);
	if (rc < 0)
		return rc;
	if (EVP_PKEY_eq(public, private) != 1)
		return ck_fail(err, -EBADMSG,
			       "the released private key does not match its public half");
	*out = ck_take(private);
	return 0;
}

int ck_released_open(EVP_PKEY **out, const char *jws, const struct ck_released_expect *expect,
		     EVP_PKEY *runtime, struct ck_err *err)
{
	static const char *const algs[] = { "RS256", "PS256", NULL };
	CK_JWS j = { 0 };
	CK_PKEY *signer = NULL;

	int rc = ck_jws_parse(&j, jws, strlen(jws), "the released key", err);
	if (rc == 0)
		rc = ck_x5c_verify(&signer, j.header, expect->host, expect->ca_file, err);
	if (rc == 0)
		rc = ck_jws_verify(&j, signer, algs, err);
	if (rc == 0)
		rc = check_request(j.payload, expect, err);
	if (rc == 0)
		rc = open_response(out, j.payload, expect, runtime, err);
	return rc < 0 ? ck_wrap(err, "the answer is not accepted") : 0;
}
