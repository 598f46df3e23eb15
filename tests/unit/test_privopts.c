#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/newopts.h"
#include "keyprov/privopts.h"

#define CTR	"AES_256_CTR_HMAC_SHA256"
#define CHUNKED "C2SP_CHUNKED_V1_AES_256_GCM"
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

static const struct {
	const char *why, *json;
	int want;
	const char *says;
} chunked_rows[] = {
	{ "as we write them",
	  "{\"symkey\":\"" KEY32 "\",\"digest\":\"sha256:00\",\"cipheroptions\":{}}", 0, "" },
	{ "no options, no digest", "{\"symkey\":\"" KEY32 "\"}", 0, "" },
	{ "null options", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":null}", 0, "" },
	{ "a null nonce is none", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":null}}",
	  0, "" },
	{ "a nonce", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}",
	  -EBADMSG, "\"nonce\", which cipher " CHUNKED " does not have" },
	{ "a nonce, as Go would find it",
	  "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":{\"Nonce\":\"\"}}", -EBADMSG, "\"nonce\"" },
	{ "options are a string", "{\"symkey\":\"" KEY32 "\",\"cipheroptions\":\"x\"}", -EBADMSG,
	  "not an object" },
	{ "key of 16 bytes", "{\"symkey\":\"" NONCE16 "\",\"cipheroptions\":{}}", -EBADMSG,
	  "16 bytes, 32" },
	{ "no key", "{\"cipheroptions\":{}}", -EBADMSG, "\"symkey\" is missing" },
	{ "a list", "[\"" KEY32 "\"]", -EBADMSG, "not a JSON object" },
	{ "nothing", "", -EBADMSG, "not valid JSON" },
};

static struct ck_envelope envelope(void)
{
	struct ck_envelope e = { .cipher = CTR, .n_hmac = 32 };

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
		assert_int_equal(key->cipher, CK_LAYER_CTR);
		assert_int_equal(key->symkey[31], 31);
		assert_int_equal(key->nonce[0], 16);
		assert_int_equal(key->hmac[0], 9);
	}
}

static void chunked_table(void **state)
{
	(void)state;
	static const uint8_t zero[32];
	struct ck_envelope e = { .cipher = CHUNKED };

	for (size_t i = 0; i < sizeof chunked_rows / sizeof chunked_rows[0]; i++) {
		CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
		struct ck_err err = { 0 };
		if (read_text(chunked_rows[i].json, &e, &key, &err) != chunked_rows[i].want)
			fail_msg("%s: %s", chunked_rows[i].why, err.msg);
		assert_says(&err, chunked_rows[i].says);
		assert_null(strstr(err.msg, "AAEC"));
		if (chunked_rows[i].want) {
			assert_null(key);
			continue;
		}
		assert_int_equal(key->cipher, CK_LAYER_CHUNKED);
		assert_int_equal(key->symkey[31], 31);
		assert_memory_equal(key->nonce, zero, sizeof key->nonce);
		assert_memory_equal(key->hmac, zero, sizeof key->hmac);
	}
}

/* Public options that are not the cipher's stop it before and after anybody is asked. */
static void chunked_has_no_hmac_and_no_nonce(void **state)
{
	(void)state;
	static const struct {
		size_t n_hmac, n_nonce;
		const char *says;
	} refused[] = { { 32, 0, "an HMAC, which" },
			{ 0, 16, "a nonce, which" },
			{ 32, 16, "HMAC" } };
	struct ck_layer_key *none = NULL;
	struct ck_err err = { 0 };

	for (size_t i = 0; i < 3; i++) {
		struct ck_envelope e = { .cipher = CHUNKED,
					 .n_hmac = refused[i].n_hmac,
					 .n_public_nonce = refused[i].n_nonce };
		assert_rc(ck_privopts_expected(&e, &err), -EBADMSG, &err);
		assert_says(&err, refused[i].says);
		err.msg[0] = 0;
		assert_rc(read_text(chunked_rows[0].json, &e, &none, &err), -EBADMSG, &err);
		assert_says(&err, refused[i].says);
		assert_null(none);
	}
	struct ck_envelope e = { .cipher = CHUNKED };
	assert_rc(ck_privopts_expected(&e, &err), 0, &err);
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
					      "C2SP_CHUNKED_V1_AES_256_GCMX",
					      "C2SP_CHUNKED_V2_AES_256_GCM" };
	struct ck_envelope e = envelope();
	struct ck_layer_key *none = NULL;
	struct ck_err err = { 0 };

	assert_rc(ck_privopts_expected(&e, &err), 0, &err);
	e.n_hmac = 0;
	assert_rc(ck_privopts_expected(&e, &err), -EBADMSG, &err);
	assert_says(&err, "no HMAC");
	e.n_hmac = 32;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		e.cipher = others[i];
		assert_rc(ck_privopts_expected(&e, &err), -ENOTSUP, &err);
		assert_says(&err, others[i]);
		assert_says(&err, "only " CTR " and " CHUNKED " are");
		assert_rc(read_text(rows[0].json, &e, &none, &err), -ENOTSUP, &err);
		assert_null(none);
	}
}

