#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/json.h"
#include "base/secret.h"
#include "keyprov/oaep.h"
#include "keyprov/packet.h"

/* As skopeo makes them: 193 bytes, 3 too many for one block of RSA-2048. */
static const char optsdata[] =
    "{\"symkey\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"digest\":\"sha256:"
    "0000000000000000000000000000000000000000000000000000000000000000\",\"cipheroptions\":"
    "{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}}";

static EVP_PKEY *rsa2048, *rsa3072, *ec;

static int make_keys(void **state)
{
	(void)state;
	struct ck_err err;

	rsa2048 = EVP_RSA_gen(2048);
	rsa3072 = EVP_RSA_gen(3072);
	ec = EVP_EC_gen("P-256");
	return ck_secret_init(&err) || !rsa2048 || !rsa3072 || !ec;
}

static int free_keys(void **state)
{
	(void)state;
	EVP_PKEY_free(rsa2048);
	EVP_PKEY_free(rsa3072);
	EVP_PKEY_free(ec);
	return 0;
}

static const struct ck_packet_names names = { "imagekey000", "hsm.example", "maa.example" };

/* Wraps NBYTES of DATA with KEY, checks the label, opens again. */
static void round_trip(EVP_PKEY *key, const void *data, size_t nbytes, const char *label)
{
	CK_BUF out = { 0 };
	CK_PACKET p = { 0 };
	CK_SECRET back = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_packet_wrap(key, &names, data, nbytes, &out, &err), 0, &err);
	assert_rc(ck_packet_parse(&p, out.data, out.len, &err), 0, &err);
	assert_string_equal(p.wrap_type, label);
	assert_string_equal(p.kid, "imagekey000");
	assert_string_equal(p.hsm_host, "hsm.example");
	assert_string_equal(p.maa_host, "maa.example");
	assert_rc(ck_packet_unwrap(&p, key, &back, &err), 0, &err);
	assert_int_equal(back.len, nbytes);
	assert_memory_equal(back.data, data, nbytes);
}

static void every_key_size(void **state)
{
	(void)state;
	EVP_PKEY *rsa4096 = EVP_RSA_gen(4096);
	uint8_t big[CK_PACKET_DATA_MAX] = { 7 };

	assert_int_equal(strlen(optsdata), 193);
	round_trip(rsa2048, optsdata, 193, CK_WRAP_HYBRID);
	round_trip(rsa2048, optsdata, 191, CK_WRAP_HYBRID);
	round_trip(rsa2048, optsdata, 190, "rsa_2048");
	round_trip(rsa3072, optsdata, 193, "rsa_3072");
	round_trip(rsa3072, big, 318, "rsa_3072");
	round_trip(rsa3072, big, 319, CK_WRAP_HYBRID);
	round_trip(rsa3072, big, sizeof big, CK_WRAP_HYBRID);
	round_trip(rsa4096, optsdata, 193, "rsa_4096");
	EVP_PKEY_free(rsa4096);
}

/* Nobody would notice a content key that is always the same: every packet opens. */
static void hybrid_keys_and_ivs_are_fresh(void **state)
{
	(void)state;
	struct ck_secret keys[2] = { 0 };
	uint8_t ivs[2][12];
	struct ck_err err = { 0 };

	for (int i = 0; i < 2; i++) {
		CK_BUF out = { 0 };
		CK_PACKET p = { 0 };
		assert_rc(ck_packet_wrap(rsa2048, &names, optsdata, 193, &out, &err), 0, &err);
		assert_rc(ck_packet_parse(&p, out.data, out.len, &err), 0, &err);
		assert_rc(
		    ck_oaep_decrypt(rsa2048, EVP_sha256(), p.wrapped.data, 256, &keys[i], &err), 0,
		    &err);
		assert_int_equal(keys[i].len, 32);
		assert_int_equal(p.iv.len, 12);
		memcpy(ivs[i], p.iv.data, 12);
	}
	assert_memory_not_equal(keys[0].data, keys[1].data, 32);
	assert_memory_not_equal(ivs[0], ivs[1], 12);
	ck_secret_free(&keys[0]);
	ck_secret_free(&keys[1]);
}

