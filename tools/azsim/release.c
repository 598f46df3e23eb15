/* Secure key release: the token judged, the key wrapped, the answer signed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/hsm.h"
#include "tools/azsim/jose.h"
#include "tools/azsim/keywrap.h"
#include "tools/azsim/oidc.h"
#include "tools/azsim/policy.h"
#include "tools/azsim/routes.h"

/* A release in the making. */
struct release {
	struct az_sim *sim;
	const struct az_req *req;
	struct az_key key;
	json_t *body;
	const char *target, *enc, *nonce; /* of body; nonce may be NULL */
	const EVP_MD *hash;
	struct az_jwt token;
	EVP_PKEY *wrap_to; /* the guest's */
	const char *wrap_kid;
	struct ck_buf wrapped;
};

static void release_free(struct release *r)
{
	az_key_free(&r->key);
	json_decref(r->body);
	az_jwt_free(&r->token);
	EVP_PKEY_free(r->wrap_to);
	ck_buf_free(&r->wrapped);
}

static int read_request(struct release *r, struct ck_err *err)
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

static int check_key(const struct release *r, struct ck_err *err)
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
static int check_token(const struct release *r, struct ck_err *err)
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
static int find_wrap_key(struct release *r, struct ck_err *err)
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
static int key_material(struct ck_buf *out, const struct release *r, struct ck_err *err)
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

static int wrap(struct release *r, struct ck_err *err)
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

/* {"schema_version","header","ciphertext"} in base64url: the key_hsm member. */
static int key_hsm(struct ck_buf *out, const struct release *r, struct ck_err *err)
{
	CK_BUF ct = { 0 };
	CK_BUF text = { 0 };
	int rc = ck_b64_encode(&ct, CK_B64_URL, r->wrapped.data, r->wrapped.len, err);

	if (rc < 0)
		return rc;
	CK_JSON *j =
	    json_pack("{s:s,s:{s:s,s:s,s:s},s:s}", "schema_version", "1.0", "header", "kid",
		      r->wrap_kid, "alg", "dir", "enc", r->enc, "ciphertext", ck_buf_str(&ct));
	rc = j ? ck_json_dump(&text, j, err) : ck_nomem(err, "writing a release");
	return rc < 0 ? rc : ck_b64_encode(out, CK_B64_URL, text.data, text.len, err);
}

static json_t *request_echo(const struct release *r)
{
	const char *version = r->req->arg[1], *nonce = r->nonce;
	char kid[600];

	snprintf(kid, sizeof kid, "https://%s/keys/%s%s%s", r->key.host, r->key.name,
		 *version ? "/" : "", version);
	if (r->req->fault == AZ_NONONCE)
		nonce = NULL;
	if (r->req->fault == AZ_WRONGNONCE)
		nonce = "bm90IHlvdXIgbm9uY2U";
	return json_pack("{s:s,s:s,s:s,s:s*}", "api-version", az_req_query(r->req, "api-version"),
			 "enc", r->enc, "kid", kid, "nonce", nonce);
}

/* The whole payload; the answer about another key when the fault says so. */
static int payload(json_t **out, struct release *r, struct ck_err *err)
{
	CK_BUF hsm = { 0 };
	json_t *jwk = NULL;

	if (r->req->fault == AZ_WRONGKID)
		snprintf(r->key.name, sizeof r->key.name, "azsim-other-key");
	int rc = key_hsm(&hsm, r, err);
	if (rc == 0)
		rc = az_hsm_public_jwk(&jwk, &r->key, err);
	if (rc < 0)
		return rc;
	json_object_set_new(jwk, "key_hsm", json_string(ck_buf_str(&hsm)));
	const json_t *tags = json_object_get(r->key.meta, "tags");
	*out =
	    json_pack("{s:o,s:{s:{s:o,s:O,s:o,s:O}}}", "request", request_echo(r), "response",
		      "key", "key", jwk, "attributes", json_object_get(r->key.meta, "attributes"),
		      "tags", tags ? json_incref((json_t *)(uintptr_t)tags) : json_object(),
		      "release_policy", json_object_get(r->key.meta, "release_policy"));
	return *out ? 0 : ck_nomem(err, "writing a release");
}

/* The certificates that vouch for the signature, leaf first; borrowed unless in own. */
struct chain {
	X509 *cert[3];
	size_t n;
	X509 *own[2];
	EVP_PKEY *own_key;
};

static void chain_free(struct chain *c)
{
	X509_free(c->own[0]);
	X509_free(c->own[1]);
	EVP_PKEY_free(c->own_key);
}

