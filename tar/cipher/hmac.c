#include "tar/cipher/hmac.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

EVP_MAC_CTX *ck_hmac_new(const uint8_t key[32])
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
								 (char[]){ "SHA256" }, 0),
				OSSL_PARAM_construct_end() };

	EVP_MAC_free(mac); /* the context holds its own reference */
	if (c && !EVP_MAC_init(c, key, 32, params)) {
		EVP_MAC_CTX_free(c);
		c = NULL;
	}
	return c;
}
