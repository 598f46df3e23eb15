/* CTR at any offset, GMAC and chunk tags, against published vectors and OpenSSL. */
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "base/text.h"
#include "tar/cipher/ctr.h"
#include "tar/cipher/gcmengine.h"
#include "tar/cipher/tags.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt. */
static const char nist_key[] = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
static const char nist_counter[] = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
static const char nist_plain[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
				 "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
static const char nist_cipher[] =
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6";

static void test_ctr_vector(void **state)
{
	uint8_t key[32], nonce[16], plain[64], cipher[64], buf[64];
	struct ck_err err = { 0 };
	(void)state;
	assert_true(ck_unhex(key, 32, nist_key) && ck_unhex(nonce, 16, nist_counter));
	assert_true(ck_unhex(plain, 64, nist_plain) && ck_unhex(cipher, 64, nist_cipher));
	/* Every range of the stream gives the same bytes as the whole. */
	for (size_t off = 0; off <= 64; off++) {
		for (size_t n = 0; n <= 64 - off; n++) {
			memcpy(buf, plain + off, n);
			assert_works(ck_ctr_crypt(key, nonce, off, buf, n, &err), &err);
			assert_memory_equal(buf, cipher + off, n);
		}
	}
}

/* The counter carries through 32, 64 and all 128 bits, and wraps. */
static void test_ctr_carry(void **state)
{
	static const char *const nonces[] = {
		"000102030405060708090a0bffffffff",
		"0001020304050607ffffffffffffffff",
		"ffffffffffffffffffffffffffffffff",
		"fffffffffffffffffffffffffffffffe",
	};
	uint8_t key[32] = { 1, 2, 3 }, nonce[16], next[16], whole[160] = { 0 }, part[32];
	struct ck_err err = { 0 };
	(void)state;
	for (size_t i = 0; i < sizeof nonces / sizeof *nonces; i++) {
		assert_true(ck_unhex(nonce, 16, nonces[i]));
		memset(whole, 0, sizeof whole);
		assert_works(ck_ctr_crypt(key, nonce, 0, whole, sizeof whole, &err), &err);
		memcpy(next, nonce, 16);
		for (size_t block = 0; block < 8; block++) {
			/* Block B of this stream is block 0 of the stream that starts there. */
			memset(part, 0, sizeof part);
			assert_works(ck_ctr_crypt(key, next, 0, part, 32, &err), &err);
			assert_memory_equal(part, whole + 16 * block, 32);
			memset(part, 0, sizeof part);
			assert_works(ck_ctr_crypt(key, nonce, 16 * block, part, 32, &err), &err);
			assert_memory_equal(part, whole + 16 * block, 32);
			for (int k = 15; k >= 0 && ++next[k] == 0; k--)
				;
		}
	}
	/* 2^60 blocks further on nothing overflows on the way: the top byte moves. */
	memset(nonce, 0, 16);
	memset(next, 0, 16);
	next[8] = 0x10;
	memset(part, 0, 32);
	memset(whole, 0, 32);
	assert_works(ck_ctr_crypt(key, nonce, (1ULL << 60) * 8, part, 32, &err), &err);
	next[8] = 0x08;
	assert_works(ck_ctr_crypt(key, next, 0, whole, 32, &err), &err);
	assert_memory_equal(part, whole, 32);
}

static const struct ck_gcm_engine *const engines[] = { &ck_gcm_ipsec, &ck_gcm_openssl };

/* AES-256-GCM over AAD alone is GMAC. */
static const struct {
	const char *from, *key, *nonce, *aad, *tag;
} gmacs[] = {
	{ "NIST CAVP, gcmEncryptExtIV256.rsp, PTlen 0, AADlen 128, count 0",
	  "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
	  "d79cf22d504cc793c3fb6c8a", "b96baa8c1c75a671bfb2d08d06be5f36",
	  "3e5d486aa2e30b22e040b85723a06e76" },
	{ "IEEE 802.1AE test vectors (Randall, 2011), 2.1.2, 54-byte authentication",
	  "e3c08a8f06c6e3ad95a70557b23f75483ce33021a9c72b7025666204c69c0b72",
	  "12153524c0895e81b2c28465",
	  "d609b1f056637a0d46df998d88e5222ab2c2846512153524c0895e8108000f101112131415161718191a1b1c"
	  "1d1e1f202122232425262728292a2b2c2d2e2f30313233340001",
	  "2f0bc5af409e06d609ea8b7d0fa5ea50" },
};

static void test_gmac_vectors(void **state)
{
	(void)state;
	for (size_t e = 0; e < N_OF(engines); e++) {
		if (!engines[e]->usable()) {
			printf("# %s is not for this CPU\n", engines[e]->name);
			continue;
		}
		for (size_t i = 0; i < N_OF(gmacs); i++) {
			uint8_t key[32], nonce[12], aad[70], want[16], got[16];
			size_t n = strlen(gmacs[i].aad) / 2;
			struct ck_gcmkey *k = NULL;
			struct ck_err err = { 0 };
			assert_true(ck_unhex(key, 32, gmacs[i].key) &&
				    ck_unhex(nonce, 12, gmacs[i].nonce) &&
				    ck_unhex(aad, n, gmacs[i].aad) &&
				    ck_unhex(want, 16, gmacs[i].tag));
			assert_works(ck_gcmkey_new_with(&k, engines[e], key, &err), &err);
			assert_int_equal(ck_gcmkey_seal(k, nonce, aad, n, NULL, got), 0);
			if (memcmp(got, want, 16) != 0)
				fail_msg("%s: %s", engines[e]->name, gmacs[i].from);
			ck_gcmkey_free(k);
		}
	}
}

/* GMAC as plain OpenSSL has it. */
static void gmac(uint8_t out[16], const uint8_t key[32], const uint8_t nonce[12], const uint8_t *p,
		 size_t nbytes)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	assert_true(c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) &&
		    EVP_EncryptUpdate(c, NULL, &n, p, (int)nbytes) &&
		    EVP_EncryptFinal_ex(c, out, &n) &&
		    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out));
	EVP_CIPHER_CTX_free(c);
}

