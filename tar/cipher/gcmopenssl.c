/*
 * AES-256-GCM by OpenSSL. A context takes some 100 ns to make and 300 to key: contexts are
 * kept with the key, and only their nonce changes.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/secret.h"
#include "tar/cipher/gcmengine.h"

enum { N_IDLE = 8 }; /* as many threads at once find one ready */

struct key {
	pthread_mutex_t lock;
	uint8_t *bytes;			 /* in the arena */
	EVP_CIPHER_CTX *idle[2][N_IDLE]; /* by direction; NULL: none */
};

static bool usable(void)
{
	return true;
}

static void key_free(void *key)
{
	struct key *k = key;

	for (int i = 0; i < 2; i++)
		for (int n = 0; n < N_IDLE; n++)
			EVP_CIPHER_CTX_free(k->idle[i][n]);
	ck_secret_dealloc(k->bytes, CK_GCM_KEY);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static void *key_new(const uint8_t key[CK_GCM_KEY])
{
	struct key *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	pthread_mutex_init(&k->lock, NULL);
	k->bytes = ck_secret_alloc(CK_GCM_KEY);
	if (!k->bytes) {
		key_free(k);
		return NULL;
	}
	for (size_t i = 0; i < CK_GCM_KEY; i++)
		k->bytes[i] = key[i];
	return k;
}

static EVP_CIPHER_CTX *take(struct key *k, bool opening)
{
	EVP_CIPHER_CTX *c = NULL;

	pthread_mutex_lock(&k->lock);
	for (int n = 0; !c && n < N_IDLE; n++) {
		c = k->idle[opening][n];
		k->idle[opening][n] = NULL;
	}
	pthread_mutex_unlock(&k->lock);
	if (c)
		return c;
	c = EVP_CIPHER_CTX_new();
	if (c && !EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, k->bytes, NULL, !opening)) {
		EVP_CIPHER_CTX_free(c);
		c = NULL;
	}
	return c;
}

static void put(struct key *k, bool opening, EVP_CIPHER_CTX *c)
{
	pthread_mutex_lock(&k->lock);
	for (int n = 0; c && n < N_IDLE; n++) {
		if (!k->idle[opening][n]) {
			k->idle[opening][n] = c;
			c = NULL;
		}
	}
	pthread_mutex_unlock(&k->lock);
	EVP_CIPHER_CTX_free(c);
}

static int seal(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		uint8_t *out, uint8_t tag[CK_GCM_TAG])
{
	EVP_CIPHER_CTX *c = nbytes > INT_MAX ? NULL : take(key, false);
	uint8_t none[16];
	int n;

	if (!c)
		return -EIO;
	bool ok = EVP_CipherInit_ex(c, NULL, NULL, NULL, nonce, -1) &&
		  EVP_CipherUpdate(c, out, &n, in, (int)nbytes) &&
		  EVP_CipherFinal_ex(c, none, &n) &&
		  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, CK_GCM_TAG, tag);
	put(key, false, c);
	return ok ? 0 : -EIO;
}

static int open_(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		 uint8_t *out, const uint8_t tag[CK_GCM_TAG])
{
	EVP_CIPHER_CTX *c = nbytes > INT_MAX ? NULL : take(key, true);
	uint8_t none[16];
	int n;

	if (!c)
		return -EIO;
	/* EVP compares the tags itself, in constant time. */
	bool ok = EVP_CipherInit_ex(c, NULL, NULL, NULL, nonce, -1) &&
		  EVP_CipherUpdate(c, out, &n, in, (int)nbytes) &&
		  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, CK_GCM_TAG, (void *)(uintptr_t)tag);
	bool same = ok && EVP_CipherFinal_ex(c, none, &n);
	put(key, true, c);
	return same ? 0 : ok ? -EBADMSG : -EIO;
}

const struct ck_gcm_engine ck_gcm_openssl = { "openssl", usable, key_new, key_free, seal, open_ };
