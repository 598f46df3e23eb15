/* keywrap: RFC 5649's vectors, the sidecar's published blob, and damaged blobs. */
#include "attest/keywrap.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "attest/jose.h"
#include "base/text.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/sidecar_vector.h"
#include "tests/unit/lib/unit.h"

/* RFC 5649 section 6. */
static const char kek_hex[] = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
static const struct {
	const char *plain, *wrapped;
} rfc5649[] = {
	{ "c37b7e6492584340bed12207808941155068f738",
	  "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a" },
	{ "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f" },
};

static void rfc5649_vectors(void **state)
{
	uint8_t kek[24], in[32], want[32];
	struct ck_err err = { 0 };

	(void)state;
	assert_true(ck_unhex(kek, sizeof kek, kek_hex));
	for (size_t i = 0; i < N_OF(rfc5649); i++) {
		CK_SECRET out = { 0 };
		size_t n = strlen(rfc5649[i].wrapped) / 2, m = strlen(rfc5649[i].plain) / 2;
		assert_true(ck_unhex(in, n, rfc5649[i].wrapped));
		assert_true(ck_unhex(want, m, rfc5649[i].plain));
		assert_works(ck_kwp_unwrap(&out, kek, sizeof kek, in, n, &err), &err);
		assert_int_equal(out.len, m);
		assert_memory_equal(out.data, want, m);
	}
}

