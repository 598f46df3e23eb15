#include "tar/cipher/chunked.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"
#include "tar/cipher/gcmkey.h"

#define INFO "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM"

/* CHUNKS_MAX: the specification's 2^38. INFO_MAX: contexts are short names. */
enum { COMMITMENT = 32, INFO_MAX = 512 };
#define CHUNKS_MAX ((uint64_t)1 << 38)

struct ck_chunked {
	struct ck_gcmkey *gcm;
	uint8_t base_nonce[CK_GCM_NONCE];
};

/* What HKDF-Expand gives, in this order. */
struct derived {
	uint8_t key[CK_GCM_KEY], base_nonce[CK_GCM_NONCE], commitment[COMMITMENT];
};

uint64_t ck_chunked_sealed_len(uint64_t len)
{
	return CK_CHUNKED_HEADER + len + (len / CK_CHUNK + 1) * CK_CHUNK_TAG;
}

int ck_chunked_plain_len(uint64_t sealed_len, uint64_t *len, struct ck_err *err)
{
	uint64_t body = sealed_len - CK_CHUNKED_HEADER;

	if (sealed_len < CK_CHUNKED_HEADER + CK_CHUNK_TAG || body % CK_CHUNK_SEALED < CK_CHUNK_TAG)
		return ck_fail(err, -EBADMSG,
			       "no sealed message is %" PRIu64 " bytes long: it is truncated, or "
			       "something else",
			       sealed_len);
	if (body / CK_CHUNK_SEALED >= CHUNKS_MAX)
		return ck_fail(err, -EBADMSG, "a sealed message of %" PRIu64 " bytes is too long",
			       sealed_len);
	*len = body / CK_CHUNK_SEALED * CK_CHUNK + body % CK_CHUNK_SEALED - CK_CHUNK_TAG;
	return 0;
}

static int derive(struct derived *out, const uint8_t key[32],
		  const struct ck_chunked_context *context, const uint8_t salt[CK_CHUNKED_SALT],
		  struct ck_err *err)
{
	uint8_t info[INFO_MAX];
	size_t n = sizeof INFO; /* its NUL is the 0x00 that ends the AEAD's name */
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;

	if (context->len > sizeof info - n - CK_CHUNKED_SALT)
		return ck_fail(err, -EINVAL, "context of %zu bytes is too long", context->len);
	memcpy(info, INFO, n);
	memcpy(info + n, salt, CK_CHUNKED_SALT);
	n += CK_CHUNKED_SALT;
	memcpy(info + n, context->p, context->len);
	n += context->len;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){ "SHA512" }, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, 32),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, n),
		OSSL_PARAM_construct_end()
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool ok = c && EVP_KDF_derive(c, (unsigned char *)out, sizeof *out, params) == 1;
	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
	return ok ? 0 : ck_fail(err, -EIO, "HKDF-Expand failed");
}

static int from_derived(struct ck_chunked **out, const struct derived *d, struct ck_err *err)
{
	struct ck_chunked *c = ck_secret_alloc(sizeof *c);

	if (!c)
		return ck_nomem(err, "in the arena for keys");
	memcpy(c->base_nonce, d->base_nonce, sizeof c->base_nonce);
	int rc = ck_gcmkey_new(&c->gcm, d->key, err);
	if (rc < 0)
		ck_secret_dealloc(c, sizeof *c);
	else
		*out = c;
	return rc;
}

int ck_chunked_new(struct ck_chunked **out, const uint8_t key[32],
		   const struct ck_chunked_context *context, uint8_t header[CK_CHUNKED_HEADER],
		   struct ck_err *err)
{
	struct derived d;

	if (RAND_bytes(header, CK_CHUNKED_SALT) != 1)
		return ck_fail(err, -EIO, "no randomness for a salt");
	int rc = derive(&d, key, context, header, err);
	if (rc == 0) {
		memcpy(header + CK_CHUNKED_SALT, d.commitment, COMMITMENT);
		rc = from_derived(out, &d, err);
	}
	ck_wipe(&d, sizeof d);
	return rc;
}

int ck_chunked_open(struct ck_chunked **out, const uint8_t key[32],
		    const struct ck_chunked_context *context,
		    const uint8_t header[CK_CHUNKED_HEADER], struct ck_err *err)
{
	struct derived d;
	int rc = derive(&d, key, context, header, err);

	if (rc == 0 && CRYPTO_memcmp(d.commitment, header + CK_CHUNKED_SALT, COMMITMENT) != 0)
		rc = ck_fail(err, -EBADMSG,
			     "commitment differs: sealed under another key or for another use, or "
			     "damaged");
	if (rc == 0)
		rc = from_derived(out, &d, err);
	ck_wipe(&d, sizeof d);
	return rc;
}

