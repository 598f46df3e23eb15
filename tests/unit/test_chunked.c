/* Chunked encryption against an independent implementation's answers; both engines of
 * AES-256-GCM against each other; whatever is changed is refused. */
#include <errno.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/cipher/gcmengine.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

static const struct vector {
	size_t len;
	const char *context;
	size_t context_len;
	uint8_t key[32], header[CK_CHUNKED_HEADER], sha256[32];
} vectors[] = {
#include "tests/unit/vectors/chunked.inc"
};

static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	return p;
}

/* Seals with the vector's own salt, chunk by chunk. */
static uint8_t *seal_vector(const struct vector *v, const uint8_t *plain)
{
	const struct ck_chunked_context context = { v->context, v->context_len };
	struct ck_chunked *c = NULL;
	struct ck_err err = { 0 };
	uint8_t *out = malloc(ck_chunked_sealed_len(v->len)), *to = out + CK_CHUNKED_HEADER;
	assert_works(ck_chunked_open(&c, v->key, &context, v->header, &err), &err);
	memcpy(out, v->header, CK_CHUNKED_HEADER);
	for (uint64_t i = 0; i <= v->len / CK_CHUNK; i++) {
		size_t n = v->len - i * CK_CHUNK < CK_CHUNK ? v->len - i * CK_CHUNK : CK_CHUNK;
		assert_works(ck_chunked_seal(c, i, plain + i * CK_CHUNK, n, to, &err), &err);
		to += n + CK_CHUNK_TAG;
	}
	assert_int_equal(to - out, ck_chunked_sealed_len(v->len));
	ck_chunked_free(c);
	return out;
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		const struct vector *v = &vectors[i];
		const struct ck_chunked_context context = { v->context, v->context_len };
		size_t n = (size_t)ck_chunked_sealed_len(v->len);
		uint8_t *plain = pattern(v->len), *sealed = seal_vector(v, plain), got[32];
		uint8_t *back = malloc(v->len + 1);
		struct ck_err err = { 0 };
		ck_sha256(got, sealed, n);
		assert_memory_equal(got, v->sha256, 32);
		assert_works(ck_chunked_unseal_all(v->key, &context, sealed, n, back, &err), &err);
		assert_memory_equal(back, plain, v->len);
		free(plain);
		free(sealed);
		free(back);
	}
}

static void test_lengths(void **state)
{
	struct ck_err err = { 0 };
	uint64_t len;
	(void)state;
	for (uint64_t n = 0; n < 70000; n += n % CK_CHUNK < 3 || n % CK_CHUNK > 16380 ? 1 : 127) {
		assert_works(ck_chunked_plain_len(ck_chunked_sealed_len(n), &len, &err), &err);
		assert_int_equal(len, n);
	}
	/* Lengths that no message has. */
	static const uint64_t bad[] = { 0,
					1,
					55,
					56,
					56 + 15,
					56 + CK_CHUNK_SEALED,
					56 + CK_CHUNK_SEALED + 15,
					56 + 3 * CK_CHUNK_SEALED,
					UINT64_MAX,
					(uint64_t)1 << 63 };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(ck_chunked_plain_len(bad[i], &len, &err), -EBADMSG);
}

