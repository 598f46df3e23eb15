#include "tools/azsim/oidc.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/json.h"

static int fetch(json_t **out, struct ck_http *http, const char *url, struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	struct ck_http_req req = {
		.url = url, .timeout_ms = 3000, .deadline_ms = 5000, .tries = 2
	};

	if (ck_http_do(http, &req, &res, err) < 0)
		return ck_wrap(err, "cannot reach %s", url);
	if (res.status != 200)
		return ck_fail(err, -EACCES, "%s answered %ld", url, res.status);
	return ck_json_parse(out, res.body.data, res.body.len, url, err);
}

/* The certificate's key of the entry KID in KEYS. */
static int find_key(EVP_PKEY **out, const json_t *keys, const char *kid, struct ck_err *err)
{
	size_t i;
	json_t *k;

	json_array_foreach (keys, i, k) {
		const char *id = json_string_value(json_object_get(k, "kid"));
		const char *x5c = json_string_value(json_array_get(json_object_get(k, "x5c"), 0));
		CK_BUF der = { .max = 65536 };
		if (!id || strcmp(id, kid) != 0 || !x5c)
			continue;
		int rc = ck_b64_decode(&der, CK_B64_STD, x5c, strlen(x5c), err);
		if (rc < 0)
			return rc;
		const uint8_t *p = der.data;
		AZ_X509 *x = d2i_X509(NULL, &p, (long)der.len);
		*out = x ? X509_get_pubkey(x) : NULL;
		ERR_clear_error();
		return *out ? 0
			    : ck_fail(err, -EBADMSG, "the certificate of key %s is damaged", kid);
	}
	return ck_fail(err, -ENOENT, "no key %s is published", kid);
}

static int find(EVP_PKEY **out, struct ck_http *http, const char *issuer, const char *kid,
		struct ck_err *err)
{
	CK_JSON *doc = NULL;
	CK_JSON *jwks = NULL;
	CK_BUF url = { 0 };
	size_t n = strlen(issuer);
	const char *named, *jwks_uri;
	/* OpenID Connect Discovery 1.0 section 4: a trailing slash is not doubled. */
	int rc = ck_buf_addf(&url, err, "%.*s/.well-known/openid-configuration",
			     (int)(n && issuer[n - 1] == '/' ? n - 1 : n), issuer);

	if (rc == 0)
		rc = fetch(&doc, http, ck_buf_str(&url), err);
	if (rc == 0)
		rc = ck_json_str(&named, doc, "issuer", true, err);
	if (rc == 0)
		rc = ck_json_str(&jwks_uri, doc, "jwks_uri", true, err);
	if (rc)
		return rc;
	if (strcmp(named, issuer) != 0 || strncmp(jwks_uri, "https://", 8) != 0)
		return ck_fail(err, -EACCES, "its discovery document is of %s", named);
	rc = fetch(&jwks, http, jwks_uri, err);
	return rc < 0 ? rc : find_key(out, json_object_get(jwks, "keys"), kid, err);
}

int az_oidc_key(EVP_PKEY **out, struct ck_http *http, const char *issuer, const char *kid,
		struct ck_err *err)
{
	if (find(out, http, issuer, kid, err) == 0)
		return 0;
	ck_wrap(err, "the signing key of %s cannot be found", issuer);
	return err->code = -EACCES;
}
