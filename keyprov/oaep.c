#include "keyprov/oaep.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static void ctx_freep(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

size_t ck_rsa_size(const EVP_PKEY *key)
{
	int n = EVP_PKEY_is_a(key, "RSA") ? EVP_PKEY_get_size(key) : 0;

	return n > 0 ? (size_t)n : 0;
}

bool ck_oaep_fits(const EVP_PKEY *key, const EVP_MD *md, size_t nbytes)
{
	size_t k = ck_rsa_size(key), overhead = 2 * (size_t)EVP_MD_get_size(md) + 2;

	return k >= overhead && nbytes <= k - overhead;
}

/* A context set up for KEY by INIT (EVP_PKEY_encrypt_init or _decrypt_init). */
static EVP_PKEY_CTX *ctx_new(EVP_PKEY *key, const EVP_MD *md, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);

	if (c && init(c) > 0 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) > 0 &&
	    EVP_PKEY_CTX_set_rsa_oaep_md(c, md) > 0 && EVP_PKEY_CTX_set_rsa_mgf1_md(c, md) > 0)
		return c;
	EVP_PKEY_CTX_free(c);
	return NULL;
}

int ck_oaep_encrypt(EVP_PKEY *key, const EVP_MD *md, const void *p, size_t nbytes,
		    struct ck_buf *out, struct ck_err *err)
{
	size_t k = ck_rsa_size(key);

	if (k == 0)
		return ck_fail(err, -EINVAL, "the public key is not an RSA key");
	if (!ck_oaep_fits(key, md, nbytes))
		return ck_fail(err, -EFBIG, "%zu bytes do not fit in a block of RSA-%zu", nbytes,
			       8 * k);
	int rc = ck_buf_reserve(out, k, err);
	if (rc < 0)
		return rc;
	CK_AUTO(ctx_freep) EVP_PKEY_CTX *c = ctx_new(key, md, EVP_PKEY_encrypt_init);
	size_t n = k;
	if (!c || EVP_PKEY_encrypt(c, out->data + out->len, &n, p, nbytes) <= 0) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL cannot encrypt with this RSA key");
	}
	out->len += n;
	out->data[out->len] = 0;
	return 0;
}

int ck_oaep_decrypt(EVP_PKEY *key, const EVP_MD *md, const void *p, size_t nbytes,
		    struct ck_secret *out, struct ck_err *err)
{
	size_t k = ck_rsa_size(key);

	if (k == 0)
		return ck_fail(err, -EINVAL, "the private key is not an RSA key");
	if (nbytes != k)
		return ck_fail(err, -EBADMSG,
			       "the wrapped key has %zu bytes, this RSA-%zu key opens %zu", nbytes,
			       8 * k, k);
	CK_SECRET tmp = { 0 };
	int rc = ck_secret_new(&tmp, k, err);
	if (rc < 0)
		return rc;
	CK_AUTO(ctx_freep) EVP_PKEY_CTX *c = ctx_new(key, md, EVP_PKEY_decrypt_init);
	size_t n = k;
	if (!c || EVP_PKEY_decrypt(c, tmp.data, &n, p, nbytes) <= 0) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG,
			       "the wrapped key does not open with this RSA key: it was "
			       "wrapped for another one, or is damaged");
	}
	rc = ck_secret_new(out, n, err);
	if (rc == 0)
		memcpy(out->data, tmp.data, n);
	return rc;
}
