/* A digest and an HMAC in one go: published vectors, and OpenSSL's answers at every length and
 * however the message comes in pieces. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/twohash.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* RFC 4231, sections 4.2 to 4.4; keys shorter than a block are padded with zeros there, too.
 */
static const struct {
	const char *key, *data, *hmac; /* hex */
} rows[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b000000000000000000000000", "4869205468657265",
	  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "4a65666500000000000000000000000000000000000000000000000000000000",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa000000000000000000000000",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddd",
	  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
};

static void both(bool cpu, const uint8_t key[32], const uint8_t *p, size_t n, size_t piece,
		 uint8_t digest[32], uint8_t hmac[32])
{
	struct ck_twohash *t = NULL;
	struct ck_err err = { 0 };
	int rc = ck_twohash_new_by(&t, cpu, key, &err);

	if (rc == -ENOTSUP) { /* no such CPU: by OpenSSL, then, as the program does */
		printf("# this CPU has no SHA instructions\n");
		rc = ck_twohash_new_by(&t, false, key, &err);
	}
	assert_works(rc, &err);
	for (size_t off = 0; off < n; off += piece)
		assert_works(ck_twohash_update(t, p + off, n - off < piece ? n - off : piece, &err),
			     &err);
	assert_works(ck_twohash_final(t, digest, hmac, &err), &err);
	ck_twohash_free(t);
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		uint8_t key[32], data[64], digest[32], hmac[32], want[32];
		size_t n = strlen(rows[i].data) / 2;
		assert_true(ck_unhex(key, 32, rows[i].key) && ck_unhex(data, n, rows[i].data));
		for (int cpu = 0; cpu < 2; cpu++) {
			both(cpu, key, data, n, n, digest, hmac);
			assert_true(ck_unhex(want, 32, rows[i].hmac));
			assert_memory_equal(hmac, want, 32);
			ck_sha256(want, data, n);
			assert_memory_equal(digest, want, 32);
		}
	}
}

static void test_lengths(void **state)
{
	CK_BUF data = { 0 };
	uint8_t key[32], digest[32], hmac[32], want[32];
	uint64_t seed = 11;
	(void)state;
	mk_bytes(&data, 4, 5000);
	for (size_t i = 0; i < 32; i++)
		key[i] = (uint8_t)mk_random(&seed);
	for (size_t n = 0; n <= data.len; n += n < 300 ? 1 : 97) {
		static const size_t pieces[] = { 1, 7, 63, 64, 65, 200, 100000 };
		for (size_t i = n > 300 ? 4 : 0; i < N_OF(pieces); i++) {
			both(true, key, data.data, n, pieces[i], digest, hmac);
			ck_sha256(want, data.data, n);
			assert_memory_equal(digest, want, 32);
			assert_non_null(HMAC(EVP_sha256(), key, 32, data.data, n, want, NULL));
			assert_memory_equal(hmac, want, 32);
		}
	}
}

static void test_no_key(void **state)
{
	struct ck_twohash *t = NULL;
	struct ck_err err = { 0 };
	uint8_t digest[32], hmac[32], want[32], zeros[32] = { 0 };
	(void)state;
	assert_works(ck_twohash_new(&t, NULL, &err), &err);
	assert_works(ck_twohash_update(t, "abc", 3, &err), &err);
	assert_works(ck_twohash_final(t, digest, hmac, &err), &err);
	ck_twohash_free(t);
	/* FIPS 180-4's own example. */
	assert_true(
	    ck_unhex(want, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
	assert_memory_equal(digest, want, 32);
	assert_memory_equal(hmac, zeros, 32);
}

/* The padded key, by which the key is known, is nowhere but in the arena for keys. */
static void test_arena(void **state)
{
	struct ck_twohash *t = NULL;
	struct ck_err err = { 0 };
	const uint8_t key[32] = { 1 };
	size_t before = CRYPTO_secure_used();
	(void)state;
	for (int cpu = 0; cpu < 2; cpu++) {
		int rc = ck_twohash_new_by(&t, cpu, key, &err);
		if (rc == -ENOTSUP)
			continue;
		assert_works(rc, &err);
		assert_true(CRYPTO_secure_used() >= before + sizeof key);
		assert_int_equal(CRYPTO_secure_allocated(t), 1);
		ck_twohash_free(t);
		assert_int_equal(CRYPTO_secure_used(), before);
	}
}

int main(void)
{
	struct ck_err err = { 0 };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_no_key),
	};
	if (ck_secret_init(&err) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
