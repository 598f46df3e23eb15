#include "tools/azsim/keywrap.h"

#include <errno.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/secret.h"

static void cipher_freep(EVP_CIPHER **c)
{
	EVP_CIPHER_free(*c);
}

static void cctx_freep(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

int az_kwp_wrap(struct ck_buf *out, const uint8_t *kek, size_t kek_len, const void *p,
		size_t nbytes, struct ck_err *err)
{
	const char *name = kek_len == 16   ? "AES-128-WRAP-PAD"
			   : kek_len == 24 ? "AES-192-WRAP-PAD"
			   : kek_len == 32 ? "AES-256-WRAP-PAD"
					   : NULL;
	if (!name || nbytes == 0 || nbytes > 1 << 20)
		return ck_fail(err, -EINVAL, "cannot wrap %zu bytes under a key of %zu", nbytes,
			       kek_len);
	CK_AUTO(cipher_freep) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
	CK_AUTO(cctx_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int rc = ck_buf_reserve(out, nbytes + 16, err);
	if (rc < 0)
		return rc;
	int n = 0, last = 0;
	if (!cipher || !c || EVP_EncryptInit_ex2(c, cipher, kek, NULL, NULL) != 1 ||
	    EVP_EncryptUpdate(c, out->data + out->len, &n, p, (int)nbytes) != 1 ||
	    EVP_EncryptFinal_ex(c, out->data + out->len + n, &last) != 1)
		return az_ssl_fail(err, "cannot wrap a key");
	out->len += (size_t)(n + last);
	out->data[out->len] = 0;
	return 0;
}

const EVP_MD *az_wrap_hash(const char *enc)
{
	if (strcmp(enc, "CKM_RSA_AES_KEY_WRAP") == 0)
		return EVP_sha1();
	if (strcmp(enc, "RSA_AES_KEY_WRAP_256") == 0)
		return EVP_sha256();
	if (strcmp(enc, "RSA_AES_KEY_WRAP_384") == 0)
		return EVP_sha384();
	return NULL;
}

static int oaep(struct ck_buf *out, const EVP_MD *hash, EVP_PKEY *to, const uint8_t *p,
		size_t nbytes, struct ck_err *err)
{
	CK_AUTO(az_pctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(to, NULL);
	uint8_t block[1024];
	size_t n = sizeof block;

	if (!c || EVP_PKEY_encrypt_init(c) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(c, hash) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(c, hash) != 1 ||
	    EVP_PKEY_encrypt(c, block, &n, p, nbytes) != 1)
		return az_ssl_fail(err, "cannot encrypt to the wrapping key");
	return ck_buf_add(out, block, n, err);
}

int az_rsa_aes_wrap(struct ck_buf *out, const EVP_MD *hash, EVP_PKEY *to, const void *p,
		    size_t nbytes, struct ck_err *err)
{
	uint8_t kek[32];

	if (RAND_bytes(kek, sizeof kek) != 1)
		return az_ssl_fail(err, "cannot make a key");
	int rc = oaep(out, hash, to, kek, sizeof kek, err);
	if (rc == 0)
		rc = az_kwp_wrap(out, kek, sizeof kek, p, nbytes, err);
	ck_wipe(kek, sizeof kek);
	return rc;
}