void ck_chunked_free(struct ck_chunked *c)
{
	if (!c)
		return;
	ck_gcmkey_free(c->gcm);
	ck_secret_dealloc(c, sizeof *c);
}

static void nonce_of(const struct ck_chunked *c, uint64_t idx, uint8_t out[CK_GCM_NONCE])
{
	memcpy(out, c->base_nonce, CK_GCM_NONCE);
	for (size_t i = 0; i < 8; i++)
		out[CK_GCM_NONCE - 1 - i] ^= (uint8_t)(idx >> (8 * i));
}

int ck_chunked_seal(struct ck_chunked *c, uint64_t idx, const uint8_t *in, size_t nbytes,
		    uint8_t *out, struct ck_err *err)
{
	uint8_t nonce[CK_GCM_NONCE];

	if (nbytes > CK_CHUNK || idx >= CHUNKS_MAX)
		return ck_fail(err, -EINVAL, "chunk %" PRIu64 " of %zu bytes", idx, nbytes);
	nonce_of(c, idx, nonce);
	if (ck_gcmkey_seal(c->gcm, nonce, in, nbytes, out, out + nbytes) < 0)
		return ck_fail(err, -EIO, "AES-256-GCM failed");
	return 0;
}

int ck_chunked_unseal(struct ck_chunked *c, uint64_t idx, const uint8_t *in, size_t nbytes,
		      uint8_t *out, struct ck_err *err)
{
	uint8_t nonce[CK_GCM_NONCE];

	if (nbytes < CK_CHUNK_TAG || nbytes > CK_CHUNK_SEALED || idx >= CHUNKS_MAX)
		return ck_fail(err, -EINVAL, "chunk %" PRIu64 " of %zu bytes", idx, nbytes);
	nonce_of(c, idx, nonce);
	size_t n = nbytes - CK_CHUNK_TAG;
	int rc = ck_gcmkey_open(c->gcm, nonce, in, n, out, in + n);
	if (rc == -EBADMSG)
		return ck_fail(err, rc, "chunk %" PRIu64 " is not authentic", idx);
	return rc < 0 ? ck_fail(err, rc, "AES-256-GCM failed") : 0;
}

int ck_chunked_seal_all(const uint8_t key[32], const struct ck_chunked_context *context,
			const void *in, size_t nbytes, uint8_t *out, struct ck_err *err)
{
	CK_AUTO(ck_chunked_freep) struct ck_chunked *c = NULL;
	const uint8_t *from = in;
	int rc = ck_chunked_new(&c, key, context, out, err);

	out += CK_CHUNKED_HEADER;
	for (uint64_t idx = 0; rc == 0; idx++) {
		size_t n = nbytes < CK_CHUNK ? nbytes : CK_CHUNK;
		rc = ck_chunked_seal(c, idx, from, n, out, err);
		if (n < CK_CHUNK)
			break;
		from += n;
		nbytes -= n;
		out += n + CK_CHUNK_TAG;
	}
	return rc;
}

int ck_chunked_unseal_all(const uint8_t key[32], const struct ck_chunked_context *context,
			  const void *in, size_t nbytes, uint8_t *out, struct ck_err *err)
{
	CK_AUTO(ck_chunked_freep) struct ck_chunked *c = NULL;
	const uint8_t *from = in;
	uint64_t len;
	int rc = ck_chunked_plain_len(nbytes, &len, err);

	if (rc == 0)
		rc = ck_chunked_open(&c, key, context, from, err);
	if (rc < 0)
		return rc;
	from += CK_CHUNKED_HEADER;
	nbytes -= CK_CHUNKED_HEADER;
	for (uint64_t idx = 0; rc == 0 && nbytes; idx++) {
		size_t n = nbytes < CK_CHUNK_SEALED ? nbytes : CK_CHUNK_SEALED;
		rc = ck_chunked_unseal(c, idx, from, n, out + idx * CK_CHUNK, err);
		if (rc < 0) /* nothing of a message that is not whole */
			ck_wipe(out, (size_t)len);
		from += n;
		nbytes -= n;
	}
	return rc;
}
