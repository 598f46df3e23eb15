#include "attest/keywrap.h"

#include <errno.h>
#include <openssl/decoder.h>
#include <openssl/rsa.h>
#include <string.h>

#include "attest/jose.h"

enum { KEK_LEN = 32, KWP_MIN = 16 };

static int fail(struct ck_err *err)
{
	return ck_fail(err, -EBADMSG, "the wrapped key cannot be unwrapped with our runtime key");
}

static void cipher_freep(EVP_CIPHER **c)
{
	EVP_CIPHER_free(*c);
}

static void cipher_ctx_freep(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

static void pkey_ctx_freep(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

static const char *kwp_name(size_t kek_len)
{
	switch (kek_len) {
	case 16:
		return "AES-128-WRAP-PAD";
	case 24:
		return "AES-192-WRAP-PAD";
	case 32:
		return "AES-256-WRAP-PAD";
	default:
		return NULL;
	}
}

/* IN's first NBYTES bytes in a buffer of just that size. */
static int shrink(struct ck_secret *out, const struct ck_secret *in, size_t nbytes,
		  struct ck_err *err)
{
	int rc = ck_secret_new(out, nbytes, err);

	if (rc == 0)
		memcpy(out->data, in->data, nbytes);
	return rc;
}

int ck_kwp_unwrap(struct ck_secret *out, const uint8_t *kek, size_t kek_len, const uint8_t *p,
		  size_t nbytes, struct ck_err *err)
{
	const char *name = kwp_name(kek_len);
	CK_SECRET plain = { 0 };
	int n = 0;

	if (!name || nbytes < KWP_MIN || nbytes % 8 || nbytes > CK_WRAPPED_MAX)
		return fail(err);
	CK_AUTO(cipher_freep) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
	CK_AUTO(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	if (!cipher || !ctx)
		return ck_nomem(err, "unwrapping a key");
	int rc = ck_secret_new(&plain, nbytes, err);
	if (rc < 0)
		return rc;
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	if (EVP_DecryptInit_ex2(ctx, cipher, kek, NULL, NULL) != 1 ||
	    EVP_DecryptUpdate(ctx, plain.data, &n, p, (int)nbytes) != 1 || n <= 0)
		return fail(err);
	return shrink(out, &plain, (size_t)n, err);
}

static int oaep_open(struct ck_secret *kek, EVP_PKEY *key, const EVP_MD *md, const uint8_t *p,
		     size_t nbytes, struct ck_err *err)
{
	CK_AUTO(pkey_ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	CK_SECRET plain = { 0 };
	size_t len = nbytes;

	int rc = ck_secret_new(&plain, nbytes, err);
	if (rc < 0)
		return rc;
	if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) != 1)
		return ck_nomem(err, "unwrapping a key");
	if (EVP_PKEY_decrypt(ctx, plain.data, &len, p, nbytes) != 1 || len != KEK_LEN)
		return fail(err);
	return shrink(kek, &plain, len, err);
}

int ck_keywrap_open(struct ck_secret *out, EVP_PKEY *key, const char *enc, const uint8_t *p,
		    size_t nbytes, struct ck_err *err)
{
	const EVP_MD *md = strcmp(enc, CK_ENC_SHA256) == 0 ? EVP_sha256()
			   : strcmp(enc, CK_ENC_SHA1) == 0 ? EVP_sha1()
							   : NULL;
	int bytes = EVP_PKEY_get_size(key);
	CK_SECRET kek = { 0 };

	if (!md || bytes <= 0)
		return ck_fail(err, -EINVAL, "wrapping \"%.40s\" is not supported", enc);
	if (nbytes < (size_t)bytes || nbytes > CK_WRAPPED_MAX)
		return fail(err);
	int rc = oaep_open(&kek, key, md, p, (size_t)bytes, err);
	if (rc == 0)
		rc = ck_kwp_unwrap(out, kek.data, kek.len, p + bytes, nbytes - (size_t)bytes, err);
	return rc;
}

int ck_pkcs8_rsa(EVP_PKEY **out, const uint8_t *der, size_t nbytes, struct ck_err *err)
{
	CK_PKEY *key = NULL;
	const unsigned char *at = der;
	size_t left = nbytes;

	/* The decoder, not EVP_PKEY_fromdata: it keeps the private numbers in the secure
	 * heap; what it copies on the way is wiped when freed (ck_secret_init). */
	OSSL_DECODER_CTX *dec = OSSL_DECODER_CTX_new_for_pkey(&key, "DER", "PrivateKeyInfo", "RSA",
							      EVP_PKEY_KEYPAIR, NULL, NULL);
	if (!dec)
		return ck_nomem(err, "reading a released key");
	int ok = OSSL_DECODER_from_data(dec, &at, &left);
	OSSL_DECODER_CTX_free(dec);
	if (ok != 1 || !key || left != 0)
		return ck_fail(err, -EBADMSG, "the released key is no RSA key in PKCS #8");
	CK_AUTO(pkey_ctx_freep) EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (!check)
		return ck_nomem(err, "checking a released key");
	if (EVP_PKEY_check(check) != 1)
		return ck_fail(err, -EBADMSG, "the released private key is not consistent");
	*out = ck_take(key);
	return 0;
}