#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct ck_layer_key new_key(enum ck_layer_cipher cipher)
{
	struct ck_layer_key key = { .cipher = cipher };

	for (uint8_t i = 0; i < 32; i++) {
		key.symkey[i] = i;
		key.hmac[i] = (uint8_t)(0xff - i);
	}
	for (uint8_t i = 0; i < 16; i++)
		key.nonce[i] = (uint8_t)(16 + i);
	return key;
}

/* Byte for byte what skopeo writes: 193 bytes. */
static void private_options_as_ocicrypt_writes_them(void **state)
{
	(void)state;
	static const char ctr[] = "{\"symkey\":\"" KEY32 "\",\"digest\":\"" DIGEST
				  "\",\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}";
	static const char chunked[] =
	    "{\"symkey\":\"" KEY32 "\",\"digest\":\"" DIGEST "\",\"cipheroptions\":{}}";
	struct ck_layer_key key = new_key(CK_LAYER_CTR);
	CK_SECRET a = { 0 }, b = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_newopts_private(&a, &key, DIGEST, &err), 0, &err);
	assert_int_equal(a.len, 193);
	assert_int_equal(a.len, sizeof ctr - 1);
	assert_memory_equal(a.data, ctr, a.len);
	key.cipher = CK_LAYER_CHUNKED; /* a nonce left in it is not written */
	assert_rc(ck_newopts_private(&b, &key, DIGEST, &err), 0, &err);
	assert_int_equal(b.len, sizeof chunked - 1);
	assert_memory_equal(b.data, chunked, b.len);
}

static void digests_that_are_none(void **state)
{
	(void)state;
	static const char *const bad[] = { "",		 "sha256",    "sha256:",
					   ":00",	 "a:b\"",     "sha256:0\\0",
					   "sha256:0\n", "SHA256:00", "a b:00" };
	struct ck_layer_key key = new_key(CK_LAYER_CTR);
	char text[300];
	struct ck_err err = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CK_SECRET out = { 0 };
		assert_rc(ck_newopts_private(&out, &key, bad[i], &err), -EINVAL, &err);
		assert_null(out.data);
	}
	/* Others than sha256, up to a length. */
	memset(text, 'a', sizeof text);
	memcpy(text, "sha512:", 7);
	text[255] = 0;
	CK_SECRET out = { 0 };
	assert_rc(ck_newopts_private(&out, &key, text, &err), 0, &err);
	text[255] = 'a';
	text[256] = 0;
	ck_secret_free(&out);
	assert_rc(ck_newopts_private(&out, &key, text, &err), -EINVAL, &err);
}

static void public_options_as_ocicrypt_writes_them(void **state)
{
	(void)state;
	static const char *const want[] = {
		[CK_LAYER_CTR] = "{\"cipher\":\"" CTR "\",\"hmac\":"
				 "\"//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=\","
				 "\"cipheroptions\":{}}",
		[CK_LAYER_CHUNKED] =
		    "{\"cipher\":\"" CHUNKED "\",\"hmac\":\"\",\"cipheroptions\":{}}",
	};
	CK_JSON *a = json_pack("{s:s}", "x", "y");
	struct ck_err err = { 0 };

	for (int c = 0; c < 2; c++) {
		struct ck_layer_key key = new_key((enum ck_layer_cipher)c);
		CK_BUF text = { 0 };
		assert_rc(ck_newopts_public(a, &key, &err), 0, &err);
		assert_rc(ck_json_b64(&text, a, "org.opencontainers.image.enc.pubopts", CK_B64_STD,
				      true, &err),
			  0, &err);
		assert_string_equal(ck_buf_str(&text), want[c]);
		if (c == CK_LAYER_CTR)
			assert_int_equal(json_string_length(json_object_get(
					     a, "org.opencontainers.image.enc.pubopts")),
					 148);
	}
	assert_int_equal(json_object_size(a), 2);
}

/* What we write is what we read, by way of the annotation. */
static void written_options_are_read_back(void **state)
{
	(void)state;
	static const uint8_t zero[32];
	struct ck_err err = { 0 };

	for (int c = 0; c < 2; c++) {
		struct ck_layer_key key = new_key((enum ck_layer_cipher)c);
		CK_JSON *a = json_object();
		CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
		CK_AUTO(ck_layer_key_freep) struct ck_layer_key *back = NULL;
		CK_SECRET opts = { 0 };
		assert_rc(ck_newopts_private(&opts, &key, DIGEST, &err), 0, &err);
		assert_rc(ck_newopts_public(a, &key, &err), 0, &err);
		assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
		assert_rc(ck_privopts_expected(e, &err), 0, &err);
		assert_rc(ck_privopts_read(&opts, e, &back, &err), 0, &err);
		assert_int_equal(back->cipher, c);
		assert_memory_equal(back->symkey, key.symkey, 32);
		assert_memory_equal(back->nonce, c == CK_LAYER_CTR ? key.nonce : zero, 16);
		assert_memory_equal(back->hmac, c == CK_LAYER_CTR ? key.hmac : zero, 32);
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
		cmocka_unit_test(chunked_table),
		cmocka_unit_test(chunked_has_no_hmac_and_no_nonce),
		cmocka_unit_test(private_options_as_ocicrypt_writes_them),
		cmocka_unit_test(digests_that_are_none),
		cmocka_unit_test(public_options_as_ocicrypt_writes_them),
		cmocka_unit_test(written_options_are_read_back),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
