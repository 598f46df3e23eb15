#include "tools/azsim/hsm.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/aad.h"
#include "tools/azsim/jose.h"
#include "tools/azsim/policy.h"
#include "tools/azsim/routes.h"

enum { DAY = 86400 };

#define POLICY_TYPE "application/json; charset=utf-8"

void az_hsm_names(const char *out[2], char star[260], const char *name)
{
	snprintf(star, 260, "*.%s", name);
	out[0] = star;
	out[1] = name;
}

int az_hsm_open(struct az_hsm_host *h, const struct az_ca *ca, const char *dir, const char *name,
		struct ck_err *err)
{
	const char *names[2];
	char star[260];
	int rc = az_pkey_keep(&h->key, az_path(dir, "hsm/%s-key.pem", name).s, "RSA:2048", err);

	h->name = name;
	az_hsm_names(names, star, name);
	if (rc == 0)
		rc = az_ca_leaf(&h->leaf, ca, h->key, names, 2, -DAY, 365L * DAY, err);
	return rc < 0 ? ck_wrap(err, "cannot open HSM %s", name) : 0;
}

void az_hsm_close(struct az_hsm_host *h)
{
	EVP_PKEY_free(h->key);
	X509_free(h->leaf);
}

const char *az_hsm_resource(const char *host)
{
	size_t n = strlen(host), m = strlen(AZ_HSM_DOMAIN);
	bool managed = n > m && strcmp(host + n - m, AZ_HSM_DOMAIN) == 0;

	return managed ? "https://managedhsm.azure.net" : "https://vault.azure.net";
}

int az_hsm_admit(struct az_sim *s, const struct az_req *req, struct ck_err *err)
{
	static const char *const versions[] = { "7.3", "7.4", "7.5", "7.6", "2025-07-01", NULL };
	int rc = az_aad_check_bearer(az_req_header(req, "Authorization"), s->aad_key,
				     az_hsm_resource(req->host), err);

	return rc < 0 ? rc : az_req_api_version(req, versions, err);
}

int az_hsm_refuse(const struct az_req *req, struct az_res *res, int rc, struct ck_err *err)
{
	switch (rc) {
	case -EPERM:
		return az_refuse(req, res, 401, "Unauthorized", err->msg, err);
	case -EINVAL:
		return az_refuse(req, res, 400, "BadParameter", err->msg, err);
	case -EACCES:
		return az_refuse(req, res, 403, "Forbidden", err->msg, err);
	case -ENOENT:
		return az_refuse(req, res, 404, "KeyNotFound", err->msg, err);
	default:
		return rc;
	}
}

int az_hsm_root(struct az_sim *s, const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	(void)s;
	return az_refuse(req, res, 401, "Unauthorized", "Request is missing a Bearer or PoP token.",
			 err);
}

int az_hsm_public_jwk(json_t **out, const struct az_key *k, struct ck_err *err)
{
	char kid[600];
	json_t *jwk = NULL;
	int rc = az_jwk_public(&jwk, k->pkey, err);

	if (rc < 0)
		return rc;
	snprintf(kid, sizeof kid, "https://%s/keys/%s/%s", k->host, k->name, k->version);
	json_object_set_new(jwk, "kid", json_string(kid));
	json_object_set_new(jwk, "kty", json_string("RSA-HSM"));
	json_object_set(jwk, "key_ops", json_object_get(k->meta, "key_ops"));
	*out = jwk;
	return 0;
}

static int answer_bundle(struct az_res *res, const struct az_key *k, struct ck_err *err)
{
	json_t *jwk = NULL;
	int rc = az_hsm_public_jwk(&jwk, k, err);

	if (rc < 0)
		return rc;
	return az_answer(res, 200,
			 json_pack("{s:o,s:O,s:O*,s:O*}", "key", jwk, "attributes",
				   json_object_get(k->meta, "attributes"), "tags",
				   json_object_get(k->meta, "tags"), "release_policy",
				   json_object_get(k->meta, "release_policy")),
			 err);
}

/* The release policy of a request is of the grammar. */
static int check_policy(const json_t *release_policy, struct ck_err *err)
{
	const char *type = json_string_value(json_object_get(release_policy, "contentType"));
	CK_BUF text = { 0 };
	CK_JSON *policy = NULL;

	if (type && strcmp(type, POLICY_TYPE) != 0)
		return ck_fail(err, -EINVAL, "release_policy: the contentType is not \"%s\"",
			       POLICY_TYPE);
	if (ck_json_b64(&text, release_policy, "data", CK_B64_URL, true, err) < 0 ||
	    ck_json_parse(&policy, text.data, text.len, "the policy", err) < 0 ||
	    az_policy_check(policy, err) < 0) {
		ck_wrap(err, "release_policy");
		return err->code = -EINVAL;
	}
	return 0;
}

/* Exportable and a policy go together, and only for keys that the HSM protects. */
static int check_export(const json_t *body, bool hsm_key, struct az_res *res, struct ck_err *err)
{
	const json_t *attributes = json_object_get(body, "attributes");
	const json_t *policy = json_object_get(body, "release_policy");
	bool exportable = json_is_true(json_object_get(attributes, "exportable"));

	if (exportable && !policy) {
		res->inner_code = "AKV.SKR.1004";
		return ck_fail(err, -EINVAL,
			       "AKV.SKR.1004: an exportable key must have a release policy");
	}
	if (!exportable && policy) {
		res->inner_code = "AKV.SKR.1005";
		return ck_fail(err, -EINVAL,
			       "AKV.SKR.1005: a key with a release policy must be exportable");
	}
	if (exportable && !hsm_key) {
		res->inner_code = "AKV.SKR.1006";
		return ck_fail(err, -EINVAL,
			       "AKV.SKR.1006: only keys of an HSM type may be exportable");
	}
	return policy ? check_policy(policy, err) : 0;
}

