/*
 * mint - keys, certificates, tokens and wrapped keys for tests, as the services make
 * them or as an attacker would. Everything aborts on failure: these are not under test.
 */
#ifndef CK_TEST_MINT_H
#define CK_TEST_MINT_H

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A 2048-bit RSA key, the same for the same IDX (0..7) all through the process: making
 * one is slow. Borrowed. */
EVP_PKEY *mint_rsa(int idx);

struct mint_cert {
	const char *cn;
	const char *san;     /* "DNS:a,DNS:b" or NULL */
	bool ca;	     /* a CA, else a leaf */
	const char *eku;     /* "serverAuth", ... or NULL */
	long from_s, till_s; /* validity, relative to now; 0, 0: an hour each way */
};

/* The caller's to X509_free. ISSUER NULL: self-signed. */
X509 *mint_cert(const struct mint_cert *c, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key);

/* Appends the base64 DER of CERT to the array X5C. */
void mint_x5c_add(json_t *x5c, X509 *cert);

/* Writes CERT as PEM to PATH. */
void mint_pem_file(const char *path, X509 *cert);

/* {"alg","kid"} signed by KEY: RS256, PS256, HS256 (with KEY's public PEM as the
 * secret, the classic confusion) or none. EXTRA's members (may be NULL) are added to
 * the header and win. The caller's to free. */
char *mint_jws(const char *alg, const char *kid, const json_t *extra, const json_t *payload,
	       EVP_PKEY *key);

/* {"kty":"RSA","n","e"} of KEY. */
json_t *mint_jwk(EVP_PKEY *key);

/* KEY as PKCS #8 DER, appended to OUT. */
void mint_pkcs8(struct ck_buf *out, EVP_PKEY *key);

/* CKM_RSA_AES_KEY_WRAP of P to the public half of KEY, OAEP with MD, appended to OUT. The
 * KEK has 32 bytes, or 16 where a wrapper did wrong. */
void mint_wrap(struct ck_buf *out, EVP_PKEY *key, const EVP_MD *md, size_t kek_len, const void *p,
	       size_t nbytes);

/* B as base64url text, the caller's to free. */
char *mint_b64url(const void *p, size_t nbytes);

#endif
