#include "tools/azsim/release.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/hsm.h"
#include "tools/azsim/keywrap.h"
#include "tools/azsim/oidc.h"
#include "tools/azsim/policy.h"
#include "tools/azsim/routes.h"

static void release_free(struct az_release *r)
{
	az_key_free(&r->key);
	json_decref(r->body);
	az_jwt_free(&r->token);
	EVP_PKEY_free(r->wrap_to);
	ck_buf_free(&r->wrapped);
}

static int read_request(struct az_release *r, struct ck_err *err)
{
	static const char *const allowed[] = { "target", "enc", "nonce", NULL };
	int rc = az_req_json(&r->body, r->req, err);

	if (rc == 0)
		rc = ck_json_only(r->body, allowed, "the request", err);
	if (rc < 0)
		return rc;
	if (ck_json_str(&r->target, r->body, "target", true, err) < 0 ||
	    ck_json_str(&r->enc, r->body, "enc", false, err) < 0 ||
	    ck_json_str(&r->nonce, r->body, "nonce", false, err) < 0)
		return err->code = -EINVAL;
	if (!r->enc)
		r->enc = "CKM_RSA_AES_KEY_WRAP";
	r->hash = az_wrap_hash(r->enc);
	if (!r->hash)
		return ck_fail(err, -EINVAL, "enc %s is not supported", r->enc);
	rc = az_jwt_parse(&r->token, r->target, err);
	return rc < 0 ? ck_wrap(err, "the target") : 0;
}

static int check_key(const struct az_release *r, struct ck_err *err)
{
	const json_t *a = json_object_get(r->key.meta, "attributes");
	json_int_t now = time(NULL);
	const json_t *nbf = json_object_get(a, "nbf"), *exp = json_object_get(a, "exp");

	if (!json_is_true(json_object_get(a, "exportable")))
		return ck_fail(err, -EACCES, "key %s is not exportable", r->key.name);
	if (!json_is_true(json_object_get(a, "enabled")))
		return ck_fail(err, -EACCES, "key %s is disabled", r->key.name);
	if ((nbf && json_integer_value(nbf) > now) || (exp && json_integer_value(exp) < now))
		return ck_fail(err, -EACCES, "key %s is not valid at this time", r->key.name);
	return 0;
}

/* The token is of an authority that the policy trusts, as signed by that authority's
 * published key, and meets the policy. */
static int check_token(const struct az_release *r, struct ck_err *err)
{
	const char *iss = json_string_value(json_object_get(r->token.payload, "iss"));
	const char *kid = json_string_value(json_object_get(r->token.header, "kid"));
	CK_BUF text = { 0 };
	CK_JSON *policy = NULL;
	AZ_PKEY *key = NULL;
	int rc = ck_json_b64(&text, json_object_get(r->key.meta, "release_policy"), "data",
			     CK_B64_URL, true, err);

	if (rc == 0)
		rc = ck_json_parse(&policy, text.data, text.len, "the policy", err);
	if (rc < 0)
		return rc;
	rc = az_policy_trusts(policy, iss ? iss : "nobody", err);
	/* Nothing outside this simulator is ever asked. */
	if (rc == 0 && !az_sim_maa(r->sim, iss + strlen("https://")))
		rc = ck_fail(err, -EACCES, "authority %s cannot be reached from azsim", iss);
	if (rc == 0)
		rc = az_oidc_key(&key, r->sim->http, iss, kid ? kid : "(none)", err);
	if (rc == 0)
		rc = az_jwt_verify(&r->token, key, time(NULL), err);
	return rc < 0 ? rc : az_policy_evaluate(policy, iss, r->token.payload, err);
}

static bool may_encrypt(const json_t *jwk)
{
	size_t i;
	json_t *op;

	json_array_foreach (json_object_get(jwk, "key_ops"), i, op) {
		const char *s = json_string_value(op);
		if (s && strcmp(s, "encrypt") == 0)
			return true;
	}
	return false;
}

