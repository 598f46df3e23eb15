#include "tools/azsim/pkey.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

int az_ssl_fail(struct ck_err *err, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return ck_fail(err, -EIO, "%s: %s", what, why ? why : "OpenSSL gave no reason");
}

int az_pkey_make(EVP_PKEY **out, const char *type, struct ck_err *err)
{
	*out = strncmp(type, "RSA:", 4) == 0
		   ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)strtoul(type + 4, NULL, 10))
		   : EVP_PKEY_Q_keygen(NULL, NULL, "EC", type);
	return *out ? 0 : az_ssl_fail(err, "cannot make a key");
}

int az_pkey_parse(EVP_PKEY **out, const void *pem, size_t nbytes, const char *name,
		  struct ck_err *err)
{
	if (nbytes > 1 << 20)
		return ck_fail(err, -EFBIG, "%s is too large for a key", name);
	CK_AUTO(az_bio_freep) BIO *b = BIO_new_mem_buf(pem, (int)nbytes);
	if (!b)
		return ck_nomem(err, "reading a key");
	/* An encrypted file must not stop to ask for its password. */
	*out = PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t) "");
	if (!*out) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG, "%s holds no PEM private key", name);
	}
	return 0;
}

int az_pkey_load(EVP_PKEY **out, const char *path, struct ck_err *err)
{
	CK_BUF pem = { .max = 1 << 20 };
	int rc = ck_file_read(&pem, path, err);

	return rc < 0 ? rc : az_pkey_parse(out, pem.data, pem.len, path, err);
}

int az_pkey_keep(EVP_PKEY **out, const char *path, const char *type, struct ck_err *err)
{
	if (access(path, F_OK) == 0)
		return az_pkey_load(out, path, err);
	AZ_PKEY *k = NULL;
	int rc = az_pkey_make(&k, type, err);
	if (rc == 0)
		rc = az_pkey_save(k, path, err);
	if (rc == 0)
		*out = ck_take(k);
	return rc;
}

int az_pkey_save(const EVP_PKEY *k, const char *path, struct ck_err *err)
{
	CK_BUF pem = { 0 };
	int rc = az_pkey_pem(&pem, k, err);

	return rc < 0 ? rc : ck_file_write(path, pem.data, pem.len, 0600, err);
}

static int add_bio(struct ck_buf *out, BIO *b, struct ck_err *err)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	return ck_buf_add(out, p, n > 0 ? (size_t)n : 0, err);
}

int az_pkey_pem(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err)
{
	CK_AUTO(az_bio_freep) BIO *b = BIO_new(BIO_s_secmem());

	if (!b || PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) != 1)
		return az_ssl_fail(err, "cannot write a key as PEM");
	return add_bio(out, b, err);
}

int az_pkey_public_pem(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err)
{
	CK_AUTO(az_bio_freep) BIO *b = BIO_new(BIO_s_mem());

	if (!b || PEM_write_bio_PUBKEY(b, k) != 1)
		return az_ssl_fail(err, "cannot write a public key as PEM");
	return add_bio(out, b, err);
}

int az_pkey_pkcs8(struct ck_buf *out, const EVP_PKEY *k, struct ck_err *err)
{
	CK_AUTO(az_bio_freep) BIO *b = BIO_new(BIO_s_secmem());

	if (!b || i2d_PKCS8PrivateKey_bio(b, k, NULL, NULL, 0, NULL, NULL) != 1)
		return az_ssl_fail(err, "cannot write a key as PKCS#8");
	return add_bio(out, b, err);
}
