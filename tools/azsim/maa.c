#include "tools/azsim/maa.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/evidence.h"
#include "tools/azsim/jose.h"
#include "tools/azsim/routes.h"

enum { DAY = 86400, TOKEN_LIFE_S = 8 * 3600 };

int az_maa_open(struct az_maa_host *h, const char *dir, const char *name, struct ck_err *err)
{
	int rc = 0;

	h->name = name;
	for (int i = 0; rc == 0 && i < 2; i++) {
		rc = az_pkey_keep(&h->key[i], az_path(dir, "maa/%s-%d-key.pem", name, i).s,
				  "RSA:2048", err);
		struct az_cert_spec spec = { .cn = name,
					     .org = "azsim attestation",
					     .key = h->key[i],
					     .from_s = -DAY,
					     .to_s = 3650L * DAY };
		if (rc == 0)
			rc = az_cert_keep(&h->cert[i], az_path(dir, "maa/%s-%d.pem", name, i).s,
					  &spec, err);
	}
	return rc < 0 ? ck_wrap(err, "cannot open attestation instance %s", name) : 0;
}

void az_maa_close(struct az_maa_host *h)
{
	for (int i = 0; i < 2; i++) {
		EVP_PKEY_free(h->key[i]);
		X509_free(h->cert[i]);
	}
}

int az_maa_discovery(struct az_sim *s, const struct az_req *req, struct az_res *res,
		     struct ck_err *err)
{
	char issuer[300], certs[300];

	(void)s;
	snprintf(issuer, sizeof issuer, "https://%s", req->host);
	snprintf(certs, sizeof certs, "https://%s/certs", req->host);
	return az_answer(res, 200,
			 json_pack("{s:s,s:s,s:[s,s],s:[s],s:[s,s,s,s,s]}", "issuer", issuer,
				   "jwks_uri", certs, "response_types_supported", "token", "none",
				   "id_token_signing_alg_values_supported", "RS256",
				   "claims_supported", "x-ms-attestation-type", "x-ms-runtime",
				   "x-ms-sevsnpvm-launchmeasurement", "x-ms-sevsnpvm-hostdata",
				   "x-ms-sevsnpvm-vmpl"),
			 err);
}

/* One key of /certs: no n and e, only the certificate, as the service does it. */
static int add_key(json_t *keys, const struct az_maa_host *h, int i, struct ck_err *err)
{
	CK_BUF kid = { 0 };
	CK_BUF der = { 0 };
	CK_BUF x5c = { 0 };
	int rc = az_jwk_thumbprint(&kid, CK_B64_STD, h->key[i], err);

	if (rc == 0)
		rc = az_cert_der(&der, h->cert[i], err);
	if (rc == 0)
		rc = ck_b64_encode(&x5c, CK_B64_STD, der.data, der.len, err);
	if (rc < 0)
		return rc;
	json_t *k = json_pack("{s:s,s:s,s:[s]}", "kid", ck_buf_str(&kid), "kty", "RSA", "x5c",
			      ck_buf_str(&x5c));
	return json_array_append_new(keys, k) < 0 ? ck_nomem(err, "listing keys") : 0;
}

int az_maa_certs(struct az_sim *s, const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	const struct az_maa_host *h = az_sim_maa(s, req->host);
	json_t *keys = json_array();
	int rc = 0;

	for (int i = req->fault == AZ_ROTATE; rc == 0 && i < 2; i++)
		rc = add_key(keys, h, i, err);
	if (rc < 0) {
		json_decref(keys);
		return rc;
	}
	return az_answer(res, 200, json_pack("{s:o}", "keys", keys), err);
}

static int set_hex(json_t *claims, const char *name, const uint8_t *p, size_t nbytes,
		   struct ck_err *err)
{
	char hex[2 * AZ_SNP_DATA_LEN + 1];

	ck_hex(hex, p, nbytes);
	return json_object_set_new(claims, name, json_string(hex)) < 0
		   ? ck_nomem(err, "writing claims")
		   : 0;
}

