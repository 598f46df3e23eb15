#include "attest/jose.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/json.h"

enum { SKEW_S = 60 };

void ck_jws_free(struct ck_jws *j)
{
	json_decref(j->header);
	json_decref(j->payload);
	ck_buf_free(&j->signature);
	*j = (struct ck_jws){ 0 };
}

/* RFC 7515 section 2: base64url, all trailing '=' omitted. */
static int part(struct ck_buf *out, const char *s, size_t len, struct ck_err *err)
{
	if (len == 0 || memchr(s, '=', len))
		return ck_fail(err, -EBADMSG, "a part of it is empty or padded");
	return ck_b64_decode(out, CK_B64_URL, s, len, err);
}

static int part_json(json_t **out, const char *s, size_t len, const char *name, struct ck_err *err)
{
	CK_BUF text = { 0 };
	CK_JSON *j = NULL;
	int rc = part(&text, s, len, err);

	if (rc == 0)
		rc = ck_json_parse(&j, text.data, text.len, name, err);
	if (rc < 0)
		return rc;
	if (!json_is_object(j))
		return ck_fail(err, -EBADMSG, "its %s is not a JSON object", name);
	*out = ck_take(j);
	return 0;
}

static int parse(struct ck_jws *j, const char *s, size_t len, struct ck_err *err)
{
	if (len > CK_JWS_MAX)
		return ck_fail(err, -EBADMSG, "it has more than %d bytes", CK_JWS_MAX);
	const char *dot1 = memchr(s, '.', len), *end = s + len;
	const char *dot2 = dot1 ? memchr(dot1 + 1, '.', (size_t)(end - dot1 - 1)) : NULL;
	if (!dot2 || memchr(dot2 + 1, '.', (size_t)(end - dot2 - 1)))
		return ck_fail(err, -EBADMSG, "it does not have three parts");
	int rc = part_json(&j->header, s, (size_t)(dot1 - s), "header", err);
	if (rc == 0)
		rc = part_json(&j->payload, dot1 + 1, (size_t)(dot2 - dot1 - 1), "payload", err);
	if (rc == 0)
		rc = part(&j->signature, dot2 + 1, (size_t)(end - dot2 - 1), err);
	if (rc == 0)
		rc = ck_json_str(&j->alg, j->header, "alg", true, err);
	if (rc == 0)
		rc = ck_json_str(&j->kid, j->header, "kid", false, err);
	if (rc == 0 && json_object_get(j->header, "crit"))
		rc = ck_fail(err, -EBADMSG, "its header names critical extensions");
	j->input = s;
	j->input_len = (size_t)(dot2 - s);
	return rc;
}

int ck_jws_parse(struct ck_jws *out, const char *s, size_t len, const char *name,
		 struct ck_err *err)
{
	CK_JWS j = { 0 };
	int rc = parse(&j, s, len, err);

	if (rc < 0)
		return ck_wrap(err, "%s is no signed token", name);
	*out = j;
	j = (struct ck_jws){ 0 };
	return 0;
}

static bool listed(const char *alg, const char *const *algs)
{
	while (*algs && strcmp(*algs, alg) != 0)
		algs++;
	return *algs != NULL;
}

int ck_jws_verify(const struct ck_jws *j, EVP_PKEY *key, const char *const *algs,
		  struct ck_err *err)
{
	bool pss = strcmp(j->alg, "PS256") == 0;

	if (!listed(j->alg, algs) || (!pss && strcmp(j->alg, "RS256") != 0))
		return ck_fail(err, -EBADMSG, "signature algorithm \"%.20s\" is not accepted",
			       j->alg);
	if (!EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < CK_RSA_BITS_MIN)
		return ck_fail(err, -EBADMSG, "the signing key is no RSA key of %d bits or more",
			       CK_RSA_BITS_MIN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	int rc = 0;
	if (!ctx || EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) != 1 ||
	    (pss && (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1 ||
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) != 1)))
		rc = ck_nomem(err, "verifying a signature");
	else if (EVP_DigestVerify(ctx, j->signature.data, j->signature.len,
				  (const unsigned char *)j->input, j->input_len) != 1)
		rc = ck_fail(err, -EBADMSG, "the signature is not valid");
	EVP_MD_CTX_free(ctx);
	return rc;
}

