#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/envelope.h"
#include "tests/unit/lib/skopeo_jwe.h"

#define ENC "org.opencontainers.image.enc."

/* Sets KEY to base64 of TEXT (or appends ",base64" to it). */
static void put(json_t *a, const char *key, const char *text)
{
	CK_BUF b = { 0 };
	const char *old = json_string_value(json_object_get(a, key));

	if (old)
		assert_int_equal(ck_buf_addf(&b, NULL, "%s,", old), 0);
	assert_int_equal(ck_b64_encode(&b, CK_B64_STD, text, strlen(text), NULL), 0);
	json_object_set_new(a, key, json_string(ck_buf_str(&b)));
}

static const char pubopts[] = "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":"
			      "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\","
			      "\"cipheroptions\":{}}";
static const char aasp[] = "{\"kid\":\"imagekey000\",\"wrapped_data\":\"AAAA\",\"wrap_type\":"
			   "\"rsa_3072\",\"kms_endpoint\":\"h.example\",\"attester_endpoint\":"
			   "\"m.example\"}";
static const char coco[] = "{\"kid\":\"kbs:///kbs:///default/key/1\",\"wrapped_data\":\"AAAA\","
			   "\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256GCM\"}";

static void every_scheme(void **state)
{
	(void)state;
	CK_JSON *a = json_object();
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	struct ck_err err = { 0 };

	json_object_set_new(a, "org.opencontainers.image.title", json_string("x"));
	put(a, ENC "keys.provider.attestation-agent", aasp);
	put(a, ENC "keys.provider.attestation-agent", coco);
	put(a, ENC "keys.provider.other", "\x01\x02 not json");
	put(a, ENC "keys.pkcs7", "der");
	put(a, ENC "keys.pgp", "pgp");
	put(a, ENC "keys.pkcs11", "{}");
	put(a, ENC "keys.of-the-future", "x");
	json_object_set_new(a, ENC "keys.jwe", json_string(skopeo_jwe_three));
	put(a, ENC "pubopts", pubopts);
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);

	assert_string_equal(e->cipher, "AES_256_CTR_HMAC_SHA256");
	assert_int_equal(e->n_hmac, 32);
	assert_int_equal(e->hmac[31], 31);
	assert_int_equal(e->n_public_nonce, 0);
	assert_int_equal(e->n_recipients, 7);
	const struct ck_recipient *r = e->recipients;
	assert_int_equal(r[0].scheme, CK_SCHEME_PROVIDER);
	assert_string_equal(r[0].provider, "attestation-agent");
	assert_string_equal(r[0].kid, "imagekey000");
	assert_string_equal(r[0].wrap_type, "rsa_3072");
	assert_string_equal(r[0].hsm_host, "h.example");
	assert_string_equal(r[0].maa_host, "m.example");
	assert_int_equal(r[0].packet_len, strlen(aasp));
	assert_memory_equal(r[0].packet, aasp, strlen(aasp));
	assert_string_equal(r[1].kid, "kbs:///kbs:///default/key/1");
	assert_string_equal(r[1].wrap_type, "A256GCM");
	assert_null(r[1].hsm_host);
	assert_string_equal(r[2].provider, "other");
	assert_null(r[2].kid);
	assert_int_equal(r[3].scheme, CK_SCHEME_PKCS7);
	assert_int_equal(r[4].scheme, CK_SCHEME_PGP);
	assert_int_equal(r[5].scheme, CK_SCHEME_PKCS11);
	assert_string_equal(ck_scheme_name(r[5].scheme), "pkcs11");
	assert_string_equal(r[6].wrap_type, "RSA-OAEP, ECDH-ES+A256KW, ECDH-ES+A256KW");
}

static const struct {
	const char *why, *pubopts; /* pubopts: JSON; "=..." is the annotation itself; NULL: none */
	int want;
	const char *says;
} public_options[] = {
	{ "as skopeo writes them", pubopts, 0, "" },
	{ "null options, as Go writes an empty map",
	  "{\"cipher\":\"x\",\"hmac\":null,\"cipheroptions\":null}", 0, "" },
	{ "a sealed layer's: an HMAC that is empty",
	  "{\"cipher\":\"C2SP_CHUNKED_V1_AES_256_GCM\",\"hmac\":\"\",\"cipheroptions\":{}}", 0,
	  "" },
	{ "no options at all", "{\"cipher\":\"x\"}", 0, "" },
	{ "missing", NULL, -EBADMSG, "pubopts is missing" },
	{ "no cipher", "{\"hmac\":\"\"}", -EBADMSG, "\"cipher\" is missing" },
	{ "empty cipher", "{\"cipher\":\"\"}", -EBADMSG, "\"cipher\" is empty" },
	{ "cipher of another type", "{\"cipher\":1}", -EBADMSG, "not a string" },
	{ "short HMAC", "{\"cipher\":\"x\",\"hmac\":\"AAAA\"}", -EBADMSG, "3 bytes" },
	{ "long HMAC",
	  "{\"cipher\":\"x\",\"hmac\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\"}", -EBADMSG,
	  "33 bytes" },
	{ "HMAC is no base64", "{\"cipher\":\"x\",\"hmac\":\"$$$$\"}", -EBADMSG, "base64" },
	{ "public nonce of another length",
	  "{\"cipher\":\"x\",\"cipheroptions\":{\"nonce\":\"AAAA\"}}", -EBADMSG, "public nonce" },
	{ "empty public nonce", "{\"cipher\":\"x\",\"cipheroptions\":{\"nonce\":\"\"}}", -EBADMSG,
	  "public nonce" },
	{ "options are a list", "{\"cipher\":\"x\",\"cipheroptions\":[]}", -EBADMSG, "object" },
	{ "a list", "[]", -EBADMSG, "not a JSON object" },
	{ "not JSON", "{", -EBADMSG, "not valid JSON" },
	{ "two meanings", "{\"cipher\":\"x\",\"cipher\":\"y\"}", -EBADMSG, "duplicate" },
	{ "not base64", "=%%%", -EBADMSG, "base64" },
	{ "base64 without padding", "=e30", -EBADMSG, "base64" },
	{ "two of them", "=e30=,e30=", -EBADMSG, "base64" },
	{ "empty", "=", -EBADMSG, "not valid JSON" },
};