static int fill_meta(struct az_key *k, const json_t *body, struct ck_err *err)
{
	const json_t *attributes = json_object_get(body, "attributes");
	json_int_t now = time(NULL);
	json_t *ops = json_object_get(body, "key_ops");

	if (!ops)
		ops = json_object_get(json_object_get(body, "key"), "key_ops");
	ops = json_is_array(ops)
		  ? json_incref(ops)
		  : json_pack("[s,s,s,s]", "wrapKey", "unwrapKey", "encrypt", "decrypt");
	k->meta = json_pack(
	    "{s:o,s:{s:b,s:O*,s:O*,s:I,s:I,s:s,s:i,s:b},s:O*,s:O*}", "key_ops", ops, "attributes",
	    "enabled", !json_is_false(json_object_get(attributes, "enabled")), "nbf",
	    json_object_get(attributes, "nbf"), "exp", json_object_get(attributes, "exp"),
	    "created", now, "updated", now, "recoveryLevel", "CustomizedRecoverable+Purgeable",
	    "recoverableDays", 7, "exportable",
	    json_is_true(json_object_get(attributes, "exportable")), "tags",
	    json_object_get(body, "tags"), "release_policy",
	    json_object_get(body, "release_policy"));
	return k->meta ? 0 : ck_nomem(err, "describing a key");
}

/* Stores the key that BODY describes under the name of the request, and answers with it. */
static int store(struct az_sim *s, struct az_key *k, const json_t *body, const struct az_req *req,
		 struct az_res *res, struct ck_err *err)
{
	snprintf(k->host, sizeof k->host, "%s", req->host);
	snprintf(k->name, sizeof k->name, "%s", req->arg[0]);
	int rc = fill_meta(k, body, err);
	if (rc == 0)
		rc = az_keystore_put(&s->keys, k, err);
	return rc < 0 ? rc : answer_bundle(res, k, err);
}

/* What create and import ask for alike. */
static int begin(struct az_sim *s, json_t **body, const struct az_req *req, struct ck_err *err)
{
	int rc = az_hsm_admit(s, req, err);

	if (rc == 0)
		rc = az_req_json(body, req, err);
	if (rc == 0 && !az_key_name_ok(req->arg[0]))
		rc = ck_fail(err, -EINVAL, "the key name is not of letters, digits and hyphens");
	return rc;
}

/* "RSA" and "RSA-HSM" are what azsim knows. *HSM_KEY: the latter. */
static int read_kty(bool *hsm_key, const json_t *obj, struct ck_err *err)
{
	const char *kty = json_string_value(json_object_get(obj, "kty"));

	if (!kty || (strcmp(kty, "RSA") != 0 && strcmp(kty, "RSA-HSM") != 0))
		return ck_fail(err, -EINVAL, "kty is neither RSA nor RSA-HSM");
	*hsm_key = strcmp(kty, "RSA-HSM") == 0;
	return 0;
}

static int create(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	CK_JSON *body = NULL;
	AZ_KEY k = { 0 };
	bool hsm_key = false;
	uint64_t size = 2048;
	char type[16];
	int rc = begin(s, &body, req, err);

	if (rc == 0)
		rc = read_kty(&hsm_key, body, err);
	if (rc == 0 && (ck_json_u64(&size, body, "key_size", false, err) < 0 ||
			(size != 2048 && size != 3072 && size != 4096)))
		rc = ck_fail(err, -EINVAL, "key_size is not 2048, 3072 or 4096");
	if (rc == 0)
		rc = check_export(body, hsm_key, res, err);
	snprintf(type, sizeof type, "RSA:%u", (unsigned)size);
	if (rc == 0)
		rc = az_pkey_make(&k.pkey, type, err);
	return rc < 0 ? rc : store(s, &k, body, req, res, err);
}

int az_hsm_create(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	int rc = create(s, req, res, err);

	return rc < 0 ? az_hsm_refuse(req, res, rc, err) : 0;
}

static int import(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	CK_JSON *body = NULL;
	AZ_KEY k = { 0 };
	json_t *jwk = NULL;
	bool hsm_key = false;
	int rc = begin(s, &body, req, err);

	if (rc == 0 && ck_json_obj(&jwk, body, "key", true, err) < 0)
		rc = err->code = -EINVAL;
	if (rc == 0)
		rc = read_kty(&hsm_key, jwk, err);
	if (rc == 0)
		rc = check_export(body, hsm_key || json_is_true(json_object_get(body, "hsm")), res,
				  err);
	if (rc == 0)
		rc = az_jwk_read(&k.pkey, jwk, true, err);
	if (rc == 0) {
		CK_AUTO(az_pctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k.pkey, NULL);
		int bits = EVP_PKEY_get_bits(k.pkey);
		if (!c || EVP_PKEY_check(c) != 1 || (bits != 2048 && bits != 3072 && bits != 4096))
			rc = ck_fail(err, -EINVAL,
				     "the key is no consistent RSA key of 2048, 3072 or 4096 bits");
	}
	return rc < 0 ? rc : store(s, &k, body, req, res, err);
}

int az_hsm_import(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	int rc = import(s, req, res, err);

	return rc < 0 ? az_hsm_refuse(req, res, rc, err) : 0;
}

int az_hsm_get(struct az_sim *s, const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	AZ_KEY k = { 0 };
	int rc = az_hsm_admit(s, req, err);

	if (rc == 0)
		rc = az_keystore_get(&s->keys, &k, req->host, req->arg[0], req->arg[1], err);
	if (rc == 0)
		rc = answer_bundle(res, &k, err);
	return rc < 0 ? az_hsm_refuse(req, res, rc, err) : 0;
}