/* A leaf below a root that nobody trusts, with the right names. */
static int unknown_chain(struct chain *c, EVP_PKEY *key, const char *const names[2],
			 struct ck_err *err)
{
	struct az_cert_spec root = {
		.cn = "azsim Root CA", .org = "azsim", .to_s = 86400, .ca = true
	};
	int rc = az_pkey_make(&c->own_key, "P-256", err);

	root.key = c->own_key;
	if (rc == 0)
		rc = az_cert_make(&c->own[1], &root, err);
	struct az_ca ca = { .issuing = c->own[1], .issuing_key = c->own_key };
	if (rc == 0)
		rc = az_ca_leaf(&c->own[0], &ca, key, names, 2, -3600, 86400, err);
	c->cert[0] = c->own[0];
	c->cert[1] = c->own[1];
	c->n = 2;
	return rc;
}

static int make_chain(struct chain *c, const struct release *r, const struct az_hsm_host *h,
		      struct ck_err *err)
{
	const struct az_ca *ca = &r->sim->ca;
	const char *names[2];
	char star[260];

	*c = (struct chain){ .cert = { h->leaf, ca->issuing, ca->root }, .n = 3 };
	az_hsm_names(names, star, h->name);
	int rc = 0;
	switch (r->req->fault) {
	case AZ_NOX5C:
		c->n = 0;
		return 0;
	case AZ_UNKNOWNROOT:
		return unknown_chain(c, h->key, names, err);
	case AZ_EXPIREDLEAF:
		rc = az_ca_leaf(&c->own[0], ca, h->key, names, 2, -2 * 86400, -86400, err);
		break;
	case AZ_SANMISMATCH:
		az_hsm_names(names, star, "other" AZ_HSM_DOMAIN);
		rc = az_ca_leaf(&c->own[0], ca, h->key, names, 2, -86400, 86400, err);
		break;
	default:
		return 0;
	}
	c->cert[0] = c->own[0];
	return rc;
}

static int add_thumbprint(json_t *header, const char *name, X509 *x, const EVP_MD *md,
			  struct ck_err *err)
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n;
	CK_BUF text = { 0 };

	if (X509_digest(x, md, raw, &n) != 1)
		return az_ssl_fail(err, "cannot hash a certificate");
	int rc = ck_b64_encode(&text, CK_B64_URL, raw, n, err);
	if (rc == 0)
		json_object_set_new(header, name, json_string(ck_buf_str(&text)));
	return rc;
}

/* RFC 7515 sections 4.1.6 to 4.1.8: x5c, x5t, x5t#S256. */
static int add_chain(json_t *header, const struct chain *c, struct ck_err *err)
{
	json_t *x5c = json_array();
	int rc = 0;

	json_object_set_new(header, "x5c", x5c);
	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		CK_BUF der = { 0 };
		CK_BUF text = { 0 };
		rc = az_cert_der(&der, c->cert[i], err);
		if (rc == 0)
			rc = ck_b64_encode(&text, CK_B64_STD, der.data, der.len, err);
		if (rc == 0)
			json_array_append_new(x5c, json_string(ck_buf_str(&text)));
	}
	if (rc == 0)
		rc = add_thumbprint(header, "x5t", c->cert[0], EVP_sha1(), err);
	return rc < 0 ? rc : add_thumbprint(header, "x5t#S256", c->cert[0], EVP_sha256(), err);
}

static int sign(struct ck_buf *out, struct release *r, struct ck_err *err)
{
	const struct az_hsm_host *h = az_sim_hsm(r->sim, r->req->host);
	CK_AUTO(chain_free) struct chain chain = { 0 };
	CK_BUF kid = { 0 };
	CK_JSON *doc = NULL;
	int rc = make_chain(&chain, r, h, err);

	if (rc == 0)
		rc = az_jwk_thumbprint(&kid, CK_B64_URL, h->key, err);
	if (rc < 0)
		return rc;
	CK_JSON *header = json_pack("{s:s}", "kid", ck_buf_str(&kid));
	if (!header)
		return ck_nomem(err, "writing a release");
	if (chain.n)
		rc = add_chain(header, &chain, err);
	if (rc == 0)
		rc = payload(&doc, r, err);
	return rc < 0 ? rc : az_jws_sign(out, header, doc, h->key, r->req->fault, err);
}

static int release(struct release *r, struct az_res *res, struct ck_err *err)
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
		rc = sign(&value, r, err);
	if (rc < 0)
		return rc;
	return az_answer(res, 200, json_pack("{s:s}", "value", ck_buf_str(&value)), err);
}

int az_hsm_release(struct az_sim *s, const struct az_req *req, struct az_res *res,
		   struct ck_err *err)
{
	CK_AUTO(release_free) struct release r = { .sim = s, .req = req };
	int rc = release(&r, res, err);

	return rc < 0 ? az_hsm_refuse(req, res, rc, err) : 0;
}