static void public_options_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof public_options / sizeof public_options[0]; i++) {
		CK_JSON *a = json_object();
		CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
		struct ck_err err = { 0 };
		const char *p = public_options[i].pubopts;

		put(a, ENC "keys.provider.attestation-agent", aasp);
		if (p && *p == '=')
			json_object_set_new(a, ENC "pubopts", json_string(p + 1));
		else if (p)
			put(a, ENC "pubopts", p);
		if (ck_envelope_parse(&e, a, &err) != public_options[i].want)
			fail_msg("%s: %s", public_options[i].why, err.msg);
		assert_says(&err, public_options[i].says);
		if (e) {
			assert_int_equal(e->n_hmac, p == pubopts ? 32 : 0);
			assert_int_equal(e->n_public_nonce, 0);
		}
	}
}

static void public_nonce_is_kept_for_the_comparison(void **state)
{
	(void)state;
	CK_JSON *a = json_object();
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	struct ck_err err = { 0 };

	put(a, ENC "pubopts",
	    "{\"cipher\":\"x\",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAQ==\"}}");
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
	assert_int_equal(e->n_public_nonce, 16);
	assert_int_equal(e->public_nonce[15], 1);
	assert_int_equal(e->n_recipients, 0);
}

static const struct {
	const char *why, *key, *value;
	int want;
	const char *says;
} values[] = {
	{ "not base64", ENC "keys.jwe", "!!!!", -EBADMSG, "keys.jwe: not valid base64" },
	{ "empty annotation", ENC "keys.jwe", "", -EBADMSG, "empty packet" },
	{ "empty part between commas", ENC "keys.provider.a", "e30=,,e30=", -EBADMSG,
	  "empty packet" },
	{ "comma at the end", ENC "keys.provider.a", "e30=,", -EBADMSG, "empty packet" },
	{ "white space", ENC "keys.provider.a", "e30=, e30=", -EBADMSG, "base64" },
	{ "no provider name", ENC "keys.provider.", "!", 0, "" },
	{ "unknown scheme", ENC "keys.jwe2", "!", 0, "" },
	{ "nothing of keys", ENC "other", "!", 0, "" },
};

static void annotation_values_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		CK_JSON *a = json_object();
		CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
		struct ck_err err = { 0 };

		put(a, ENC "pubopts", pubopts);
		json_object_set_new(a, values[i].key, json_string(values[i].value));
		if (ck_envelope_parse(&e, a, &err) != values[i].want)
			fail_msg("%s: %s", values[i].why, err.msg);
		assert_says(&err, values[i].says);
	}
}

static void plain_layers_have_no_envelope(void **state)
{
	(void)state;
	CK_JSON *plain = json_pack("{s:s}", "org.opencontainers.image.title", "x");
	CK_JSON *list = json_array();
	struct ck_envelope *e = NULL;
	struct ck_err err = { 0 };

	assert_rc(ck_envelope_parse(&e, NULL, &err), -ENODATA, &err);
	assert_rc(ck_envelope_parse(&e, plain, &err), -ENODATA, &err);
	assert_rc(ck_envelope_parse(&e, list, &err), -EBADMSG, &err);
	CK_JSON *number = json_pack("{s:i}", ENC "pubopts", 1);
	assert_rc(ck_envelope_parse(&e, number, &err), -EBADMSG, &err);
	assert_null(e);
}

static void sizes_and_counts_are_bounded(void **state)
{
	(void)state;
	CK_JSON *a = json_object();
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	struct ck_err err = { 0 };
	char *big = malloc((1 << 20) + 5);

	put(a, ENC "pubopts", pubopts);
	for (int i = 0; i < 64; i++)
		put(a, ENC "keys.provider.a", aasp);
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
	assert_int_equal(e->n_recipients, 64);
	struct ck_envelope *none = NULL;
	put(a, ENC "keys.provider.a", aasp);
	assert_rc(ck_envelope_parse(&none, a, &err), -EBADMSG, &err);
	assert_says(&err, "more than 64 recipients");

	assert_non_null(big);
	memset(big, 'A', (1 << 20) + 4);
	big[(1 << 20) + 4] = 0;
	json_object_set_new(a, ENC "keys.provider.a", json_string(big));
	assert_rc(ck_envelope_parse(&none, a, &err), -EBADMSG, &err);
	assert_says(&err, "1048576 bytes");
	big[512 << 10] = 0; /* one packet of 384 KiB */
	json_object_set_new(a, ENC "keys.provider.a", json_string(big));
	assert_rc(ck_envelope_parse(&none, a, &err), -EFBIG, &err);
	assert_null(none);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_scheme),
		cmocka_unit_test(public_options_table),
		cmocka_unit_test(public_nonce_is_kept_for_the_comparison),
		cmocka_unit_test(annotation_values_table),
		cmocka_unit_test(plain_layers_have_no_envelope),
		cmocka_unit_test(sizes_and_counts_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
