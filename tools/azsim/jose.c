#include "tools/azsim/jose.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/json.h"

enum { SKEW_S = 60 };

int az_jwk_number(struct ck_buf *out, const EVP_PKEY *k, const char *param, struct ck_err *err)
{
	BIGNUM *n = NULL;

	if (EVP_PKEY_get_bn_param(k, param, &n) != 1)
		return az_ssl_fail(err, "cannot read an RSA key");
	uint8_t raw[1024];
	int len = BN_num_bytes(n) <= (int)sizeof raw ? BN_bn2bin(n, raw) : 0;
	BN_clear_free(n);
	return ck_b64_encode(out, CK_B64_URL, raw, (size_t)len, err);
}

int az_jwk_public(json_t **out, const EVP_PKEY *k, struct ck_err *err)
{
	CK_BUF n = { 0 };
	CK_BUF e = { 0 };
	int rc = az_jwk_number(&n, k, OSSL_PKEY_PARAM_RSA_N, err);

	if (rc == 0)
		rc = az_jwk_number(&e, k, OSSL_PKEY_PARAM_RSA_E, err);
	if (rc < 0)
		return rc;
	*out = json_pack("{s:s,s:s,s:s}", "kty", "RSA", "n", ck_buf_str(&n), "e", ck_buf_str(&e));
	return *out ? 0 : ck_nomem(err, "writing a JWK");
}

int az_jwk_thumbprint(struct ck_buf *out, enum ck_b64 form, const EVP_PKEY *k, struct ck_err *err)
{
	CK_BUF n = { 0 };
	CK_BUF e = { 0 };
	CK_BUF text = { 0 };
	uint8_t md[CK_SHA256_LEN];
	int rc = az_jwk_number(&n, k, OSSL_PKEY_PARAM_RSA_N, err);

	if (rc == 0)
		rc = az_jwk_number(&e, k, OSSL_PKEY_PARAM_RSA_E, err);
	if (rc == 0)
		rc = ck_buf_addf(&text, err, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}",
				 ck_buf_str(&e), ck_buf_str(&n));
	if (rc < 0)
		return rc;
	ck_sha256(md, text.data, text.len);
	return ck_b64_encode(out, form, md, sizeof md, err);
}

