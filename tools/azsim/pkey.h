/* pkey - private keys: made, kept in a file, described; and OpenSSL's errors as ours. */
#ifndef AZ_PKEY_H
#define AZ_PKEY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "base/err.h"

static inline void az_pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static inline void az_x509_freep(X509 **x)
{
	X509_free(*x);
}

static inline void az_mdctx_freep(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

static inline void az_pctx_freep(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

static inline void az_bio_freep(BIO **b)
{
	BIO_free_all(*b);
}

#define AZ_PKEY CK_AUTO(az_pkey_freep) EVP_PKEY
#define AZ_X509 CK_AUTO(az_x509_freep) X509

/* Sets *err to "WHAT: <OpenSSL's reason>", returns -EIO, empties OpenSSL's queue. */
int az_ssl_fail(struct ck_err *err, const char *what);

/* TYPE is "RSA:<bits>" or a curve as OpenSSL names it ("P-256"). *OUT is the caller's. */
CK_MUST_CHECK int az_pkey_make(EVP_PKEY **out, const char *type, struct ck_err *err);

/* The key in the PEM file PATH, made and written there (0600) when there is none. */
CK_MUST_CHECK int az_pkey_keep(EVP_PKEY **out, const char *path, const char *type,
			       struct ck_err *err);

CK_MUST_CHECK int az_pkey_load(EVP_PKEY **out, const char *path, struct ck_err *err);
CK_MUST_CHECK int az_pkey_parse(EVP_PKEY **out, const void *pem, size_t nbytes, const char *name,
				struct ck_err *err);
CK_MUST_CHECK int az_pkey_save(const EVP_PKEY *k, const char *path, struct ck_err *err);

/* Appends the private key as PEM PKCS#8, as DER PKCS#8, the public one as PEM SPKI. */
CK_MUST_CHECK int az_pkey_pem(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err);
CK_MUST_CHECK int az_pkey_pkcs8(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err);
CK_MUST_CHECK int az_pkey_public_pem(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err);

#endif
