#include "attest/maatoken.h"

#include <errno.h>
#include <openssl/x509.h>
#include <string.h>

#include "attest/jose.h"
#include "base/json.h"

/* The public key of one entry: MAA gives x5c; the JWK form is as good. */
static int entry_key(EVP_PKEY **out, const json_t *jwk, struct ck_err *err)
{
	const char *first = json_string_value(json_array_get(json_object_get(jwk, "x5c"), 0));
	CK_BUF der = { 0 };

	if (!first)
		return ck_jwk_rsa(out, jwk, err);
	int rc = ck_b64_decode(&der, CK_B64_STD, first, strlen(first), err);
	if (rc < 0)
		return rc;
	const unsigned char *at = der.data;
	X509 *cert = d2i_X509(NULL, &at, (long)der.len);
	*out = cert ? X509_get_pubkey(cert) : NULL;
	X509_free(cert);
	return *out ? 0 : ck_fail(err, -EBADMSG, "its certificate is malformed");
}

static int find_key(EVP_PKEY **out, const json_t *keys, const char *kid, struct ck_err *err)
{
	const json_t *jwk;
	size_t i;

	if (!kid)
		return ck_fail(err, -EBADMSG, "it does not name its signing key");
	json_array_foreach (json_object_get(keys, "keys"), i, jwk) {
		const char *k = json_string_value(json_object_get(jwk, "kid"));
		if (!k || strcmp(k, kid) != 0)
			continue;
		int rc = entry_key(out, jwk, err);
		return rc < 0 ? ck_wrap(err, "signing key \"%.80s\"", kid) : 0;
	}
	return ck_fail(err, -EBADMSG, "its signing key \"%.80s\" is not among the instance's keys",
		       kid);
}

/* The string claim KEY must be VALUE. */
static int claim_is(const json_t *claims, const char *key, const char *value, struct ck_err *err)
{
	const char *s;
	int rc = ck_json_str(&s, claims, key, true, err);

	if (rc < 0)
		return rc;
	return strcmp(s, value) == 0
		   ? 0
		   : ck_fail(err, -EBADMSG, "claim %s is \"%.100s\", not \"%s\"", key, s, value);
}

static int check_issuer(const json_t *claims, const char *host, struct ck_err *err)
{
	CK_BUF url = { 0 };
	int rc = ck_buf_addf(&url, err, "https://%s", host);

	return rc < 0 ? rc : claim_is(claims, "iss", ck_buf_str(&url), err);
}

static int check_report_data(const json_t *claims, const char *key, const uint8_t *ours,
			     struct ck_err *err)
{
	const char *hex;
	uint8_t theirs[CK_REPORT_DATA_LEN];
	int rc = ck_json_str(&hex, claims, key, true, err);

	if (rc < 0)
		return rc;
	if (!ck_unhex(theirs, sizeof theirs, hex) || memcmp(theirs, ours, sizeof theirs) != 0)
		return ck_fail(err, -EBADMSG, "claim %s is not our report data", key);
	return 0;
}

/* Ours and no other: the HSM wraps to a key that it picks from this list. */
static int check_runtime_key(const json_t *claims, const struct ck_runtime_key *key,
			     struct ck_err *err)
{
	json_t *runtime = NULL, *keys = NULL;
	CK_PKEY *theirs = NULL;

	int rc = ck_json_obj(&runtime, claims, "x-ms-runtime", true, err);
	if (rc == 0)
		rc = ck_json_arr(&keys, runtime, "keys", true, err);
	if (rc < 0)
		return rc;
	if (json_array_size(keys) != 1)
		return ck_fail(err, -EBADMSG, "x-ms-runtime holds %zu keys, not ours alone",
			       json_array_size(keys));
	const json_t *jwk = json_array_get(keys, 0);
	rc = claim_is(jwk, "kty", "RSA", err);
	if (rc == 0)
		rc = ck_jwk_rsa(&theirs, jwk, err);
	if (rc < 0)
		return ck_wrap(err, "x-ms-runtime");
	if (EVP_PKEY_eq(theirs, key->pair) != 1)
		return ck_fail(err, -EBADMSG, "x-ms-runtime holds another key than ours");
	return 0;
}

static int check_claims(const json_t *c, const struct ck_maatoken_expect *x, int64_t now,
			struct ck_err *err)
{
	bool debuggable = true;
	const char *nonce;

	int rc = check_issuer(c, x->host, err);
	if (rc == 0)
		rc = ck_jwt_times(c, now, err);
	if (rc == 0)
		rc = claim_is(c, "x-ms-attestation-type", x->tee->type, err);
	if (rc == 0)
		rc = ck_json_bool(&debuggable, c, x->tee->claim_debuggable, true, err);
	if (rc == 0 && debuggable)
		return ck_fail(err, -EBADMSG, "claim %s is true", x->tee->claim_debuggable);
	if (rc == 0)
		rc = check_report_data(c, x->tee->claim_report_data, x->key->report_data, err);
	if (rc == 0)
		rc = check_runtime_key(c, x->key, err);
	if (rc == 0)
		rc = ck_json_str(&nonce, c, "nonce", false, err);
	if (rc == 0 && nonce && strcmp(nonce, x->nonce) != 0)
		rc = ck_fail(err, -EBADMSG, "it answers another request (nonce)");
	return rc;
}

int ck_maatoken_check(const char *token, size_t len, const json_t *keys,
		      const struct ck_maatoken_expect *expect, int64_t now, struct ck_err *err)
{
	static const char *const algs[] = { "RS256", NULL };
	CK_JWS jws = { 0 };
	CK_PKEY *key = NULL;

	int rc = ck_jws_parse(&jws, token, len, "the attestation token", err);
	if (rc == 0)
		rc = find_key(&key, keys, jws.kid, err);
	if (rc == 0)
		rc = ck_jws_verify(&jws, key, algs, err);
	if (rc == 0)
		rc = check_claims(jws.payload, expect, now, err);
	return rc < 0 ? ck_wrap(err, "attestation token of %s not accepted", expect->host) : 0;
}
