/*
 * What we seal is opened by jwe.c, which is tested against skopeo's packets, RFC vectors
 * and a writer that shares nothing with ours (test_jwe.c).
 */
#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/aead.h"
#include "keyprov/jwe.h"
#include "keyprov/jwekey.h"
#include "keyprov/jweseal.h"

static const struct {
	const char *group; /* NULL: RSA of BITS */
	const char *crv;
	unsigned bits;
	size_t coordinate; /* bytes */
} kinds[] = {
	{ NULL, NULL, 2048, 0 },     { NULL, NULL, 3072, 0 },	  { "P-256", "P-256", 0, 32 },
	{ "P-384", "P-384", 0, 48 }, { "P-521", "P-521", 0, 66 },
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static EVP_PKEY *keys[N_KINDS];

static const char text[] = "{\"symkey\":\"the private options\"}";

/* A JWE of TEXT for KEY. The caller's. */
static json_t *seal(EVP_PKEY *key)
{
	CK_SECRET content = { 0 };
	CK_BUF out = { 0 };
	json_t *doc = NULL;
	struct ck_err err = { 0 };

	assert_rc(ck_secret_new(&content, strlen(text), &err), 0, &err);
	memcpy(content.data, text, content.len);
	assert_rc(ck_jwe_seal(key, &content, &out, &err), 0, &err);
	assert_rc(ck_json_parse(&doc, out.data, out.len, "ours", &err), 0, &err);
	return doc;
}

static int open_json(const json_t *doc, EVP_PKEY *key, struct ck_err *err)
{
	CK_BUF b = { 0 };
	CK_AUTO(ck_jwe_freep) struct ck_jwe *j = NULL;
	CK_SECRET out = { 0 };

	assert_int_equal(ck_json_dump(&b, doc, NULL), 0);
	int rc = ck_jwe_parse(&j, b.data, b.len, err);
	if (rc == 0)
		rc = ck_jwe_open(j, key, &out, err);
	if (rc == 0) {
		assert_int_equal(out.len, strlen(text));
		assert_memory_equal(out.data, text, out.len);
	}
	return rc;
}

static const char *str(const json_t *doc, const char *name)
{
	const char *s = json_string_value(json_object_get(doc, name));

	assert_non_null(s);
	return s;
}

static void decode(struct ck_buf *out, const json_t *doc, const char *name)
{
	struct ck_err err = { 0 };

	assert_rc(ck_json_b64(out, doc, name, CK_B64_URL, true, &err), 0, &err);
}

static json_t *protected_of(const json_t *doc)
{
	CK_BUF b = { 0 };
	json_t *header = NULL;
	struct ck_err err = { 0 };

	decode(&b, doc, "protected");
	assert_rc(ck_json_parse(&header, b.data, b.len, "header", &err), 0, &err);
	return header;
}

static void every_kind_opens(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		CK_JSON *doc = seal(keys[i]);
		struct ck_err err = { 0 };
		for (size_t k = 0; k < N_KINDS; k++)
			assert_rc(open_json(doc, keys[k], &err), k == i ? 0 : -ENOKEY, &err);
	}
}

/* The names and their order, headers and lengths, as go-jose writes them. */
static void form_is_go_joses(void **state)
{
	(void)state;
	static const char *const names[] = { "protected", "encrypted_key", "iv", "ciphertext",
					     "tag" };

	for (size_t i = 0; i < N_KINDS; i++) {
		CK_JSON *doc = seal(keys[i]), *header = protected_of(doc);
		CK_BUF prot = { 0 }, key = { 0 }, iv = { 0 }, data = { 0 }, tag = { 0 };
		CK_JSON *want = NULL;
		const char *name;
		json_t *v;
		size_t n = 0;

		json_object_foreach (doc, name, v) {
			assert_true(n < 5);
			assert_string_equal(name, names[n++]);
		}
		assert_int_equal(n, 5);
		decode(&iv, doc, "iv");
		decode(&data, doc, "ciphertext");
		decode(&tag, doc, "tag");
		decode(&key, doc, "encrypted_key");
		assert_int_equal(iv.len, 12);
		assert_int_equal(data.len, strlen(text));
		assert_int_equal(tag.len, 16);
		decode(&prot, doc, "protected");
		if (!kinds[i].group) {
			assert_int_equal(key.len, kinds[i].bits / 8);
			assert_string_equal(ck_buf_str(&prot),
					    "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}");
			continue;
		}
		assert_int_equal(key.len, 40);
		const json_t *epk = json_object_get(header, "epk");
		CK_BUF x = { 0 }, y = { 0 }, dumped = { 0 };
		decode(&x, epk, "x");
		decode(&y, epk, "y");
		assert_int_equal(x.len, kinds[i].coordinate);
		assert_int_equal(y.len, kinds[i].coordinate);
		want = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "alg", "ECDH-ES+A256KW",
				 "enc", "A256GCM", "epk", "kty", "EC", "crv", kinds[i].crv, "x",
				 str(epk, "x"), "y", str(epk, "y"));
		assert_int_equal(ck_json_dump(&dumped, want, NULL), 0);
		assert_string_equal(ck_buf_str(&prot), ck_buf_str(&dumped));
	}
}

