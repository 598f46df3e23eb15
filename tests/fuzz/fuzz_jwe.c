/* A JWE packet: parsed, described, and opened with keys that it is not for. */
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "keyprov/jwe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *keys[2];
	CK_AUTO(ck_jwe_freep) struct ck_jwe *j = NULL;
	CK_BUF algs = { 0 };
	struct ck_err err = { 0 };

	if (!keys[0]) {
		keys[0] = EVP_RSA_gen(2048);
		keys[1] = EVP_EC_gen("P-256");
	}
	if (ck_jwe_parse(&j, data, size, &err) < 0) {
		if (j || !err.msg[0])
			abort();
		return 0;
	}
	if (ck_jwe_describe(j, &algs, &err) < 0)
		abort(); /* what parsed has an algorithm for everybody */
	(void)ck_jwe_kid(j);
	for (int i = 0; i < 2; i++) {
		CK_SECRET out = { 0 };
		if (ck_jwe_open(j, keys[i], &out, &err) == 0)
			abort();
	}
	return 0;
}