/* The byte fields of a report that become claims of lower-case hex. */
static const struct {
	const char *claim;
	size_t off, len;
} hex_claims[] = {
	{ "x-ms-sevsnpvm-authorkeydigest", AZ_SNP_AUTHOR_KEY_DIGEST, 48 },
	{ "x-ms-sevsnpvm-familyId", AZ_SNP_FAMILY_ID, 16 },
	{ "x-ms-sevsnpvm-hostdata", AZ_SNP_HOST_DATA, 32 },
	{ "x-ms-sevsnpvm-idkeydigest", AZ_SNP_ID_KEY_DIGEST, 48 },
	{ "x-ms-sevsnpvm-imageId", AZ_SNP_IMAGE_ID, 16 },
	{ "x-ms-sevsnpvm-launchmeasurement", AZ_SNP_MEASUREMENT, 48 },
	{ "x-ms-sevsnpvm-reportdata", AZ_SNP_REPORT_DATA, 64 },
	{ "x-ms-sevsnpvm-reportid", AZ_SNP_REPORT_ID, 32 },
};

static int add_report_claims(json_t *claims, const struct az_snp_report *r, struct ck_err *err)
{
	uint64_t policy = az_snp_u64(r, AZ_SNP_POLICY);
	const uint8_t *tcb = r->b + AZ_SNP_REPORTED_TCB;
	CK_JSON *more = json_pack(
	    "{s:s,s:I,s:i,s:i,s:i,s:i,s:I,s:b,s:b,s:b}", "x-ms-attestation-type", "sevsnpvm",
	    "x-ms-sevsnpvm-guestsvn", (json_int_t)az_snp_u32(r, AZ_SNP_GUEST_SVN),
	    "x-ms-sevsnpvm-bootloader-svn", tcb[AZ_TCB_BOOTLOADER], "x-ms-sevsnpvm-tee-svn",
	    tcb[AZ_TCB_TEE], "x-ms-sevsnpvm-snpfw-svn", tcb[AZ_TCB_SNP],
	    "x-ms-sevsnpvm-microcode-svn", tcb[AZ_TCB_MICROCODE], "x-ms-sevsnpvm-vmpl",
	    (json_int_t)az_snp_u32(r, AZ_SNP_VMPL), "x-ms-sevsnpvm-is-debuggable",
	    (int)(policy >> AZ_POLICY_DEBUG & 1), "x-ms-sevsnpvm-migration-allowed",
	    (int)(policy >> AZ_POLICY_MIGRATE & 1), "x-ms-sevsnpvm-smt-allowed",
	    (int)(policy >> AZ_POLICY_SMT & 1));
	int rc =
	    more && json_object_update(claims, more) == 0 ? 0 : ck_nomem(err, "writing claims");

	for (size_t i = 0; rc == 0 && i < sizeof hex_claims / sizeof *hex_claims; i++)
		rc = set_hex(claims, hex_claims[i].claim, r->b + hex_claims[i].off,
			     hex_claims[i].len, err);
	return rc;
}

static int add_common_claims(json_t *claims, const struct az_req *req, const struct az_evidence *e,
			     struct ck_err *err)
{
	char issuer[300], jti[65];
	uint8_t id[32];
	json_int_t now = time(NULL);

	snprintf(issuer, sizeof issuer, "https://%s", req->host);
	if (RAND_bytes(id, sizeof id) != 1)
		return az_ssl_fail(err, "cannot make a token id");
	ck_hex(jti, id, sizeof id);
	CK_JSON *more =
	    json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:O*,s:O*,s:O*}", "iss", issuer, "iat", now,
		      "nbf", now, "exp", now + TOKEN_LIFE_S, "jti", jti, "x-ms-ver", "1.0",
		      "x-ms-policy-hash", "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs",
		      "x-ms-runtime", e->runtime, "x-ms-inittime", e->init_time, "nonce", e->nonce);
	return more && json_object_update(claims, more) == 0 ? 0 : ck_nomem(err, "writing claims");
}