/* A bit flipped at either end or in the middle of any member: none opens. */
static void every_member_is_authenticated(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		CK_JSON *doc = seal(keys[i]);
		const char *name;
		json_t *v;
		json_object_foreach (doc, name, v)
			for (int at = 0; at < 3; at++) {
				CK_JSON *bad = json_copy(doc);
				CK_BUF b = { 0 }, changed = { 0 };
				struct ck_err err = { 0 };
				decode(&b, doc, name);
				b.data[at == 0 ? 0 : at == 1 ? b.len / 2 : b.len - 1] ^= 1;
				assert_rc(ck_b64_encode(&changed, CK_B64_URL, b.data, b.len, &err),
					  0, &err);
				json_object_set_new(bad, name, json_string(ck_buf_str(&changed)));
				if (open_json(bad, keys[i], &err) == 0)
					fail_msg("kind %zu: %s is not authenticated", i, name);
			}
	}
}

static void content_key(struct ck_secret *out, const json_t *doc, EVP_PKEY *key)
{
	CK_JSON *header = protected_of(doc);
	struct ck_jwekey r = { .alg = str(header, "alg"),
			       .enc = ck_enc_find("A256GCM"),
			       .epk = json_object_get(header, "epk") };
	struct ck_err err = { 0 };

	decode(&r.encrypted_key, doc, "encrypted_key");
	assert_rc(ck_jwekey_open(&r, key, out, &err), 0, &err);
	ck_buf_free(&r.encrypted_key);
}

/* No two JWEs have anything in common but what they say. */
static void all_is_fresh(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		CK_JSON *a = seal(keys[i]), *b = seal(keys[i]);
		const char *name;
		json_t *v;
		json_object_foreach (a, name, v) {
			bool rsa_header = !kinds[i].group && strcmp(name, "protected") == 0;
			if ((strcmp(str(a, name), str(b, name)) == 0) != rsa_header)
				fail_msg("kind %zu: %s", i, name);
		}
		CK_SECRET key_a = { 0 }, key_b = { 0 };
		content_key(&key_a, a, keys[i]);
		content_key(&key_b, b, keys[i]);
		assert_int_equal(key_a.len, 32);
		assert_memory_not_equal(key_a.data, key_b.data, 32);
	}
}

static void keys_that_are_none_of_these(void **state)
{
	(void)state;
	EVP_PKEY *others[] = { EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_EC_gen("secp256k1") };
	CK_SECRET content = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_secret_new(&content, 1, &err), 0, &err);
	for (size_t i = 0; i < 2; i++) {
		CK_BUF out = { 0 };
		assert_non_null(others[i]);
		assert_rc(ck_jwe_seal(others[i], &content, &out, &err), -EINVAL, &err);
		assert_says(&err, "P-256");
		assert_int_equal(out.len, 0);
		EVP_PKEY_free(others[i]);
	}
}

/* Nothing is left in the arena. OpenSSL keeps something there of a key's first use. */
static void no_key_stays(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		json_decref(seal(keys[i]));
		size_t before = CRYPTO_secure_used();
		json_decref(seal(keys[i]));
		assert_int_equal(CRYPTO_secure_used(), before);
	}
}

static int init(void **state)
{
	struct ck_err err;

	(void)state;
	if (ck_secret_init(&err))
		return -1;
	for (size_t i = 0; i < N_KINDS; i++)
		if (!(keys[i] =
			  kinds[i].group ? EVP_EC_gen(kinds[i].group) : EVP_RSA_gen(kinds[i].bits)))
			return -1;
	return 0;
}

static int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++)
		EVP_PKEY_free(keys[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_opens),
		cmocka_unit_test(form_is_go_joses),
		cmocka_unit_test(every_member_is_authenticated),
		cmocka_unit_test(all_is_fresh),
		cmocka_unit_test(keys_that_are_none_of_these),
		cmocka_unit_test(no_key_stays),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
