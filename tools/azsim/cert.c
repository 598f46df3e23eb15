#include "tools/azsim/cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static int set_name(X509 *x, const struct az_cert_spec *s, struct ck_err *err)
{
	X509_NAME *n = X509_get_subject_name(x);
	const struct {
		const char *field, *value;
	} parts[] = { { "O", s->org }, { "OU", s->unit }, { "CN", s->cn } };

	for (size_t i = 0; i < 3; i++)
		if (parts[i].value && X509_NAME_add_entry_by_txt(
					  n, parts[i].field, MBSTRING_UTF8,
					  (const unsigned char *)parts[i].value, -1, -1, 0) != 1)
			return az_ssl_fail(err, "cannot name a certificate");
	if (X509_set_issuer_name(x, s->issuer ? X509_get_subject_name(s->issuer) : n) != 1)
		return az_ssl_fail(err, "cannot name a certificate's issuer");
	return 0;
}

static int add_ext(X509 *x, X509 *issuer, int nid, const char *value, struct ck_err *err)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	int ok = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok ? 0 : az_ssl_fail(err, "cannot add a certificate extension");
}

static int add_names(X509 *x, const struct az_cert_spec *s, struct ck_err *err)
{
	CK_BUF list = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_dns; i++)
		rc = ck_buf_addf(&list, err, "%sDNS:%s", i ? "," : "", s->dns[i]);
	if (rc == 0 && list.len)
		rc = add_ext(x, s->issuer, NID_subject_alt_name, ck_buf_str(&list), err);
	return rc;
}

static int add_extensions(X509 *x, const struct az_cert_spec *s, struct ck_err *err)
{
	int rc = add_ext(x, s->issuer, NID_subject_key_identifier, "hash", err);

	if (rc == 0)
		rc = add_ext(x, s->issuer, NID_authority_key_identifier, "keyid:always", err);
	if (rc == 0 && s->ca)
		rc = add_ext(x, s->issuer, NID_basic_constraints, "critical,CA:TRUE", err);
	if (rc == 0 && s->ca)
		rc = add_ext(x, s->issuer, NID_key_usage, "critical,keyCertSign,cRLSign", err);
	if (rc == 0 && s->tls)
		rc = add_ext(x, s->issuer, NID_key_usage,
			     "critical,digitalSignature,keyEncipherment", err);
	if (rc == 0 && s->tls)
		rc = add_ext(x, s->issuer, NID_ext_key_usage, "clientAuth,serverAuth", err);
	if (rc == 0)
		rc = add_names(x, s, err);
	if (rc == 0 && s->extend)
		rc = s->extend(x, s->extend_arg, err);
	return rc;
}

static int sign(X509 *x, const struct az_cert_spec *s, struct ck_err *err)
{
	EVP_PKEY *key = s->issuer ? s->issuer_key : s->key;
	CK_AUTO(az_mdctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *p;

	if (!c || EVP_DigestSignInit(c, &p, s->pss ? EVP_sha384() : EVP_sha256(), NULL, key) != 1)
		return az_ssl_fail(err, "cannot sign a certificate");
	if (s->pss && (EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) != 1 ||
		       EVP_PKEY_CTX_set_rsa_mgf1_md(p, EVP_sha384()) != 1 ||
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) != 1))
		return az_ssl_fail(err, "cannot sign a certificate");
	return X509_sign_ctx(x, c) > 0 ? 0 : az_ssl_fail(err, "cannot sign a certificate");
}

int az_cert_make(X509 **out, const struct az_cert_spec *s, struct ck_err *err)
{
	AZ_X509 *x = X509_new();
	uint64_t serial;

	if (!x || RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
		return az_ssl_fail(err, "cannot make a certificate");
	if (X509_set_version(x, X509_VERSION_3) != 1 ||
	    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) != 1 ||
	    !X509_gmtime_adj(X509_getm_notBefore(x), s->from_s) ||
	    !X509_gmtime_adj(X509_getm_notAfter(x), s->to_s) || X509_set_pubkey(x, s->key) != 1)
		return az_ssl_fail(err, "cannot fill a certificate");
	int rc = set_name(x, s, err);
	if (rc == 0)
		rc = add_extensions(x, s, err);
	if (rc == 0)
		rc = sign(x, s, err);
	if (rc == 0)
		*out = ck_take(x);
	return rc;
}

int az_cert_keep(X509 **out, const char *path, const struct az_cert_spec *spec, struct ck_err *err)
{
	if (access(path, F_OK) == 0)
		return az_cert_load(out, path, err);
	int rc = az_cert_make(out, spec, err);
	return rc < 0 ? rc : az_cert_save(*out, path, err);
}

int az_cert_add_raw(X509 *x, const char *oid, const void *value, size_t nbytes, struct ck_err *err)
{
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e = NULL;
	int ok = o && v && ASN1_OCTET_STRING_set(v, value, (int)nbytes) == 1 &&
		 (e = X509_EXTENSION_create_by_OBJ(NULL, o, 0, v)) && X509_add_ext(x, e, -1) == 1;

	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(v);
	ASN1_OBJECT_free(o);
	return ok ? 0 : az_ssl_fail(err, "cannot add a certificate extension");
}

int az_cert_load(X509 **out, const char *path, struct ck_err *err)
{
	CK_AUTO(az_bio_freep) BIO *b = BIO_new_file(path, "r");

	*out = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	if (!*out) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG, "%s holds no PEM certificate", path);
	}
	return 0;
}

int az_cert_save(const X509 *x, const char *path, struct ck_err *err)
{
	CK_BUF pem = { 0 };
	int rc = az_cert_pem(&pem, x, err);

	return rc < 0 ? rc : ck_file_write(path, pem.data, pem.len, 0644, err);
}

int az_cert_pem(struct ck_buf *out, const X509 *x, struct ck_err *err)
{
	CK_AUTO(az_bio_freep) BIO *b = BIO_new(BIO_s_mem());
	char *p;

	if (!b || PEM_write_bio_X509(b, x) != 1)
		return az_ssl_fail(err, "cannot write a certificate as PEM");
	long n = BIO_get_mem_data(b, &p);
	return ck_buf_add(out, p, (size_t)n, err);
}

int az_cert_der(struct ck_buf *out, const X509 *x, struct ck_err *err)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	if (n < 0)
		return az_ssl_fail(err, "cannot write a certificate as DER");
	int rc = ck_buf_add(out, der, (size_t)n, err);
	OPENSSL_free(der);
	return rc;
}