/* Every byte flipped, every cut, chunks exchanged, another key, another context. */
static void test_refused(void **state)
{
	enum { LEN = CK_CHUNK + 300 };
	static const uint8_t key[32] = { 5 };
	static const struct ck_chunked_context context = { "use", 3 }, other = { "usf", 3 };
	const size_t n = (size_t)ck_chunked_sealed_len(LEN);
	uint8_t *plain = pattern(LEN), *sealed = malloc(n), *out = malloc(LEN + 1);
	uint8_t *zeros = calloc(1, LEN);
	uint8_t key2[32] = { 6 };
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_chunked_seal_all(key, &context, plain, LEN, sealed, &err), &err);
	assert_works(ck_chunked_unseal_all(key, &context, sealed, n, out, &err), &err);
	for (size_t at = 0; at < n; at += at < 100 || at > n - 400 ? 1 : 61) {
		sealed[at] ^= 0x10;
		memset(out, 0xee, LEN);
		assert_int_equal(ck_chunked_unseal_all(key, &context, sealed, n, out, &err),
				 -EBADMSG);
		if (at >= CK_CHUNKED_HEADER) /* before it nothing is written at all */
			assert_memory_equal(out, zeros, LEN);
		sealed[at] ^= 0x10;
	}
	for (size_t len = 0; len < n; len += len < 100 || len > n - 400 ? 1 : 61)
		assert_int_equal(ck_chunked_unseal_all(key, &context, sealed, len, out, &err),
				 -EBADMSG);
	assert_fails(ck_chunked_unseal_all(key2, &context, sealed, n, out, &err), -EBADMSG, &err,
		     "commitment");
	assert_fails(ck_chunked_unseal_all(key, &other, sealed, n, out, &err), -EBADMSG, &err,
		     "commitment");
	/* A chunk is only itself in its own place. */
	struct ck_chunked *c = NULL;
	assert_works(ck_chunked_open(&c, key, &context, sealed, &err), &err);
	const uint8_t *first = sealed + CK_CHUNKED_HEADER;
	assert_works(ck_chunked_unseal(c, 0, first, CK_CHUNK_SEALED, out, &err), &err);
	assert_int_equal(ck_chunked_unseal(c, 1, first, CK_CHUNK_SEALED, out, &err), -EBADMSG);
	assert_int_equal(ck_chunked_unseal(c, 1ULL << 38, first, CK_CHUNK_SEALED, out, &err),
			 -EINVAL);
	assert_int_equal(ck_chunked_unseal(c, 0, first, 15, out, &err), -EINVAL);
	ck_chunked_free(c);
	free(plain);
	free(sealed);
	free(out);
	free(zeros);
}

/* Two messages under one key differ from the first byte: the salt is fresh. */
static void test_salt(void **state)
{
	static const uint8_t key[32] = { 5 };
	static const struct ck_chunked_context context = { "", 0 };
	uint8_t a[100], b[100];
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_chunked_seal_all(key, &context, "same", 4, a, &err), &err);
	assert_works(ck_chunked_seal_all(key, &context, "same", 4, b, &err), &err);
	assert_memory_not_equal(a, b, CK_CHUNKED_SALT);
	assert_memory_not_equal(a + CK_CHUNKED_HEADER, b + CK_CHUNKED_HEADER, 20);
}

static void test_engines(void **state)
{
	static const struct ck_gcm_engine *const engines[] = { &ck_gcm_ipsec, &ck_gcm_openssl };
	uint8_t key[32], nonce[12], tag[2][16];
	uint64_t seed = 3;
	(void)state;
	for (size_t i = 0; i < 32; i++)
		key[i] = (uint8_t)mk_random(&seed);
	for (size_t n = 0; n < 20000; n = n * 5 / 4 + 1) {
		CK_BUF plain = { 0 };
		uint8_t *out[2] = { malloc(n + 1), malloc(n + 1) };
		int made = 0;
		mk_bytes(&plain, n, n);
		for (size_t i = 0; i < 12; i++)
			nonce[i] = (uint8_t)mk_random(&seed);
		for (size_t e = 0; e < 2; e++) {
			struct ck_gcmkey *k = NULL;
			struct ck_err err = { 0 };
			if (!engines[e]->usable()) {
				printf("# %s is not for this CPU\n", engines[e]->name);
				continue;
			}
			assert_works(ck_gcmkey_new_with(&k, engines[e], key, &err), &err);
			assert_int_equal(
			    ck_gcmkey_seal(k, nonce, plain.data, n, out[made], tag[made]), 0);
			uint8_t *back = malloc(n + 1), wrong[16];
			assert_int_equal(ck_gcmkey_open(k, nonce, out[made], n, back, tag[made]),
					 0);
			if (n)
				assert_memory_equal(back, plain.data, n);
			memcpy(wrong, tag[made], 16);
			wrong[n % 16] ^= 1;
			assert_int_equal(ck_gcmkey_open(k, nonce, out[made], n, back, wrong),
					 -EBADMSG);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(back[i], 0);
			free(back);
			ck_gcmkey_free(k);
			made++;
		}
		if (made == 2) {
			assert_memory_equal(tag[0], tag[1], 16);
			if (n)
				assert_memory_equal(out[0], out[1], n);
		}
		free(out[0]);
		free(out[1]);
	}
	assert_true(strcmp(ck_gcmkey_engine(), "none") != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_salt),
		cmocka_unit_test(test_engines),
	};
	struct ck_err err;
	if (ck_secret_init(&err) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
