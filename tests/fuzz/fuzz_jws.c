/*
 * fuzz_jws - tokens and releases as text. Property: what parses has its three parts
 * inside the text, nothing parses that is not of base64url's alphabet, and nothing that
 * a stranger wrote verifies.
 */
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "attest/jose.h"
#include "attest/released.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *key(void)
{
	static EVP_PKEY *k;

	if (!k)
		k = EVP_RSA_gen(2048);
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const algs[] = { "RS256", "PS256", NULL };
	char *copy = malloc(size + 1);
	CK_JWS j = { 0 };
	struct ck_err err = { 0 };

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	copy[size] = 0;
	if (ck_jws_parse(&j, copy, size, "fuzz", &err) == 0) {
		if (!j.header || !j.payload || !j.alg || j.input != copy || j.input_len >= size ||
		    memchr(copy, 0, size) || memchr(copy, '=', size))
			abort();
		if (ck_jws_verify(&j, key(), algs, &err) == 0)
			abort();
		CK_PKEY *jwk = NULL;
		if (ck_jwk_rsa(&jwk, j.payload, &err) == 0 && EVP_PKEY_get_bits(jwk) < 2048)
			abort();
		if (ck_jwt_times(j.payload, 1700000000, &err) == 0 &&
		    !json_object_get(j.payload, "exp"))
			abort();
	}
	const struct ck_released_expect x = {
		.host = "h.example", .kid = "k", .enc = "RSA_AES_KEY_WRAP_256", .nonce = "n"
	};
	EVP_PKEY *out = NULL;
	if (ck_released_open(&out, copy, &x, key(), &err) == 0)
		abort();
	free(copy);
	return 0;
}