/* Another RSA key in the place of the guest's. */
static int swap_runtime_key(json_t *claims, struct ck_err *err)
{
	AZ_PKEY *other = NULL;
	json_t *jwk = NULL;
	int rc = az_pkey_make(&other, "RSA:2048", err);

	if (rc == 0)
		rc = az_jwk_public(&jwk, other, err);
	if (rc < 0)
		return rc;
	json_t *runtime = json_pack("{s:[{s:s,s:s,s:[s],s:O,s:O}]}", "keys", "kid", "azsim-other",
				    "kty", "RSA", "key_ops", "encrypt", "n",
				    json_object_get(jwk, "n"), "e", json_object_get(jwk, "e"));
	json_decref(jwk);
	return json_object_set_new(claims, "x-ms-runtime", runtime) < 0
		   ? ck_nomem(err, "writing claims")
		   : 0;
}

/* Makes the claims say what FAULT wants said. */
static int spoil_claims(json_t *claims, const char *host, enum az_fault fault, struct ck_err *err)
{
	static const uint8_t zero[AZ_SNP_DATA_LEN];
	json_int_t now = time(NULL);
	char issuer[300];

	switch (fault) {
	case AZ_EXPIRED:
		json_object_set_new(claims, "iat", json_integer(now - 2 * TOKEN_LIFE_S));
		json_object_set_new(claims, "nbf", json_integer(now - 2 * TOKEN_LIFE_S));
		json_object_set_new(claims, "exp", json_integer(now - TOKEN_LIFE_S));
		return 0;
	case AZ_FUTURE:
		json_object_set_new(claims, "nbf", json_integer(now + 3600));
		return 0;
	case AZ_WRONGISS:
		snprintf(issuer, sizeof issuer, "https://not-%s", host);
		json_object_set_new(claims, "iss", json_string(issuer));
		return 0;
	case AZ_WRONGKEY:
		return swap_runtime_key(claims, err);
	case AZ_WRONGREPORTDATA:
		return set_hex(claims, "x-ms-sevsnpvm-reportdata", zero, sizeof zero, err);
	case AZ_DEBUGGABLE:
		json_object_set_new(claims, "x-ms-sevsnpvm-is-debuggable", json_true());
		return 0;
	case AZ_NONONCE:
		json_object_del(claims, "nonce");
		return 0;
	case AZ_WRONGNONCE:
		json_object_set_new(claims, "nonce", json_string("bm90IHlvdXIgbm9uY2U"));
		return 0;
	default:
		return 0;
	}
}

static int sign_token(struct ck_buf *out, const struct az_maa_host *h, const json_t *claims,
		      enum az_fault fault, struct ck_err *err)
{
	CK_BUF kid = { 0 };
	char jku[300];
	int rc = az_jwk_thumbprint(&kid, CK_B64_STD, h->key[0], err);

	if (rc < 0)
		return rc;
	snprintf(jku, sizeof jku, "https://%s/certs", h->name);
	CK_JSON *header = json_pack("{s:s,s:s}", "jku", jku, "kid",
				    fault == AZ_WRONGKID ? "nobody" : ck_buf_str(&kid));
	return header ? az_jws_sign(out, header, claims, h->key[0], fault, err)
		      : ck_nomem(err, "writing a token");
}

int az_maa_attest(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	static const char *const versions[] = { "2020-10-01", "2022-08-01", "2025-06-01", NULL };
	CK_AUTO(az_evidence_free) struct az_evidence e = { 0 };
	CK_JSON *body = NULL;
	CK_JSON *claims = json_object();
	CK_BUF token = { 0 };
	int rc = az_req_api_version(req, versions, err);

	if (rc == 0)
		rc = az_req_json(&body, req, err);
	if (rc == 0)
		rc = az_evidence_read(&e, body, s->amd.ark, err);
	if (rc == -EINVAL)
		return az_refuse(req, res, 400, "InvalidParameter", err->msg, err);
	if (rc == -EACCES)
		return az_refuse(req, res, 400, "PolicyEvaluationError", err->msg, err);
	if (rc == 0)
		rc = add_common_claims(claims, req, &e, err);
	if (rc == 0)
		rc = add_report_claims(claims, &e.report, err);
	if (rc == 0)
		rc = spoil_claims(claims, req->host, req->fault, err);
	if (rc == 0)
		rc = sign_token(&token, az_sim_maa(s, req->host), claims, req->fault, err);
	if (rc < 0)
		return rc;
	return az_answer(res, 200, json_pack("{s:s}", "token", ck_buf_str(&token)), err);
}