static void damaged_kwp(void **state)
{
	uint8_t kek[24], in[40] = { 0 };
	size_t n = strlen(rfc5649[0].wrapped) / 2;
	struct ck_err err = { 0 };
	CK_SECRET out = { 0 };

	(void)state;
	assert_true(ck_unhex(kek, sizeof kek, kek_hex));
	assert_true(ck_unhex(in, n, rfc5649[0].wrapped));
	for (size_t bit = 0; bit < n * 8; bit += 3) {
		in[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_fails(ck_kwp_unwrap(&out, kek, sizeof kek, in, n, &err), -EBADMSG, &err,
			     "cannot be unwrapped");
		in[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len <= sizeof in; len++)
		if (len != n)
			assert_fails(ck_kwp_unwrap(&out, kek, sizeof kek, in, len, &err), -EBADMSG,
				     &err, "cannot be unwrapped");
	kek[0] ^= 1;
	assert_int_equal(ck_kwp_unwrap(&out, kek, sizeof kek, in, n, &err), -EBADMSG);
	assert_int_equal(ck_kwp_unwrap(&out, kek, 23, in, n, &err), -EBADMSG);
	assert_null(out.data);
}

static EVP_PKEY *sidecar_key(void)
{
	CK_BUF der = { 0 };

	assert_int_equal(ck_b64_decode(&der, CK_B64_STD, SIDECAR_KEY, strlen(SIDECAR_KEY), NULL),
			 0);
	const unsigned char *at = der.data;
	EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
	assert_non_null(key);
	return key;
}

static void published_blob(void **state)
{
	CK_PKEY *key = sidecar_key();
	CK_BUF blob = { 0 };
	CK_SECRET out = { 0 };
	char hex[65];
	struct ck_err err = { 0 };

	(void)state;
	assert_works(
	    ck_b64_decode(&blob, CK_B64_URL, SIDECAR_WRAPPED, strlen(SIDECAR_WRAPPED), &err), &err);
	assert_works(ck_keywrap_open(&out, key, CK_ENC_SHA1, blob.data, blob.len, &err), &err);
	assert_int_equal(out.len, 32);
	ck_hex(hex, out.data, 32);
	assert_string_equal(hex, SIDECAR_PLAIN);
	/* Other hash, other key, unknown scheme. */
	struct ck_secret none = { 0 };
	assert_int_equal(ck_keywrap_open(&none, key, CK_ENC_SHA256, blob.data, blob.len, &err),
			 -EBADMSG);
	assert_int_equal(
	    ck_keywrap_open(&none, mint_rsa(0), CK_ENC_SHA1, blob.data, blob.len, &err), -EBADMSG);
	assert_fails(ck_keywrap_open(&none, key, "MY_OWN_WRAP", blob.data, blob.len, &err), -EINVAL,
		     &err, "MY_OWN_WRAP");
	/* Every length short of it; one too long. */
	for (size_t n = 0; n < blob.len; n++)
		assert_int_equal(ck_keywrap_open(&none, key, CK_ENC_SHA1, blob.data, n, &err),
				 -EBADMSG);
	assert_int_equal(ck_buf_add(&blob, "\0\0\0\0\0\0\0\0", 8, NULL), 0);
	assert_int_equal(ck_keywrap_open(&none, key, CK_ENC_SHA1, blob.data, blob.len, &err),
			 -EBADMSG);
}

static void one_message_for_all(void **state)
{
	CK_BUF blob = { 0 };
	CK_SECRET out = { 0 };
	struct ck_err oaep = { 0 }, kwp = { 0 };

	(void)state;
	mint_wrap(&blob, mint_rsa(0), EVP_sha256(), 32, "0123456789abcdef", 16);
	blob.data[5] ^= 1;
	assert_int_equal(
	    ck_keywrap_open(&out, mint_rsa(0), CK_ENC_SHA256, blob.data, blob.len, &oaep),
	    -EBADMSG);
	blob.data[5] ^= 1;
	blob.data[260] ^= 1;
	assert_int_equal(
	    ck_keywrap_open(&out, mint_rsa(0), CK_ENC_SHA256, blob.data, blob.len, &kwp), -EBADMSG);
	assert_string_equal(oaep.msg, kwp.msg);
}

static void short_kek(void **state)
{
	CK_BUF blob = { 0 };
	struct ck_secret out = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	/* PKCS #11 leaves the size to the wrapper; the HSM's is AES-256. */
	mint_wrap(&blob, mint_rsa(0), EVP_sha256(), 16, "0123456789abcdef", 16);
	assert_fails(ck_keywrap_open(&out, mint_rsa(0), CK_ENC_SHA256, blob.data, blob.len, &err),
		     -EBADMSG, &err, "cannot be unwrapped");
}

static void round_trips(void **state)
{
	static const struct {
		const char *enc;
		const char *md;
	} rows[] = { { CK_ENC_SHA256, "SHA256" }, { CK_ENC_SHA1, "SHA1" } };
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_BUF p8 = { 0 };
		CK_BUF blob = { 0 };
		CK_SECRET out = { 0 };
		CK_PKEY *key = NULL;
		mint_pkcs8(&p8, mint_rsa(1));
		mint_wrap(&blob, mint_rsa(0), EVP_get_digestbyname(rows[i].md), 32, p8.data,
			  p8.len);
		assert_works(
		    ck_keywrap_open(&out, mint_rsa(0), rows[i].enc, blob.data, blob.len, &err),
		    &err);
		assert_works(ck_pkcs8_rsa(&key, out.data, out.len, &err), &err);
		assert_int_equal(EVP_PKEY_eq(key, mint_rsa(1)), 1);
	}
}

static void bad_pkcs8(void **state)
{
	CK_BUF p8 = { 0 };
	CK_BUF ec8 = { 0 };
	CK_BUF longer = { 0 };
	CK_PKEY *ec = EVP_EC_gen("P-256");
	CK_PKEY *out = NULL;
	struct ck_err err = { 0 };

	(void)state;
	mint_pkcs8(&p8, mint_rsa(1));
	mint_pkcs8(&ec8, ec);
	assert_fails(ck_pkcs8_rsa(&out, ec8.data, ec8.len, &err), -EBADMSG, &err, "no RSA key");
	assert_int_equal(ck_pkcs8_rsa(&out, p8.data, 0, &err), -EBADMSG);
	for (size_t n = 1; n < p8.len; n += 7) {
		uint8_t *exact = malloc(n);
		memcpy(exact, p8.data, n);
		assert_int_equal(ck_pkcs8_rsa(&out, exact, n, &err), -EBADMSG);
		free(exact);
	}
	assert_int_equal(ck_buf_add(&longer, p8.data, p8.len, NULL), 0);
	assert_int_equal(ck_buf_add(&longer, "x", 1, NULL), 0);
	assert_int_equal(ck_pkcs8_rsa(&out, longer.data, longer.len, &err), -EBADMSG);
	/* The last byte belongs to the CRT coefficient: well-formed, not consistent. */
	p8.data[p8.len - 1] ^= 2;
	assert_fails(ck_pkcs8_rsa(&out, p8.data, p8.len, &err), -EBADMSG, &err, "not consistent");
	assert_null(out);
}

static int setup(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	return ck_secret_init(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5649_vectors), cmocka_unit_test(damaged_kwp),
		cmocka_unit_test(published_blob),  cmocka_unit_test(one_message_for_all),
		cmocka_unit_test(short_kek),	   cmocka_unit_test(round_trips),
		cmocka_unit_test(bad_pkcs8),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
