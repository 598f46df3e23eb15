#include "attest/runtimekey.h"

#include <openssl/rsa.h>

#include "attest/jose.h"
#include "base/text.h"

enum { BITS = 2048 };

int ck_runtime_key_describe(struct ck_runtime_key *k, struct ck_err *err)
{
	char kid[CK_THUMBPRINT_STR];

	int rc = ck_jwk_numbers(k->pair, &k->n, &k->e, err);
	if (rc == 0)
		rc = ck_jwk_thumbprint(kid, ck_buf_str(&k->n), ck_buf_str(&k->e), err);
	if (rc == 0)
		rc =
		    ck_buf_addf(&k->jwks, err,
				"{\"keys\":[{\"e\":\"%s\",\"key_ops\":[\"encrypt\"],\"kid\":\"%s\","
				"\"kty\":\"RSA\",\"n\":\"%s\"}]}",
				ck_buf_str(&k->e), kid, ck_buf_str(&k->n));
	if (rc == 0)
		ck_sha256(k->report_data, k->jwks.data, k->jwks.len);
	return rc;
}

int ck_runtime_key_new(struct ck_runtime_key *out, struct ck_err *err)
{
	CK_RUNTIME_KEY k = { 0 };

	k.pair = EVP_RSA_gen(BITS);
	if (!k.pair)
		return ck_nomem(err, "making a runtime key");
	int rc = ck_runtime_key_describe(&k, err);
	if (rc < 0)
		return rc;
	*out = k;
	k = (struct ck_runtime_key){ 0 };
	return 0;
}

void ck_runtime_key_free(struct ck_runtime_key *k)
{
	EVP_PKEY_free(k->pair);
	ck_buf_free(&k->n);
	ck_buf_free(&k->e);
	ck_buf_free(&k->jwks);
	*k = (struct ck_runtime_key){ 0 };
}