/* Both engines at every length around their own block sizes, and at a chunk's. */
static void test_gmac_lengths(void **state)
{
	uint8_t key[32] = { 9, 8, 7 }, nonce[12] = { 1 }, want[16], got[16];
	CK_BUF p = { 0 };
	(void)state;
	mk_bytes(&p, 1, 3 * CK_TAG_CHUNK);
	for (size_t e = 0; e < N_OF(engines); e++) {
		struct ck_gcmkey *k = NULL;
		struct ck_err err = { 0 };
		if (!engines[e]->usable())
			continue;
		assert_works(ck_gcmkey_new_with(&k, engines[e], key, &err), &err);
		for (size_t n = 0; n <= p.len; n = n < 1100 ? n + 1 : n * 5 / 4) {
			nonce[11] = (uint8_t)n;
			gmac(want, key, nonce, p.data, n);
			assert_int_equal(ck_gcmkey_seal(k, nonce, p.data, n, NULL, got), 0);
			assert_memory_equal(got, want, 16);
		}
		ck_gcmkey_free(k);
	}
}

/* A chunk's tag is its GMAC under the table's key with its number for a nonce: what indexes
 * that were kept have in them. */
static void test_tag_definition(void **state)
{
	enum { LEN = 2 * CK_TAG_CHUNK + 100 };
	struct ck_err err = { 0 };
	CK_BUF blob = { 0 };
	(void)state;
	mk_bytes(&blob, 2, LEN);
	for (int ready = 0; ready < 2; ready++) {
		struct ck_tags made = { 0 }, t = { 0 };
		uint64_t bad;
		assert_works(ck_tags_init(&made, LEN, &err), &err);
		assert_non_null(made.gmac); /* once, not for each call */
		assert_works(ck_tags_set(&made, 0, blob.data, LEN, &err), &err);
		for (uint8_t i = 0; i < 3; i++) {
			uint8_t nonce[12] = { [11] = i }, want[16];
			gmac(want, made.key.data, nonce, blob.data + i * CK_TAG_CHUNK,
			     ck_tags_chunk_len(&made, i));
			assert_memory_equal(made.tags + i * CK_TAG_LEN, want, CK_TAG_LEN);
		}
		/* The same table as one that was kept, its key expanded beforehand or not. */
		t = (struct ck_tags){ .len = LEN, .n_tags = made.n_tags, .tags = made.tags };
		assert_works(ck_secret_new(&t.key, 32, &err), &err);
		memcpy(t.key.data, made.key.data, 32);
		if (ready)
			assert_works(ck_tags_ready(&t, &err), &err);
		assert_works(ck_tags_check(&t, 0, blob.data, LEN, &bad, &err), &err);
		t.key.data[0] ^= 1;
		assert_int_equal(ck_tags_check(&t, 0, blob.data, LEN, &bad, &err),
				 ready ? 0 : -EBADMSG);
		ck_tags_free_key(&t);
		assert_true(!t.key.data && !t.gmac && t.tags);
		ck_tags_free(&made);
	}
}

