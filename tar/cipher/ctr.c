#include "tar/cipher/ctr.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

/* OUT = NONCE + BLOCKS, as 128-bit big-endian numbers, wrapping. */
static void counter_at(uint8_t out[16], const uint8_t nonce[16], uint64_t blocks)
{
	unsigned carry = 0;

	for (int i = 15; i >= 0; i--) {
		carry += nonce[i] + (unsigned)(blocks & 0xff);
		out[i] = (uint8_t)carry;
		carry >>= 8;
		blocks >>= 8;
	}
}

int ck_ctr_crypt(const uint8_t key[32], const uint8_t nonce[16], uint64_t off, uint8_t *buf,
		 size_t nbytes, struct ck_err *err)
{
	uint8_t counter[16], skip[16] = { 0 };
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	counter_at(counter, nonce, off / 16);
	bool ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_ctr(), NULL, key, counter) &&
		  EVP_EncryptUpdate(c, skip, &n, skip, (int)(off % 16));
	while (ok && nbytes) {
		int part = nbytes < INT_MAX / 2 ? (int)nbytes : INT_MAX / 2;
		ok = EVP_EncryptUpdate(c, buf, &n, buf, part);
		buf += part;
		nbytes -= (size_t)part;
	}
	EVP_CIPHER_CTX_free(c); /* wipes the key schedule */
	return ok ? 0 : ck_fail(err, -EIO, "AES-256-CTR failed");
}