/* AASP takes any label for RSA-OAEP-SHA256, so a packet opens by what it is made of. */
static void label_is_not_checked(void **state)
{
	(void)state;
	static const char *const labels[] = { "rsa_3072", "rsa_4096", "whatever", "" };
	CK_BUF out = { 0 };
	CK_JSON *doc = NULL;
	struct ck_err err = { 0 };

	assert_rc(ck_packet_wrap(rsa2048, &names, "key", 3, &out, &err), 0, &err);
	assert_rc(ck_json_parse(&doc, out.data, out.len, "", &err), 0, &err);
	for (size_t i = 0; i < 5; i++) {
		CK_BUF text = { 0 };
		CK_PACKET p = { 0 };
		CK_SECRET back = { 0 };

		if (i < 4)
			json_object_set_new(doc, "wrap_type", json_string(labels[i]));
		else
			json_object_del(doc, "wrap_type");
		assert_rc(ck_json_dump(&text, doc, &err), 0, &err);
		assert_rc(ck_packet_parse(&p, text.data, text.len, &err), 0, &err);
		assert_rc(ck_packet_unwrap(&p, rsa2048, &back, &err), 0, &err);
		assert_int_equal(back.len, 3);
	}
}

static void damage_and_wrong_keys_do_not_open(void **state)
{
	(void)state;
	struct ck_err err = { 0 };

	/* Every part of a hybrid packet: block, ciphertext, tag, IV. */
	for (int at = 0; at < 5; at++) {
		CK_BUF out = { 0 };
		CK_PACKET p = { 0 };
		CK_SECRET back = { 0 };
		assert_rc(ck_packet_wrap(rsa2048, &names, optsdata, 193, &out, &err), 0, &err);
		assert_rc(ck_packet_parse(&p, out.data, out.len, &err), 0, &err);
		assert_int_equal(p.wrapped.len, 256 + 193 + 16);
		if (at < 3)
			p.wrapped.data[at == 0 ? 9 : at == 1 ? 256 : p.wrapped.len - 1] ^= 1;
		else if (at == 3)
			p.iv.data[0] ^= 1;
		else
			p.iv.len = 11;
		assert_rc(ck_packet_unwrap(&p, rsa2048, &back, &err), -EBADMSG, &err);
		assert_null(back.data);
	}

	CK_BUF out = { 0 };
	CK_PACKET p = { 0 };
	CK_SECRET back = { 0 };
	EVP_PKEY *other = EVP_RSA_gen(3072);
	assert_rc(ck_packet_wrap(rsa3072, &names, optsdata, 193, &out, &err), 0, &err);
	assert_rc(ck_packet_parse(&p, out.data, out.len, &err), 0, &err);
	assert_rc(ck_packet_unwrap(&p, other, &back, &err), -EBADMSG, &err);
	assert_says(&err, "another one");
	assert_rc(ck_packet_unwrap(&p, rsa2048, &back, &err), -EBADMSG, &err);
	assert_says(&err, "384 bytes");
	assert_rc(ck_packet_unwrap(&p, ec, &back, &err), -EINVAL, &err);
	p.kind = CK_PACKET_HYBRID;
	assert_rc(ck_packet_unwrap(&p, ec, &back, &err), -EINVAL, &err);
	for (size_t len = 383; len < 384 + 16; len += 16) { /* no block; no room for a tag */
		assert_rc(ck_buf_reserve(&p.wrapped, 32, &err), 0, &err);
		p.wrapped.len = len;
		assert_rc(ck_packet_unwrap(&p, rsa3072, &back, &err), -EBADMSG, &err);
		assert_says(&err, "cut short");
	}
	EVP_PKEY_free(other);
}

