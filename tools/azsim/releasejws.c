/* The answer to a release: what it says, and the certificates that vouch for it. */
#include <stdio.h>

#include "base/json.h"
#include "tools/azsim/hsm.h"
#include "tools/azsim/release.h"

/* {"schema_version","header","ciphertext"} in base64url: the key_hsm member. */
static int key_hsm(struct ck_buf *out, const struct az_release *r, struct ck_err *err)
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

static json_t *request_echo(const struct az_release *r)
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
static int payload(json_t **out, struct az_release *r, struct ck_err *err)
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

static int make_chain(struct chain *c, const struct az_release *r, const struct az_hsm_host *h,
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

int az_release_sign(struct ck_buf *out, struct az_release *r, struct ck_err *err)
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
