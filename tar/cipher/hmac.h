/* hmac - HMAC-SHA256 (RFC 2104) over a long message, by OpenSSL. */
#ifndef CK_HMAC_H
#define CK_HMAC_H

#include <openssl/evp.h>
#include <stdint.h>

/* A context under KEY, for EVP_MAC_update and EVP_MAC_final; the caller's to
 * EVP_MAC_CTX_free, which wipes it. NULL on failure. */
EVP_MAC_CTX *ck_hmac_new(const uint8_t key[32]);

#endif