static EVP_PKEY *rsa_from_numbers(BIGNUM *n, BIGNUM *e)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (bld && ctx && n && e && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) &&
	    (params = OSSL_PARAM_BLD_to_param(bld)) && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

int ck_jwk_rsa(EVP_PKEY **out, const json_t *jwk, struct ck_err *err)
{
	CK_BUF n = { .max = CK_RSA_BITS_MAX / 8 + 8 };
	CK_BUF e = { .max = 16 };

	int rc = ck_json_b64(&n, jwk, "n", CK_B64_URL, true, err);
	if (rc == 0)
		rc = ck_json_b64(&e, jwk, "e", CK_B64_URL, true, err);
	if (rc < 0)
		return rc == -ENOMEM ? rc
				     : ck_fail(err, -EBADMSG, "\"n\" and \"e\" are no RSA key");
	BIGNUM *bn = BN_bin2bn(n.data, (int)n.len, NULL), *be = BN_bin2bn(e.data, (int)e.len, NULL);
	int bits = bn ? BN_num_bits(bn) : 0;
	if (bits < CK_RSA_BITS_MIN || bits > CK_RSA_BITS_MAX || !be || !BN_is_odd(be) ||
	    BN_is_one(be) || !BN_is_odd(bn))
		rc = ck_fail(err, -EBADMSG, "an RSA key of %d bits is not accepted", bits);
	else if (!(*out = rsa_from_numbers(bn, be)))
		rc = ck_fail(err, -EBADMSG, "\"n\" and \"e\" are no RSA key");
	BN_free(bn);
	BN_free(be);
	return rc;
}

static int add_number(struct ck_buf *out, EVP_PKEY *key, const char *param, struct ck_err *err)
{
	BIGNUM *v = NULL;
	uint8_t bytes[CK_RSA_BITS_MAX / 8];

	if (!EVP_PKEY_get_bn_param(key, param, &v) || BN_num_bytes(v) > (int)sizeof bytes) {
		BN_free(v);
		return ck_fail(err, -EINVAL, "not an RSA key");
	}
	int n = BN_bn2bin(v, bytes);
	BN_free(v);
	return ck_b64_encode(out, CK_B64_URL, bytes, (size_t)n, err);
}

int ck_jwk_numbers(EVP_PKEY *key, struct ck_buf *n, struct ck_buf *e, struct ck_err *err)
{
	int rc = add_number(n, key, OSSL_PKEY_PARAM_RSA_N, err);

	return rc < 0 ? rc : add_number(e, key, OSSL_PKEY_PARAM_RSA_E, err);
}

int ck_jwk_thumbprint(char out[CK_THUMBPRINT_STR], const char *n, const char *e, struct ck_err *err)
{
	CK_BUF text = { 0 };
	CK_BUF b64 = { 0 };
	uint8_t sum[CK_SHA256_LEN];

	/* Section 3.2: the required members alone, in this order, no white space. */
	int rc = ck_buf_addf(&text, err, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", e, n);
	if (rc < 0)
		return rc;
	ck_sha256(sum, text.data, text.len);
	rc = ck_b64_encode(&b64, CK_B64_URL, sum, sizeof sum, err);
	if (rc == 0)
		memcpy(out, b64.data, CK_THUMBPRINT_STR);
	return rc;
}

int ck_jwt_times(const json_t *claims, int64_t now, struct ck_err *err)
{
	const json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");

	if (!json_is_number(exp) || (nbf && !json_is_number(nbf)))
		return ck_fail(err, -EBADMSG, "\"exp\" or \"nbf\" is missing or no time");
	double late = (double)now - json_number_value(exp);
	if (late >= SKEW_S)
		return ck_fail(err, -EBADMSG, "it expired %.0f s ago", late);
	double early = nbf ? json_number_value(nbf) - (double)now : 0;
	if (early > SKEW_S)
		return ck_fail(err, -EBADMSG,
			       "it is not valid for another %.0f s; is this machine's clock right?",
			       early);
	return 0;
}
