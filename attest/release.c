#include "attest/release.h"

#include <errno.h>

#include "attest/hsm.h"
#include "attest/keywrap.h"
#include "attest/nonce.h"
#include "attest/released.h"
#include "base/json.h"

static int ask_once(struct ck_identity *id, const struct ck_call *call,
		    const struct ck_release_ask *ask, const char *enc, const char *nonce,
		    struct ck_http_res *res, struct ck_err *err)
{
	CK_BUF body = { 0 };
	CK_JSON *j = json_pack("{s:s, s:s, s:s}", "target", ck_buf_str(ask->token), "enc", enc,
			       "nonce", nonce);

	if (!j)
		return ck_nomem(err, "writing a release request");
	int rc = ck_json_dump(&body, j, err);
	if (rc < 0)
		return rc;
	const struct ck_hsm_req r = {
		.host = ask->host, .kid = ask->kid, .action = "/release", .body = &body
	};
	return ck_hsm_call(id, call, &r, res, err);
}

static int take_answer(EVP_PKEY **out, const struct ck_release_ask *ask, const char *enc,
		       const char *nonce, const struct ck_http_res *res, struct ck_err *err)
{
	CK_JSON *j = NULL;
	const char *jws = "";

	int rc = ck_service_json(&j, res, "the answer", err);
	if (rc == 0)
		rc = ck_json_str(&jws, j, "value", true, err);
	if (rc < 0)
		return rc;
	const struct ck_released_expect expect = { .host = ask->host,
						   .kid = ask->kid,
						   .enc = enc,
						   .nonce = nonce,
						   .ca_file = ask->ca_file };
	return ck_released_open(out, jws, &expect, ask->key->pair, err);
}

int ck_release(EVP_PKEY **out, struct ck_identity *id, const struct ck_call *call,
	       const struct ck_release_ask *ask, struct ck_err *err)
{
	/* The first is better; not every HSM knows it. */
	static const char *const encs[] = { CK_ENC_SHA256, CK_ENC_SHA1 };
	CK_HTTP_RES res = { 0 };
	char nonce[CK_NONCE_STR];
	const char *enc = NULL;
	int rc = 0;

	for (size_t i = 0; i < sizeof encs / sizeof encs[0]; i++) {
		enc = encs[i];
		rc = ck_nonce(nonce, err);
		if (rc == 0)
			rc = ask_once(id, call, ask, enc, nonce, &res, err);
		if (rc < 0 || res.status != 400)
			break;
	}
	if (rc < 0)
		return ck_wrap(err, "release of key %s", ask->kid);
	if (res.status != 200)
		return ck_service_refused(&res, err, "Release of key %s refused by %s", ask->kid,
					  ask->host);
	rc = take_answer(out, ask, enc, nonce, &res, err);
	return rc < 0 ? ck_wrap(err, "release of key %s by %s", ask->kid, ask->host) : 0;
}