/* The first RSA key for encryption at the top level of the token; keys of the
 * isolation part (a paravisor's) do not count. */
static int find_wrap_key(struct az_release *r, struct ck_err *err)
{
	const json_t *runtime = json_object_get(r->token.payload, "x-ms-runtime");
	size_t i;
	json_t *jwk;

	json_array_foreach (json_object_get(runtime, "keys"), i, jwk) {
		const char *kty = json_string_value(json_object_get(jwk, "kty"));
		if (!kty || strcmp(kty, "RSA") != 0 || !may_encrypt(jwk))
			continue;
		if (az_jwk_read(&r->wrap_to, jwk, false, err) < 0)
			return ck_wrap(err, "the key in x-ms-runtime");
		if (EVP_PKEY_get_bits(r->wrap_to) < 2048)
			return ck_fail(err, -EINVAL, "the key in x-ms-runtime is below 2048 bits");
		const char *kid = json_string_value(json_object_get(jwk, "kid"));
		r->wrap_kid = kid ? kid : "";
		return 0;
	}
	return ck_fail(err, -EINVAL, "the target has no RSA key for encryption in x-ms-runtime");
}

/* What is wrapped: the key, or what the fault puts in its place. */
static int key_material(struct ck_buf *out, const struct az_release *r, struct ck_err *err)
{
	AZ_PKEY *other = NULL;
	char type[16];
	int rc = 0;

	snprintf(type, sizeof type, "RSA:%d", EVP_PKEY_get_bits(r->key.pkey));
	if (r->req->fault == AZ_NOTRSA)
		rc = az_pkey_make(&other, "P-256", err);
	else if (r->req->fault == AZ_KEYMISMATCH)
		rc = az_pkey_make(&other, type, err);
	return rc < 0 ? rc : az_pkey_pkcs8(out, other ? other : r->key.pkey, err);
}

static int wrap(struct az_release *r, struct ck_err *err)
{
	AZ_PKEY *other = NULL;
	CK_BUF plain = { 0 };
	int rc = key_material(&plain, r, err);

	if (rc == 0 && r->req->fault == AZ_OTHERKEY)
		rc = az_pkey_make(&other, "RSA:2048", err);
	if (rc == 0)
		rc = az_rsa_aes_wrap(&r->wrapped, r->hash, other ? other : r->wrap_to, plain.data,
				     plain.len, err);
	if (rc == 0 && r->req->fault == AZ_SHORTCT)
		r->wrapped.len = 100;
	if (rc == 0 && r->req->fault == AZ_BADKWP)
		r->wrapped.data[r->wrapped.len - 1] ^= 1;
	return rc;
}

static int release(struct az_release *r, struct az_res *res, struct ck_err *err)
{
	CK_BUF value = { 0 };
	int rc = az_hsm_admit(r->sim, r->req, err);

	if (rc == 0)
		rc = read_request(r, err);
	if (rc == 0)
		rc = az_keystore_get(&r->sim->keys, &r->key, r->req->host, r->req->arg[0],
				     r->req->arg[1], err);
	if (rc == 0)
		rc = check_key(r, err);
	if (rc == 0)
		rc = check_token(r, err);
	if (rc == 0)
		rc = find_wrap_key(r, err);
	if (rc == 0)
		rc = wrap(r, err);
	if (rc == 0)
		rc = az_release_sign(&value, r, err);
	if (rc < 0)
		return rc;
	return az_answer(res, 200, json_pack("{s:s}", "value", ck_buf_str(&value)), err);
}

int az_hsm_release(struct az_sim *s, const struct az_req *req, struct az_res *res,
		   struct ck_err *err)
{
	CK_AUTO(release_free) struct az_release r = { .sim = s, .req = req };
	int rc = release(&r, res, err);

	return rc < 0 ? az_hsm_refuse(req, res, rc, err) : 0;
}
