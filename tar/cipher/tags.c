#include "tar/cipher/tags.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

int ck_tags_init(struct ck_tags *t, uint64_t len, struct ck_err *err)
{
	struct ck_tags new = { .len = len };

	new.n_tags = (size_t)(len / CK_TAG_CHUNK + (len % CK_TAG_CHUNK != 0));
	int rc = ck_secret_new(&new.key, 32, err);
	if (rc < 0)
		return rc;
	new.tags = calloc(new.n_tags ? new.n_tags : 1, CK_TAG_LEN);
	if (!new.tags)
		rc = ck_nomem(err, "making chunk tags");
	else if (RAND_priv_bytes(new.key.data, 32) != 1)
		rc = ck_fail(err, -EIO, "no randomness for chunk tags");
	if (rc < 0)
		ck_tags_free(&new);
	else
		*t = new;
	return rc;
}

void ck_tags_free(struct ck_tags *t)
{
	ck_secret_free(&t->key);
	free(t->tags);
	*t = (struct ck_tags){ 0 };
}

/* The tag of chunk IDX = P[0..NBYTES), with a context that already has the key. */
static bool tag(EVP_CIPHER_CTX *c, uint64_t idx, const uint8_t *p, size_t nbytes,
		uint8_t out[CK_TAG_LEN])
{
	uint8_t nonce[12] = { 0 };
	int n;

	for (int i = 0; i < 8; i++)
		nonce[11 - i] = (uint8_t)(idx >> (8 * i));
	return EVP_EncryptInit_ex(c, NULL, NULL, NULL, nonce) &&
	       EVP_EncryptUpdate(c, NULL, &n, p, (int)nbytes) && EVP_EncryptFinal_ex(c, out, &n) &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, CK_TAG_LEN, out);
}

/* Calls for each chunk in P: checks against the table, or records when SET. */
static int each_chunk(const struct ck_tags *t, uint64_t idx, const uint8_t *p, size_t nbytes,
		      uint8_t *set, uint64_t *bad, struct ck_err *err)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	bool ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, t->key.data, NULL);
	int rc = 0;

	for (; ok && rc == 0 && nbytes; idx++) {
		uint8_t got[CK_TAG_LEN];
		size_t n = idx < t->n_tags ? ck_tags_chunk_len(t, idx) : 0;
		if (n == 0 || n > nbytes) {
			rc = ck_fail(err, -EINVAL, "not whole chunks of the blob");
			break;
		}
		ok = tag(c, idx, p, n, got);
		if (ok && set) {
			memcpy(set + idx * CK_TAG_LEN, got, CK_TAG_LEN);
		} else if (ok && CRYPTO_memcmp(got, t->tags + idx * CK_TAG_LEN, CK_TAG_LEN) != 0) {
			*bad = idx;
			rc = ck_fail(err, -EBADMSG, "chunk tag differs");
		}
		p += n;
		nbytes -= n;
	}
	EVP_CIPHER_CTX_free(c);
	return ok ? rc : ck_fail(err, -EIO, "AES-256-GMAC failed");
}

int ck_tags_set(struct ck_tags *t, uint64_t first, const uint8_t *p, size_t nbytes,
		struct ck_err *err)
{
	return each_chunk(t, first, p, nbytes, t->tags, NULL, err);
}

int ck_tags_check(const struct ck_tags *t, uint64_t first, const uint8_t *p, size_t nbytes,
		  uint64_t *bad, struct ck_err *err)
{
	return each_chunk(t, first, p, nbytes, NULL, bad, err);
}
