#include "attest/hsm.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "attest/hostlist.h"
#include "attest/jose.h"
#include "base/json.h"

static int send_once(struct ck_identity *id, const struct ck_call *call, const char *url,
		     const struct ck_hsm_req *r, struct ck_buf *token, struct ck_http_res *res,
		     struct ck_err *err)
{
	CK_BUF bearer = { 0 };

	int rc = ck_identity_token(id, call, token, err);
	if (rc == 0)
		rc = ck_buf_addf(&bearer, err, "Authorization: Bearer %s", ck_buf_str(token));
	if (rc < 0)
		return rc;
	const char *const headers[] = { ck_buf_str(&bearer), "Content-Type: application/json" };
	struct ck_http_req req = { .url = url,
				   .headers = headers,
				   .n_headers = r->body ? 2 : 1,
				   .body = r->body ? r->body->data : NULL,
				   .body_len = r->body ? r->body->len : 0 };
	return ck_service_do(call, &req, res, err);
}

int ck_hsm_call(struct ck_identity *id, const struct ck_call *call, const struct ck_hsm_req *r,
		struct ck_http_res *res, struct ck_err *err)
{
	CK_BUF url = { 0 };
	int rc =
	    ck_buf_addf(&url, err, "https://%s/keys/%s%s?" CK_HSM_API, r->host, r->kid, r->action);

	for (int n = 0; rc == 0 && n < 2; n++) {
		CK_BUF token = { 0 };
		ck_http_res_free(res);
		rc = send_once(id, call, ck_buf_str(&url), r, &token, res, err);
		if (rc < 0 || res->status != 401)
			break;
		ck_identity_reject(id, ck_buf_str(&token));
	}
	return rc;
}

bool ck_hsm_same_key(const char *url, const char *host, const char *kid, bool version)
{
	static const char scheme[] = "https://", keys[] = "/keys/";
	size_t host_len = strlen(host), name_len = strcspn(kid, "/");

	if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
		return false;
	url += sizeof scheme - 1;
	if (strncasecmp(url, host, host_len) != 0)
		return false;
	url += host_len;
	if (strncmp(url, keys, sizeof keys - 1) != 0)
		return false;
	url += sizeof keys - 1;
	if (strncasecmp(url, kid, name_len) != 0 || (url[name_len] && url[name_len] != '/') ||
	    !ck_kid_ok(url))
		return false;
	return !version || !kid[name_len] || strcasecmp(kid + name_len, url + name_len) == 0;
}

int ck_hsm_public(EVP_PKEY **out, const json_t *key, const char *host, const char *kid,
		  struct ck_err *err)
{
	const char *url = "", *kty = "";

	int rc = ck_json_str(&url, key, "kid", true, err);
	if (rc == 0)
		rc = ck_json_str(&kty, key, "kty", true, err);
	if (rc < 0)
		return rc;
	if (!ck_hsm_same_key(url, host, kid, true))
		return ck_fail(err, -EBADMSG, "the answer is about key \"%.200s\"", url);
	if (strcmp(kty, "RSA-HSM") != 0 && strcmp(kty, "RSA") != 0)
		return ck_fail(err, -EBADMSG, "it is of type \"%.20s\"; cloakfs needs an RSA key",
			       kty);
	return ck_jwk_rsa(out, key, err);
}

int ck_hsm_get_public(EVP_PKEY **out, struct ck_identity *id, const struct ck_call *call,
		      const char *host, const char *kid, struct ck_err *err)
{
	const struct ck_hsm_req r = { .host = host, .kid = kid, .action = "" };
	CK_HTTP_RES res = { 0 };
	CK_JSON *j = NULL;
	json_t *key;

	int rc = ck_hsm_call(id, call, &r, &res, err);
	if (rc < 0)
		return ck_wrap(err, "public half of key %s", kid);
	if (res.status != 200)
		return ck_service_refused(&res, err, "public half of key %s refused by %s", kid,
					  host);
	rc = ck_service_json(&j, &res, "the answer", err);
	if (rc == 0)
		rc = ck_json_obj(&key, j, "key", true, err);
	if (rc == 0)
		rc = ck_hsm_public(out, key, host, kid, err);
	return rc < 0 ? ck_wrap(err, "public half of key %s from %s", kid, host) : 0;
}
