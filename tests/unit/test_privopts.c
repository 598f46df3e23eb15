#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <string.h>

#include "keyprov/privopts.h"

#define KEY32	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define NONCE16 "EBESExQVFhcYGRobHB0eHw=="

static const struct {
	const char *why, *json;
	int want;
	const char *says;
} rows[] = {
	{ "as skopeo writes them",
	  "{\"symkey\":\"" KEY32
	  "\",\"digest\":\"sha256:00\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}",
	  0, "" },
	{ "in Rust's order, no digest",
	  "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}", 0, "" },
	{ "a digest of nonsense is no authority, so no error",
	  "{\"symkey\":\"" KEY32 "\",\"digest\":7,\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}",
	  0, "" },
	{ "nonce outside the options", "{\"symkey\":\"" KEY32 "\",\"nonce\":\"" NONCE16 "\"}",
	  -EBADMSG, "\"nonce\" is missing" },
	{ "no nonce: others would make one up", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{}}",
	  -EBADMSG, "\"nonce\" is missing" },
	{ "null options", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":null}", -EBADMSG,
	  "\"nonce\" is missing" },
	{ "nonce of 12 bytes",
	  "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAA\"}}", -EBADMSG,
	  "12 bytes, 16" },
	{ "nonce of 17 bytes",
	  "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":\"EBESExQVFhcYGRobHB0eHwA=\"}}",
	  -EBADMSG, "17 bytes, 16" },
	{ "nonce null", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":null}}", -EBADMSG,
	  "\"nonce\" is missing" },
	{ "key of 16 bytes",
	  "{\"symkey\":\"" NONCE16 "\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}", -EBADMSG,
	  "16 bytes, 32" },
	{ "no key", "{\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}", -EBADMSG,
	  "\"symkey\" is missing" },
	{ "two keys by case",
	  "{\"symkey\":\"" KEY32 "\",\"SymKey\":\"" KEY32
	  "\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}",
	  -EBADMSG, "twice" },
	{ "key is no base64", "{\"symkey\":\"!\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}",
	  -EBADMSG, "base64" },
	{ "options are a string", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":\"x\"}", -EBADMSG,
	  "not an object" },
	{ "a list", "[\"" KEY32 "\"]", -EBADMSG, "not a JSON object" },
	{ "not JSON", "{\"symkey\":\"" KEY32, -EBADMSG, "not valid JSON" },
	{ "nothing", "", -EBADMSG, "not valid JSON" },
};

static struct ck_envelope envelope(void)
{
	struct ck_envelope e = { .cipher = "AES_256_CTR_HMAC_SHA256", .n_hmac = 32 };

	memset(e.hmac, 9, sizeof e.hmac);
	return e;
}

static int read_text(const char *json, const struct ck_envelope *e, struct ck_layer_key **out,
		     struct ck_err *err)
{
	CK_SECRET opts = { 0 };

	assert_int_equal(ck_secret_new(&opts, strlen(json), err), 0);
	memcpy(opts.data, json, strlen(json));
	return ck_privopts_read(&opts, e, out, err);
}

static void private_options_table(void **state)
{
	(void)state;
	struct ck_envelope e = envelope();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
		struct ck_err err = { 0 };
		if (read_text(rows[i].json, &e, &key, &err) != rows[i].want)
			fail_msg("%s: %s", rows[i].why, err.msg);
		assert_says(&err, rows[i].says);
		/* Whatever is wrong with them, messages quote no key. */
		assert_null(strstr(err.msg, "AAEC"));
		if (rows[i].want)
			continue;
		assert_int_equal(key->symkey[31], 31);
		assert_int_equal(key->nonce[0], 16);
		assert_int_equal(key->hmac[0], 9);
	}
}

static void a_public_nonce_may_only_repeat_the_private_one(void **state)
{
	(void)state;
	struct ck_envelope e = envelope();
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
	struct ck_layer_key *none = NULL;
	struct ck_err err = { 0 };

	e.n_public_nonce = 16;
	for (uint8_t i = 0; i < 16; i++)
		e.public_nonce[i] = (uint8_t)(16 + i);
	assert_rc(read_text(rows[0].json, &e, &key, &err), 0, &err);
	e.public_nonce[15] ^= 1;
	assert_rc(read_text(rows[0].json, &e, &none, &err), -EBADMSG, &err);
	assert_says(&err, "another nonce");
	/* Without a private one the public one does not stand in. */
	e.public_nonce[15] ^= 1;
	assert_rc(read_text(rows[4].json, &e, &none, &err), -EBADMSG, &err);
	assert_null(none);
}

static void cipher_is_exact_and_hmac_needed(void **state)
{
	(void)state;
	static const char *const others[] = { "AES_256_CTR", "aes_256_ctr_hmac_sha256",
					      "AES_256_CTR_HMAC_SHA256 ",
					      "C2SP_CHUNKED_V1_AES_256_GCM" };
	struct ck_envelope e = envelope();
	struct ck_err err = { 0 };

	assert_rc(ck_privopts_expected(&e, &err), 0, &err);
	e.n_hmac = 0;
	assert_rc(ck_privopts_expected(&e, &err), -EBADMSG, &err);
	assert_says(&err, "no HMAC");
	e.n_hmac = 32;
	for (size_t i = 0; i < 4; i++) {
		e.cipher = others[i];
		assert_rc(ck_privopts_expected(&e, &err), -ENOTSUP, &err);
		assert_says(&err, others[i]);
	}
}

static int init(void **state)
{
	struct ck_err err;

	(void)state;
	return ck_secret_init(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_options_table),
		cmocka_unit_test(a_public_nonce_may_only_repeat_the_private_one),
		cmocka_unit_test(cipher_is_exact_and_hmac_needed),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
