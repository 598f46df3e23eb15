/*
 * fuzz_keywrap - the PKCS #8 that an HSM wrapped, and wrapped bytes. Property: a key
 * that is accepted is a consistent RSA key.
 */
#include <stdlib.h>

#include "attest/jose.h"
#include "attest/keywrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t kek[32];
	CK_PKEY *key = NULL;
	CK_SECRET out = { 0 };
	struct ck_err err = { 0 };

	if (ck_pkcs8_rsa(&key, data, size, &err) == 0 && !EVP_PKEY_is_a(key, "RSA"))
		abort();
	if (ck_kwp_unwrap(&out, kek, sizeof kek, data, size, &err) == 0 && out.len > size - 8)
		abort();
	return 0;
}
