/* CTR at any offset, against published vectors; chunk tags. */
#include <errno.h>

#include "base/text.h"
#include "tar/cipher/ctr.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ctr_vector),
		cmocka_unit_test(test_ctr_carry),
		cmocka_unit_test(test_tags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
