#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/rsa.h>

#include "base/text.h"
#include "tools/azsim/keywrap.h"

/* RFC 5649 section 6. */
static const char kek_hex[] = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
static const struct {
	const char *key, *wrapped;
} vectors[] = {
	{ "c37b7e6492584340bed12207808941155068f738",
	  "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a" },
	{ "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f" },
};

static void rfc5649(void **state)
{
	uint8_t kek[24], key[32], want[64];

	(void)state;
	assert_true(ck_unhex(kek, sizeof kek, kek_hex));
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		size_t n = strlen(vectors[i].key) / 2, m = strlen(vectors[i].wrapped) / 2;
		struct ck_err err = { 0 };
		CK_BUF out = { 0 };
		assert_true(ck_unhex(key, n, vectors[i].key));
		assert_true(ck_unhex(want, m, vectors[i].wrapped));
		assert_int_equal(az_kwp_wrap(&out, kek, sizeof kek, key, n, &err), 0);
		assert_int_equal(out.len, m);
		assert_memory_equal(out.data, want, m);
	}
}

static void bad_lengths(void **state)
{
	static const uint8_t kek[32];
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	(void)state;
	assert_int_equal(az_kwp_wrap(&out, kek, 31, "x", 1, &err), -EINVAL);
	assert_int_equal(az_kwp_wrap(&out, kek, 32, "", 0, &err), -EINVAL);
	assert_int_equal(out.len, 0);
}

static void names(void **state)
{
	(void)state;
	assert_ptr_equal(az_wrap_hash("CKM_RSA_AES_KEY_WRAP"), EVP_sha1());
	assert_ptr_equal(az_wrap_hash("RSA_AES_KEY_WRAP_256"), EVP_sha256());
	assert_ptr_equal(az_wrap_hash("RSA_AES_KEY_WRAP_384"), EVP_sha384());
	assert_null(az_wrap_hash("RSA_AES_KEY_WRAP_512"));
}

/* Opens the OAEP block with OpenSSL and the rest with its AES unwrap. */
static void unwrap(const struct ck_buf *ct, const EVP_MD *hash, EVP_PKEY *key, uint8_t *out, int *n)
{
	CK_AUTO(az_pctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	uint8_t kek[256];
	size_t kek_len = sizeof kek;

	assert_int_equal(EVP_PKEY_decrypt_init(c), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(c, hash), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(c, hash), 1);
	assert_int_equal(EVP_PKEY_decrypt(c, kek, &kek_len, ct->data, 256), 1);
	assert_int_equal(kek_len, 32);
	EVP_CIPHER_CTX *u = EVP_CIPHER_CTX_new();
	EVP_CIPHER_CTX_set_flags(u, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	assert_int_equal(EVP_DecryptInit_ex(u, EVP_aes_256_wrap_pad(), NULL, kek, NULL), 1);
	assert_int_equal(EVP_DecryptUpdate(u, out, n, ct->data + 256, (int)ct->len - 256), 1);
	EVP_CIPHER_CTX_free(u);
}

static void round_trip(void **state)
{
	static const char *const encs[] = { "CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256",
					    "RSA_AES_KEY_WRAP_384" };
	struct ck_err err = { 0 };
	AZ_PKEY *key = NULL;

	(void)state;
	assert_int_equal(az_pkey_make(&key, "RSA:2048", &err), 0);
	for (size_t i = 0; i < 3; i++) {
		CK_BUF ct = { 0 };
		uint8_t out[64];
		int n;
		const EVP_MD *hash = az_wrap_hash(encs[i]);
		assert_int_equal(az_rsa_aes_wrap(&ct, hash, key, "some key material", 17, &err), 0);
		assert_int_equal(ct.len, 256 + 8 + 24);
		unwrap(&ct, hash, key, out, &n);
		assert_int_equal(n, 17);
		assert_memory_equal(out, "some key material", 17);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5649),
		cmocka_unit_test(bad_lengths),
		cmocka_unit_test(names),
		cmocka_unit_test(round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