/* JWK members (RFC 7518 section 6.3) and OpenSSL's names for them; the first two are public. */
static const struct {
	const char *jwk, *ossl;
} rsa_members[] = {
	{ "n", OSSL_PKEY_PARAM_RSA_N },		 { "e", OSSL_PKEY_PARAM_RSA_E },
	{ "d", OSSL_PKEY_PARAM_RSA_D },		 { "p", OSSL_PKEY_PARAM_RSA_FACTOR1 },
	{ "q", OSSL_PKEY_PARAM_RSA_FACTOR2 },	 { "dp", OSSL_PKEY_PARAM_RSA_EXPONENT1 },
	{ "dq", OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { "qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
};
enum { N_PUBLIC = 2, N_PRIVATE = 8 };

static int push_members(OSSL_PARAM_BLD *bld, BIGNUM **numbers, const json_t *jwk, size_t n_members,
			struct ck_err *err)
{
	for (size_t i = 0; i < n_members; i++) {
		CK_BUF raw = { .max = 1024 };
		int rc = ck_json_b64(&raw, jwk, rsa_members[i].jwk, CK_B64_URL, true, err);
		if (rc < 0)
			return ck_fail(err, -EINVAL, "not an RSA JWK");
		numbers[i] = BN_bin2bn(raw.data, (int)raw.len, NULL);
		if (!numbers[i] ||
		    OSSL_PARAM_BLD_push_BN(bld, rsa_members[i].ossl, numbers[i]) != 1)
			return az_ssl_fail(err, "cannot read a JWK");
	}
	return 0;
}

int az_jwk_read(EVP_PKEY **out, const json_t *jwk, bool private, struct ck_err *err)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *numbers[N_PRIVATE] = { NULL };
	OSSL_PARAM *params = NULL;
	CK_AUTO(az_pctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	AZ_PKEY *k = NULL;
	int rc = bld && c ? push_members(bld, numbers, jwk, private ? N_PRIVATE : N_PUBLIC, err)
			  : ck_nomem(err, "reading a JWK");

	if (rc == 0 &&
	    (!(params = OSSL_PARAM_BLD_to_param(bld)) || EVP_PKEY_fromdata_init(c) != 1 ||
	     EVP_PKEY_fromdata(c, &k, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) !=
		 1)) {
		ERR_clear_error();
		rc = ck_fail(err, -EINVAL, "not an RSA JWK");
	}
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	for (int i = 0; i < N_PRIVATE; i++)
		BN_clear_free(numbers[i]);
	if (rc == 0)
		*out = ck_take(k);
	return rc;
}

static int add_part(struct ck_buf *out, const json_t *j, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = ck_json_dump(&text, j, err);

	return rc < 0 ? rc : ck_b64_encode(out, CK_B64_URL, text.data, text.len, err);
}

static int rs256(struct ck_buf *out, const void *p, size_t nbytes, EVP_PKEY *key,
		 struct ck_err *err)
{
	CK_AUTO(az_mdctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t sig[1024];
	size_t n = sizeof sig;

	if (!c || EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(c, sig, &n, p, nbytes) != 1)
		return az_ssl_fail(err, "cannot sign a JWS");
	return ck_buf_add(out, sig, n, err);
}

/* The classic confusion: the public key, which everybody has, taken as HMAC secret. */
static int hs256(struct ck_buf *out, const void *p, size_t nbytes, EVP_PKEY *key,
		 struct ck_err *err)
{
	CK_BUF pem = { 0 };
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int rc = az_pkey_public_pem(&pem, key, err);

	if (rc < 0)
		return rc;
	if (!HMAC(EVP_sha256(), pem.data, (int)pem.len, p, nbytes, mac, &n))
		return az_ssl_fail(err, "cannot sign a JWS");
	return ck_buf_add(out, mac, n, err);
}

int az_jws_sign(struct ck_buf *out, json_t *header, const json_t *payload, EVP_PKEY *key,
		enum az_fault fault, struct ck_err *err)
{
	const char *alg = fault == AZ_ALGNONE ? "none" : fault == AZ_HS256 ? "HS256" : "RS256";
	CK_BUF text = { 0 };
	CK_BUF sig = { 0 };

	json_object_set_new(header, "alg", json_string(alg));
	json_object_set_new(header, "typ", json_string("JWT"));
	int rc = add_part(&text, header, err);
	if (rc == 0)
		rc = ck_buf_adds(&text, ".", err);
	if (rc == 0)
		rc = add_part(&text, payload, err);
	if (rc == 0 && fault == AZ_HS256)
		rc = hs256(&sig, text.data, text.len, key, err);
	else if (rc == 0 && fault != AZ_ALGNONE)
		rc = rs256(&sig, text.data, text.len, key, err);
	if (rc < 0)
		return rc;
	if (fault == AZ_BADSIG && sig.len)
		sig.data[sig.len / 2] ^= 1;
	rc = ck_buf_add(out, text.data, text.len, err);
	if (rc == 0)
		rc = ck_buf_adds(out, ".", err);
	return rc < 0 ? rc : ck_b64_encode(out, CK_B64_URL, sig.data, sig.len, err);
}

static int parse_part(json_t **out, const char *s, size_t len, const char *name, struct ck_err *err)
{
	CK_BUF text = { .max = 1 << 20 };

	if (ck_b64_decode(&text, CK_B64_URL, s, len, err) < 0 ||
	    ck_json_parse(out, text.data, text.len, name, err) < 0)
		return ck_fail(err, -EINVAL, "the %s is not base64url of JSON", name);
	if (!json_is_object(*out))
		return ck_fail(err, -EINVAL, "the %s is not a JSON object", name);
	return 0;
}

int az_jwt_parse(struct az_jwt *out, const char *text, struct ck_err *err)
{
	const char *dot1 = strchr(text, '.'), *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;

	if (!dot2 || strchr(dot2 + 1, '.'))
		return ck_fail(err, -EINVAL, "not a JWT of three parts");
	out->text = text;
	out->signed_len = (size_t)(dot2 - text);
	int rc = parse_part(&out->header, text, (size_t)(dot1 - text), "token header", err);
	if (rc == 0)
		rc = parse_part(&out->payload, dot1 + 1, (size_t)(dot2 - dot1 - 1), "token payload",
				err);
	if (rc == 0 && ck_b64_decode(&out->sig, CK_B64_URL, dot2 + 1, strlen(dot2 + 1), err) < 0)
		rc = ck_fail(err, -EINVAL, "the token signature is not base64url");
	return rc;
}

void az_jwt_free(struct az_jwt *t)
{
	json_decref(t->header);
	json_decref(t->payload);
	ck_buf_free(&t->sig);
}

int az_jwt_verify(const struct az_jwt *t, EVP_PKEY *key, time_t now, struct ck_err *err)
{
	const char *alg = json_string_value(json_object_get(t->header, "alg"));
	const json_t *exp = json_object_get(t->payload, "exp");
	const json_t *nbf = json_object_get(t->payload, "nbf");
	CK_AUTO(az_mdctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (!alg || strcmp(alg, "RS256") != 0)
		return ck_fail(err, -EACCES, "the token's algorithm is %s, not RS256",
			       alg ? alg : "missing");
	int ok = c && EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
		 EVP_DigestVerify(c, t->sig.data, t->sig.len, (const unsigned char *)t->text,
				  t->signed_len) == 1;
	ERR_clear_error();
	if (!ok)
		return ck_fail(err, -EACCES, "the token's signature is wrong");
	if (!json_is_integer(exp) || json_integer_value(exp) < now - SKEW_S)
		return ck_fail(err, -EACCES, "the token has expired");
	if (nbf && (!json_is_integer(nbf) || json_integer_value(nbf) > now + SKEW_S))
		return ck_fail(err, -EACCES, "the token is not valid yet");
	return 0;
}
