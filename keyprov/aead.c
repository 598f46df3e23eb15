#include "keyprov/aead.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <string.h>

static const struct ck_enc encs[] = {
	{ "A128GCM", 16, CK_GCM_IV, CK_GCM_TAG, "AES-128-GCM", NULL },
	{ "A192GCM", 24, CK_GCM_IV, CK_GCM_TAG, "AES-192-GCM", NULL },
	{ "A256GCM", 32, CK_GCM_IV, CK_GCM_TAG, "AES-256-GCM", NULL },
	{ "A128CBC-HS256", 32, 16, 16, "AES-128-CBC", "SHA256" },
	{ "A192CBC-HS384", 48, 16, 24, "AES-192-CBC", "SHA384" },
	{ "A256CBC-HS512", 64, 16, 32, "AES-256-CBC", "SHA512" },
};

static void cipher_ctx_freep(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

static void mac_ctx_freep(EVP_MAC_CTX **c)
{
	EVP_MAC_CTX_free(*c);
}

#define CIPHER_CTX CK_AUTO(cipher_ctx_freep) EVP_CIPHER_CTX

const struct ck_enc *ck_enc_find(const char *name)
{
	for (size_t i = 0; i < sizeof encs / sizeof encs[0]; i++)
		if (strcmp(encs[i].name, name) == 0)
			return &encs[i];
	return NULL;
}

static int not_authentic(struct ck_err *err)
{
	ERR_clear_error();
	return ck_fail(err, -EBADMSG, "the content does not authenticate");
}

static int gcm_open(const EVP_CIPHER *cipher, const uint8_t *key, const struct ck_sealed *s,
		    uint8_t *out, struct ck_err *err)
{
	CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n, end;
	void *tag = (void *)(uintptr_t)s->tag; /* set only: not written to */

	if (!c || EVP_DecryptInit_ex(c, cipher, NULL, key, s->iv) <= 0 ||
	    (s->aad_len && EVP_DecryptUpdate(c, NULL, &n, s->aad, (int)s->aad_len) <= 0) ||
	    EVP_DecryptUpdate(c, out, &n, s->data, (int)s->data_len) <= 0 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, (int)s->tag_len, tag) <= 0 ||
	    EVP_DecryptFinal_ex(c, out + n, &end) <= 0)
		return not_authentic(err);
	return 0;
}

/* MAC = HMAC(key, aad || iv || data || bits of aad as 64-bit big-endian). */
static bool cbc_mac(const struct ck_enc *enc, const uint8_t *key, const struct ck_sealed *s,
		    uint8_t out[EVP_MAX_MD_SIZE])
{
	uint8_t bits[8];
	for (size_t i = 0; i < 8; i++)
		bits[i] = (uint8_t)((uint64_t)s->aad_len * 8 >> (56 - 8 * i));
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", (char *)(uintptr_t)enc->mac_hash, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	CK_AUTO(mac_ctx_freep) EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
	EVP_MAC_free(mac);
	size_t n;
	return c && EVP_MAC_init(c, key, enc->key_len / 2, params) > 0 &&
	       EVP_MAC_update(c, s->aad, s->aad_len) > 0 &&
	       EVP_MAC_update(c, s->iv, s->iv_len) > 0 &&
	       EVP_MAC_update(c, s->data, s->data_len) > 0 &&
	       EVP_MAC_update(c, bits, sizeof bits) > 0 &&
	       EVP_MAC_final(c, out, &n, EVP_MAX_MD_SIZE) > 0;
}

/* OUT has room for data_len bytes; *LEN is what the padding leaves. */
static int cbc_open(const struct ck_enc *enc, const EVP_CIPHER *cipher, const uint8_t *key,
		    const struct ck_sealed *s, uint8_t *out, size_t *len, struct ck_err *err)
{
	uint8_t mac[EVP_MAX_MD_SIZE];

	if (!cbc_mac(enc, key, s, mac) || CRYPTO_memcmp(mac, s->tag, enc->tag_len) != 0)
		return not_authentic(err);
	CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n, end;
	if (!c || EVP_DecryptInit_ex(c, cipher, NULL, key + enc->key_len / 2, s->iv) <= 0 ||
	    EVP_DecryptUpdate(c, out, &n, s->data, (int)s->data_len) <= 0 ||
	    EVP_DecryptFinal_ex(c, out + n, &end) <= 0)
		return not_authentic(err);
	*len = (size_t)n + (size_t)end;
	return 0;
}

int ck_enc_open(const struct ck_enc *enc, const struct ck_secret *key, const struct ck_sealed *s,
		struct ck_secret *out, struct ck_err *err)
{
	if (key->len != enc->key_len)
		return ck_fail(err, -EBADMSG, "the content key has %zu bytes, %s takes %zu",
			       key->len, enc->name, enc->key_len);
	if (s->iv_len != enc->iv_len || s->tag_len != enc->tag_len)
		return ck_fail(err, -EBADMSG, "IV or tag is of the wrong length for %s", enc->name);
	if (s->data_len > INT_MAX / 2 || s->aad_len > INT_MAX / 2)
		return ck_fail(err, -EBADMSG, "the content is too long");
	CK_SECRET tmp = { 0 };
	/* CBC's last block is written before its padding is taken off. */
	int rc = ck_secret_new(&tmp, s->data_len + 16, err);
	if (rc < 0)
		return rc;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, enc->cipher, NULL);
	size_t len = s->data_len;
	if (!cipher)
		rc = ck_fail(err, -EIO, "OpenSSL has no %s", enc->cipher);
	else if (enc->mac_hash)
		rc = cbc_open(enc, cipher, key->data, s, tmp.data, &len, err);
	else
		rc = gcm_open(cipher, key->data, s, tmp.data, err);
	EVP_CIPHER_free(cipher);
	if (rc < 0)
		return rc;
	rc = ck_secret_new(out, len, err);
	if (rc == 0)
		memcpy(out->data, tmp.data, len);
	return rc;
}

int ck_gcm_seal(const uint8_t key[32], const uint8_t iv[CK_GCM_IV], const struct ck_plain *in,
		uint8_t *out, struct ck_err *err)
{
	CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n, end;

	if (in->nbytes > INT_MAX || in->aad_len > INT_MAX || !c ||
	    EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, iv) <= 0 ||
	    (in->aad_len && EVP_EncryptUpdate(c, NULL, &n, in->aad, (int)in->aad_len) <= 0) ||
	    EVP_EncryptUpdate(c, out, &n, in->p, (int)in->nbytes) <= 0 ||
	    EVP_EncryptFinal_ex(c, out + n, &end) <= 0 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, CK_GCM_TAG, out + in->nbytes) <= 0) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL cannot encrypt with AES-256-GCM");
	}
	return 0;
}