/* The number of a chunk counts in all of its bytes, the highest first. */
static void test_tag_number(void **state)
{
	enum { IDX = 0x010203 };
	const uint8_t nonce[12] = { [9] = 1, 2, 3 };
	uint8_t want[16];
	struct ck_err err = { 0 };
	struct ck_tags t = { 0 };
	CK_BUF p = { 0 };
	(void)state;
	mk_bytes(&p, 3, CK_TAG_CHUNK);
	assert_works(ck_tags_init(&t, (IDX + 1ULL) * CK_TAG_CHUNK, &err), &err);
	assert_works(ck_tags_set(&t, IDX, p.data, CK_TAG_CHUNK, &err), &err);
	gmac(want, t.key.data, nonce, p.data, CK_TAG_CHUNK);
	assert_memory_equal(t.tags + (size_t)IDX * CK_TAG_LEN, want, CK_TAG_LEN);
	ck_tags_free(&t);
}

static void test_tags(void **state)
{
	enum { LEN = 3 * CK_TAG_CHUNK + 5 };
	CK_BUF blob = { 0 };
	struct ck_tags t = { 0 };
	struct ck_err err = { 0 };
	uint64_t bad = 99;
	(void)state;
	mk_bytes(&blob, 1, LEN);
	assert_works(ck_tags_init(&t, LEN, &err), &err);
	assert_int_equal(t.n_tags, 4);
	assert_works(ck_tags_set(&t, 0, blob.data, 2 * CK_TAG_CHUNK, &err), &err);
	assert_works(ck_tags_set(&t, 2, blob.data + 2 * CK_TAG_CHUNK, LEN - 2 * CK_TAG_CHUNK, &err),
		     &err);
	for (uint64_t first = 0; first < 4; first++)
		assert_works(ck_tags_check(&t, first, blob.data + first * CK_TAG_CHUNK,
					   LEN - first * CK_TAG_CHUNK, &bad, &err),
			     &err);
	/* Any flipped bit is found in its own chunk. */
	for (size_t at = 0; at < LEN; at += 9973) {
		blob.data[at] ^= 0x20;
		assert_fails(ck_tags_check(&t, 0, blob.data, LEN, &bad, &err), -EBADMSG, &err,
			     "chunk tag");
		assert_int_equal(bad, at / CK_TAG_CHUNK);
		blob.data[at] ^= 0x20;
	}
	/* A right chunk in the wrong place, a short one, one too many. */
	assert_int_equal(ck_tags_check(&t, 1, blob.data, CK_TAG_CHUNK, &bad, &err), -EBADMSG);
	assert_int_equal(ck_tags_check(&t, 0, blob.data, CK_TAG_CHUNK - 1, &bad, &err), -EINVAL);
	assert_int_equal(ck_tags_check(&t, 4, blob.data, 5, &bad, &err), -EINVAL);
	ck_tags_free(&t);
}

static struct {
	struct ck_tags tags;
	struct ck_buf blob;
} many;

static void *check_many(void *arg)
{
	uint64_t bad, seed = (uint64_t)(uintptr_t)arg;
	struct ck_err err;

	for (int i = 0; i < 300; i++) {
		uint64_t idx = mk_random(&seed) % many.tags.n_tags;
		const uint8_t *p = many.blob.data + idx * CK_TAG_CHUNK;
		if (ck_tags_check(&many.tags, idx, p, ck_tags_chunk_len(&many.tags, idx), &bad,
				  &err) != 0)
			abort();
	}
	return NULL;
}

/* One expanded key serves several threads. */
static void test_tags_in_threads(void **state)
{
	struct ck_err err = { 0 };
	pthread_t t[4];
	(void)state;
	mk_bytes(&many.blob, 1, 5 * CK_TAG_CHUNK + 77);
	assert_works(ck_tags_init(&many.tags, many.blob.len, &err), &err);
	assert_works(ck_tags_set(&many.tags, 0, many.blob.data, many.blob.len, &err), &err);
	for (size_t i = 0; i < N_OF(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, check_many, (void *)(i + 1)), 0);
	for (size_t i = 0; i < N_OF(t); i++)
		pthread_join(t[i], NULL);
	ck_tags_free(&many.tags);
	ck_buf_free(&many.blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ctr_vector),     cmocka_unit_test(test_ctr_carry),
		cmocka_unit_test(test_gmac_vectors),   cmocka_unit_test(test_gmac_lengths),
		cmocka_unit_test(test_tag_definition), cmocka_unit_test(test_tag_number),
		cmocka_unit_test(test_tags),	       cmocka_unit_test(test_tags_in_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
