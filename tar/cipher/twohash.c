#include "tar/cipher/twohash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/hmac.h"
#include "tar/cipher/shani.h"

enum { BLOCK = 64 };

struct ck_twohash {
	/* By the CPU: the states of the digest and of the HMAC's inner hash. */
	bool by_cpu;
	uint32_t digest[8], inner[8];
	uint8_t outer_pad[BLOCK];
	uint8_t rest[BLOCK]; /* of the message, n_rest bytes */
	size_t n_rest;
	uint64_t len;
	/* By OpenSSL. */
	EVP_MD_CTX *md;
	EVP_MAC_CTX *mac; /* NULL without a key */
};

static const uint32_t initial[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static int begin_openssl(struct ck_twohash *t, const uint8_t key[32], struct ck_err *err)
{
	t->md = EVP_MD_CTX_new();
	t->mac = key ? ck_hmac_new(key) : NULL;
	if (!t->md || (key && !t->mac) || !EVP_DigestInit_ex(t->md, EVP_sha256(), NULL))
		return ck_nomem(err, "hashing");
	return 0;
}

/* RFC 2104: the inner hash begins with the padded key. */
static void begin(struct ck_twohash *t, const uint8_t key[32])
{
	uint8_t pad[BLOCK];
	uint32_t unused[8] = { 0 };

	for (size_t i = 0; i < BLOCK; i++) {
		uint8_t byte = i < 32 ? key[i] : 0;
		pad[i] = byte ^ 0x36;
		t->outer_pad[i] = byte ^ 0x5c;
	}
	memcpy(t->digest, initial, sizeof initial);
	memcpy(t->inner, initial, sizeof initial);
	ck_shani_two(t->inner, unused, pad, 1);
	ck_wipe(pad, sizeof pad);
}

int ck_twohash_new_by(struct ck_twohash **out, bool cpu, const uint8_t key[32], struct ck_err *err)
{
	int rc = 0;

	if (cpu && (!key || !ck_shani_usable()))
		return ck_fail(err, -ENOTSUP, "not two hashes, or not by this CPU");
	struct ck_twohash *t = ck_secret_alloc(sizeof *t); /* the pads give the key away */
	if (!t)
		return ck_nomem(err, "in the arena for keys");
	t->by_cpu = cpu;
	if (cpu)
		begin(t, key);
	else
		rc = begin_openssl(t, key, err);
	if (rc < 0)
		ck_twohash_free(t);
	else
		*out = t;
	return rc;
}

int ck_twohash_new(struct ck_twohash **out, const uint8_t key[32], struct ck_err *err)
{
	/* One hash alone OpenSSL does as fast. */
	return ck_twohash_new_by(out, key && ck_shani_usable(), key, err);
}

void ck_twohash_free(struct ck_twohash *t)
{
	if (!t)
		return;
	EVP_MD_CTX_free(t->md);
	EVP_MAC_CTX_free(t->mac);
	ck_secret_dealloc(t, sizeof *t);
}

static void update(struct ck_twohash *t, const uint8_t *p, size_t nbytes)
{
	t->len += nbytes;
	if (t->n_rest) {
		size_t n = nbytes < BLOCK - t->n_rest ? nbytes : BLOCK - t->n_rest;
		memcpy(t->rest + t->n_rest, p, n);
		t->n_rest += n;
		p += n;
		nbytes -= n;
		if (t->n_rest < BLOCK)
			return;
		ck_shani_two(t->digest, t->inner, t->rest, 1);
		t->n_rest = 0;
	}
	ck_shani_two(t->digest, t->inner, p, nbytes / BLOCK);
	t->n_rest = nbytes % BLOCK;
	if (t->n_rest)
		memcpy(t->rest, p + nbytes - t->n_rest, t->n_rest);
}

int ck_twohash_update(struct ck_twohash *t, const void *p, size_t nbytes, struct ck_err *err)
{
	if (t->by_cpu)
		update(t, p, nbytes);
	else if (!EVP_DigestUpdate(t->md, p, nbytes) ||
		 (t->mac && !EVP_MAC_update(t->mac, p, nbytes)))
		return ck_fail(err, -EIO, "SHA-256 failed");
	return 0;
}

/* The padding of a message of LEN bytes whose last REST are in BLOCKS (FIPS 180-4 section
 * 5.1.1); returns how many blocks that makes. */
static size_t pad(uint8_t blocks[2 * BLOCK], size_t rest, uint64_t len)
{
	size_t n = rest + 9 <= BLOCK ? 1 : 2;

	memset(blocks + rest, 0, 2 * BLOCK - rest);
	blocks[rest] = 0x80;
	for (size_t i = 0; i < 8; i++)
		blocks[n * BLOCK - 1 - i] = (uint8_t)(len * 8 >> (8 * i));
	return n;
}

static void put(uint8_t out[32], const uint32_t h[8])
{
	for (size_t i = 0; i < 32; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void final(struct ck_twohash *t, uint8_t digest[32], uint8_t hmac[32])
{
	uint8_t blocks[2 * BLOCK], outer[BLOCK + 32];
	uint32_t unused[8] = { 0 };

	/* The inner hash has a block more before the message, and so another length. */
	memcpy(blocks, t->rest, t->n_rest);
	ck_shani_two(t->digest, unused, blocks, pad(blocks, t->n_rest, t->len));
	memcpy(blocks, t->rest, t->n_rest);
	ck_shani_two(t->inner, unused, blocks, pad(blocks, t->n_rest, t->len + BLOCK));
	put(digest, t->digest);
	memcpy(outer, t->outer_pad, BLOCK);
	put(outer + BLOCK, t->inner);
	ck_sha256(hmac, outer, sizeof outer);
	ck_wipe(outer, sizeof outer);
}

int ck_twohash_final(struct ck_twohash *t, uint8_t digest[32], uint8_t hmac[32], struct ck_err *err)
{
	size_t n = 32;

	memset(hmac, 0, 32);
	if (t->by_cpu)
		final(t, digest, hmac);
	else if (!EVP_DigestFinal_ex(t->md, digest, NULL) ||
		 (t->mac && (!EVP_MAC_final(t->mac, hmac, &n, 32) || n != 32)))
		return ck_fail(err, -EIO, "SHA-256 failed");
	return 0;
}
