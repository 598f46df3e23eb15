/* cert - X.509 certificates made to measure. */
#ifndef AZ_CERT_H
#define AZ_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "tools/azsim/pkey.h"

struct az_cert_spec {
	const char *cn, *org, *unit; /* org and unit may be NULL */
	const char *const *dns;	     /* subject alternative names, n_dns of them */
	size_t n_dns;
	EVP_PKEY *key;	      /* the subject's */
	X509 *issuer;	      /* NULL: self-signed */
	EVP_PKEY *issuer_key; /* ignored when self-signed */
	long from_s, to_s;    /* validity, seconds from now */
	bool ca;
	bool tls; /* extended key usages of a TLS server and client */
	bool pss; /* RSASSA-PSS with SHA-384, salt 48 (AMD's); else the key's usual SHA-256 */
	/* Adds more extensions. May be NULL. Errors: as az_cert_make. */
	int (*extend)(X509 *x, const void *arg, struct ck_err *err);
	const void *extend_arg;
};

/* *OUT is the caller's to X509_free. Errors: -EIO, -ENOMEM. */
CK_MUST_CHECK int az_cert_make(X509 **out, const struct az_cert_spec *spec, struct ck_err *err);

/* The certificate in the PEM file PATH, made from SPEC and written there when there is none. */
CK_MUST_CHECK int az_cert_keep(X509 **out, const char *path, const struct az_cert_spec *spec,
			       struct ck_err *err);

/* An extension of the raw bytes VALUE under the dotted OID, not critical. */
CK_MUST_CHECK int az_cert_add_raw(X509 *x, const char *oid, const void *value, size_t nbytes,
				  struct ck_err *err);

CK_MUST_CHECK int az_cert_load(X509 **out, const char *path, struct ck_err *err);
CK_MUST_CHECK int az_cert_save(const X509 *x, const char *path, struct ck_err *err);

/* Appends PEM, DER. */
CK_MUST_CHECK int az_cert_pem(struct ck_buf *out, const X509 *x, struct ck_err *err);
CK_MUST_CHECK int az_cert_der(struct ck_buf *out, const X509 *x, struct ck_err *err);

#endif
