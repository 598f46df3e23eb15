#include "attest/maa.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "attest/maatoken.h"
#include "attest/nonce.h"
#include "base/json.h"

static int request_body(struct ck_buf *out, const struct ck_maa_ask *ask, const char *nonce,
			struct ck_err *err)
{
	CK_BUF data = { 0 };
	int rc = ck_b64_encode(&data, CK_B64_URL_PAD, ask->key->jwks.data, ask->key->jwks.len, err);

	if (rc < 0)
		return rc;
	CK_JSON *j =
	    json_pack("{s:s, s:{s:s, s:s}, s:s}", ask->tee->maa_member, ck_buf_str(ask->evidence),
		      "runtimeData", "data", ck_buf_str(&data), "dataType", "JSON", "nonce", nonce);
	return j ? ck_json_dump(out, j, err) : ck_nomem(err, "writing an attestation request");
}

static int ask_token(const struct ck_call *call, const struct ck_maa_ask *ask, const char *nonce,
		     struct ck_buf *token, struct ck_err *err)
{
	static const char *const headers[] = { "Content-Type: application/json" };
	CK_HTTP_RES res = { 0 };
	CK_JSON *j = NULL;
	CK_BUF url = { 0 };
	CK_BUF body = { 0 };
	const char *t = "";

	int rc = request_body(&body, ask, nonce, err);
	if (rc == 0)
		rc = ck_buf_addf(&url, err, "https://%s%s", ask->host, ask->tee->maa_path);
	if (rc < 0)
		return rc;
	struct ck_http_req req = { .url = ck_buf_str(&url),
				   .headers = headers,
				   .n_headers = 1,
				   .body = body.data,
				   .body_len = body.len };
	rc = ck_service_do(call, &req, &res, err);
	if (rc < 0)
		return ck_wrap(err, "attestation");
	if (res.status != 200)
		return ck_service_refused(&res, err, "attestation refused by %s", ask->host);
	rc = ck_service_json(&j, &res, "its answer", err);
	if (rc == 0)
		rc = ck_json_str(&t, j, "token", true, err);
	if (rc < 0)
		return ck_wrap(err, "attestation by %s", ask->host);
	return ck_buf_adds(token, t, err);
}

/* The keys that may sign tokens. They are self-signed: what vouches for them is TLS. */
static int get_keys(const struct ck_call *call, const char *host, json_t **out, struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	CK_BUF url = { 0 };

	int rc = ck_buf_addf(&url, err, "https://%s/certs", host);
	if (rc < 0)
		return rc;
	struct ck_http_req req = { .url = ck_buf_str(&url) };
	rc = ck_service_do(call, &req, &res, err);
	if (rc < 0)
		return ck_wrap(err, "signing keys of %s", host);
	if (res.status != 200)
		return ck_service_refused(&res, err, "signing keys refused by %s", host);
	rc = ck_service_json(out, &res, "its answer", err);
	return rc < 0 ? ck_wrap(err, "signing keys of %s", host) : 0;
}

int ck_maa_attest(const struct ck_call *call, const struct ck_maa_ask *ask, struct ck_buf *token,
		  struct ck_err *err)
{
	char nonce[CK_NONCE_STR];
	CK_JSON *keys = NULL;

	int rc = ck_nonce(nonce, err);
	if (rc == 0)
		rc = ask_token(call, ask, nonce, token, err);
	/* After the token: a key that rotated meanwhile is then in the list. */
	if (rc == 0)
		rc = get_keys(call, ask->host, &keys, err);
	if (rc < 0)
		return rc;
	const struct ck_maatoken_expect expect = {
		.host = ask->host, .tee = ask->tee, .key = ask->key, .nonce = nonce
	};
	return ck_maatoken_check(ck_buf_str(token), token->len, keys, &expect, time(NULL), err);
}
