/*
 * blobkey - what a layer's blob is encrypted with. Lives in secret memory.
 */
#ifndef CK_BLOBKEY_H
#define CK_BLOBKEY_H

#include <stdint.h>

enum ck_cipher {
	CK_CIPHER_CTR,	  /* ocicrypt's AES_256_CTR_HMAC_SHA256 */
	CK_CIPHER_CHUNKED /* C2SP_CHUNKED_V1_AES_256_GCM: a sealed layer */
};

struct ck_blob_key {
	enum ck_cipher cipher;
	uint8_t symkey[32]; /* CTR: of AES-256-CTR and, as it is, of HMAC-SHA256 */
	uint8_t nonce[16];  /* CTR: the whole initial counter block */
	uint8_t hmac[32];   /* CTR: HMAC-SHA256 of the ciphertext */
};

#endif