static void unfit_keys_and_data_are_refused(void **state)
{
	(void)state;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };
	EVP_PKEY *small = EVP_RSA_gen(1024);
	uint8_t big[CK_PACKET_DATA_MAX + 1] = { 0 };

	assert_rc(ck_packet_wrap(ec, &names, "k", 1, &out, &err), -EINVAL, &err);
	assert_rc(ck_packet_wrap(small, &names, "k", 1, &out, &err), -EINVAL, &err);
	assert_says(&err, "2048 bits");
	assert_rc(ck_packet_wrap(rsa2048, &names, big, sizeof big, &out, &err), -EFBIG, &err);
	assert_int_equal(out.len, 0);
	EVP_PKEY_free(small);
}

static const struct {
	const char *why, *json;
	int want;
} packets[] = {
	{ "AASP", "{\"kid\":\"k\",\"wrapped_data\":\"AAAA\",\"wrap_type\":\"rsa_3072\"}", 0 },
	{ "confidential-containers v1",
	  "{\"kid\":\"kbs:///r/t/g\",\"wrapped_data\":\"AAAA\",\"iv\":\"AAAAAAAAAAAAAAAA\","
	  "\"wrap_type\":\"A256GCM\"}",
	  0 },
	{ "confidential-containers v2",
	  "{\"version\":\"0.1.0\",\"provider\":\"aliyun\",\"kid\":\"k\",\"wrapped_data\":\"AAAA\","
	  "\"iv\":null,\"wrap_type\":null,\"provider_settings\":{},\"annotations\":{}}",
	  0 },
	{ "no kid", "{\"wrapped_data\":\"AAAA\"}", -EBADMSG },
	{ "kid is a number", "{\"kid\":1,\"wrapped_data\":\"AAAA\"}", -EBADMSG },
	{ "NUL in kid", "{\"kid\":\"a\\u0000b\",\"wrapped_data\":\"AAAA\"}", -EBADMSG },
	{ "no data", "{\"kid\":\"k\"}", -EBADMSG },
	{ "data is no base64", "{\"kid\":\"k\",\"wrapped_data\":\"A\"}", -EBADMSG },
	{ "data in the URL alphabet", "{\"kid\":\"k\",\"wrapped_data\":\"__-_\"}", -EBADMSG },
	{ "two kids", "{\"kid\":\"k\",\"kid\":\"l\",\"wrapped_data\":\"AAAA\"}", -EBADMSG },
	{ "more after it", "{\"kid\":\"k\",\"wrapped_data\":\"AAAA\"}x", -EBADMSG },
	{ "a list", "[]", -EBADMSG },
	{ "nothing", "", -EBADMSG },
};

static void packets_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
		CK_PACKET p = { 0 };
		struct ck_err err = { 0 };
		const char *s = packets[i].json;

		if (ck_packet_parse(&p, s, strlen(s), &err) != packets[i].want)
			fail_msg("%s: %s", packets[i].why, err.msg);
		/* A server parses what others send it: messages quote nothing of it. */
		assert_null(strstr(err.msg, "AAAA"));
	}
	char big[CK_PACKET_MAX + 1];
	CK_PACKET p = { 0 };
	struct ck_err err = { 0 };
	memset(big, ' ', sizeof big);
	assert_rc(ck_packet_parse(&p, big, sizeof big, &err), -EFBIG, &err);
}

static void foreign_packets_say_whose_they_are(void **state)
{
	(void)state;
	CK_PACKET p = { 0 };
	CK_SECRET back = { 0 };
	struct ck_err err = { 0 };
	const char *s = packets[1].json;

	assert_rc(ck_packet_parse(&p, s, strlen(s), &err), 0, &err);
	assert_int_equal(p.kind, CK_PACKET_FOREIGN);
	assert_rc(ck_packet_unwrap(&p, rsa2048, &back, &err), -ENOTSUP, &err);
	assert_says(&err, "provider:NAME");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_size),
		cmocka_unit_test(hybrid_keys_and_ivs_are_fresh),
		cmocka_unit_test(label_is_not_checked),
		cmocka_unit_test(damage_and_wrong_keys_do_not_open),
		cmocka_unit_test(unfit_keys_and_data_are_refused),
		cmocka_unit_test(packets_table),
		cmocka_unit_test(foreign_packets_say_whose_they_are),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
