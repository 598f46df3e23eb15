/* maatoken: a good token, and then each claim and each part of the signature wrong. */
#include "attest/maatoken.h"

#include <errno.h>
#include <stdlib.h>

#include "attest/jose.h"
#include "base/json.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

enum { NOW = 1700000000 };

static struct ck_runtime_key runtime;
static json_t *keys; /* signers 0 (as x5c) and 1 (as n, e) */
static struct ck_maatoken_expect expect;

static json_t *good_claims(void)
{
	char hex[129];
	CK_JSON *data = NULL;

	ck_hex(hex, runtime.report_data, 64);
	assert_int_equal(ck_json_parse(&data, runtime.jwks.data, runtime.jwks.len, "jwks", NULL),
			 0);
	return json_pack("{s:s,s:i,s:i,s:i,s:s,s:b,s:s,s:i,s:O,s:s}", "iss",
			 "https://sharedeus.eus.attest.azure.net", "iat", NOW - 5, "nbf", NOW - 5,
			 "exp", NOW + 28800, "x-ms-attestation-type", "sevsnpvm",
			 "x-ms-sevsnpvm-is-debuggable", 0, "x-ms-sevsnpvm-reportdata", hex,
			 "x-ms-sevsnpvm-vmpl", 0, "x-ms-runtime", data, "nonce", "our-nonce");
}

static int check(const char *alg, const char *kid, const json_t *claims, EVP_PKEY *key,
		 struct ck_err *err)
{
	CK_AUTO(ck_freep) char *t = mint_jws(alg, kid, NULL, claims, key);

	return ck_maatoken_check(t, strlen(t), keys, &expect, NOW, err);
}

static void good(void **state)
{
	CK_JSON *claims = good_claims();
	struct ck_err err = { 0 };

	(void)state;
	assert_works(check("RS256", "signer0", claims, mint_rsa(0), &err), &err);
	assert_works(check("RS256", "signer1", claims, mint_rsa(1), &err), &err);
	/* Older versions of the service do not echo the nonce. */
	json_object_del(claims, "nonce");
	assert_works(check("RS256", "signer0", claims, mint_rsa(0), &err), &err);
	/* Upper-case hex is the same report data. */
	char hex[129];
	ck_hex(hex, runtime.report_data, 64);
	for (char *c = hex; *c; c++)
		*c = (char)(*c >= 'a' ? *c - 32 : *c);
	json_object_set_new(claims, "x-ms-sevsnpvm-reportdata", json_string(hex));
	assert_works(check("RS256", "signer0", claims, mint_rsa(0), &err), &err);
}

static void signatures(void **state)
{
	static const struct {
		const char *why, *alg, *kid;
		int key;
		const char *says;
	} rows[] = {
		{ "alg none", "none", "signer0", 0, "three parts" },
		{ "HS256 with the public key", "HS256", "signer0", 0, "\"HS256\" is not accepted" },
		{ "PS256 is for releases only", "PS256", "signer0", 0,
		  "\"PS256\" is not accepted" },
		{ "unknown kid", "RS256", "signer9", 0, "not among the instance's keys" },
		{ "no kid", "RS256", NULL, 0, "does not name its signing key" },
		{ "another key of the set", "RS256", "signer1", 0, "signature is not valid" },
		{ "a stranger's key", "RS256", "signer0", 2, "signature is not valid" },
	};
	CK_JSON *claims = good_claims();

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_err err = { 0 };
		int rc = check(rows[i].alg, rows[i].kid, claims, mint_rsa(rows[i].key), &err);
		if (rc != -EBADMSG || (!strstr(err.msg, rows[i].says) && rows[i].alg[0] != 'n'))
			fail_msg("%s: %d %s", rows[i].why, rc, err.msg);
		if (!strstr(err.msg, "sharedeus.eus.attest.azure.net not accepted"))
			fail_msg("%s: %s", rows[i].why, err.msg);
	}
}

static void claims_wrong(void **state)
{
	/* VALUE is JSON; NULL takes the claim away. */
	static const struct {
		const char *claim, *value, *says;
	} rows[] = {
		{ "iss", NULL, "\"iss\" is missing" },
		{ "iss", "\"https://evil.attest.azure.net\"", "claim iss" },
		{ "iss", "\"https://sharedeus.eus.attest.azure.net/\"", "claim iss" },
		{ "iss", "\"http://sharedeus.eus.attest.azure.net\"", "claim iss" },
		{ "iss", "[\"https://sharedeus.eus.attest.azure.net\"]", "\"iss\"" },
		{ "exp", NULL, "\"exp\"" },
		{ "exp", "1699999900", "expired 100 s ago" },
		{ "nbf", "1700000100", "not valid for another 100 s" },
		{ "x-ms-attestation-type", NULL, "x-ms-attestation-type" },
		{ "x-ms-attestation-type", "\"azurevm\"", "x-ms-attestation-type" },
		{ "x-ms-sevsnpvm-is-debuggable", NULL, "is-debuggable\" is missing" },
		{ "x-ms-sevsnpvm-is-debuggable", "true", "is-debuggable is true" },
		{ "x-ms-sevsnpvm-is-debuggable", "\"false\"", "neither true nor false" },
		{ "x-ms-sevsnpvm-reportdata", NULL, "reportdata\" is missing" },
		{ "x-ms-sevsnpvm-reportdata", "\"00\"", "not our report data" },
		{ "x-ms-sevsnpvm-reportdata",
		  "\"0000000000000000000000000000000000000000000000000000000000000000"
		  "0000000000000000000000000000000000000000000000000000000000000000\"",
		  "not our report data" },
		{ "x-ms-runtime", NULL, "\"x-ms-runtime\" is missing" },
		{ "x-ms-runtime", "{}", "\"keys\" is missing" },
		{ "x-ms-runtime", "{\"keys\":[]}", "holds 0 keys" },
		{ "x-ms-runtime", "{\"keys\":[{}]}", "x-ms-runtime" },
		{ "x-ms-runtime", "{\"keys\":[1]}", "x-ms-runtime" },
		{ "nonce", "\"another\"", "another request (nonce)" },
		{ "nonce", "5", "\"nonce\" is not a string" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *c = good_claims();
		struct ck_err err = { 0 };
		if (rows[i].value)
			json_object_set_new(c, rows[i].claim,
					    json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
		else
			json_object_del(c, rows[i].claim);
		assert_fails(check("RS256", "signer0", c, mint_rsa(0), &err), -EBADMSG, &err,
			     rows[i].says);
	}
}

static void runtime_keys(void **state)
{
	struct ck_err err = { 0 };
	CK_JSON *c = good_claims();
	json_t *list = json_object_get(json_object_get(c, "x-ms-runtime"), "keys");

	(void)state;
	/* One more beside ours: the HSM might wrap to it. */
	json_array_append_new(list, mint_jwk(mint_rsa(3)));
	assert_fails(check("RS256", "signer0", c, mint_rsa(0), &err), -EBADMSG, &err,
		     "holds 2 keys");
	json_array_remove(list, 0);
	assert_fails(check("RS256", "signer0", c, mint_rsa(0), &err), -EBADMSG, &err,
		     "another key than ours");
	/* Ours, under the isolation claims of a vTPM token only. */
	CK_JSON *d = good_claims();
	json_object_set_new(d, "x-ms-isolation-tee",
			    json_pack("{s:O}", "x-ms-runtime", json_object_get(d, "x-ms-runtime")));
	json_object_del(d, "x-ms-runtime");
	assert_fails(check("RS256", "signer0", d, mint_rsa(0), &err), -EBADMSG, &err,
		     "\"x-ms-runtime\" is missing");
}

static void hostile_keysets(void **state)
{
	static const char *const sets[] = {
		"{}",
		"{\"keys\":{}}",
		"{\"keys\":[]}",
		"{\"keys\":[1,null,[]]}",
		"{\"keys\":[{\"kid\":1}]}",
		"{\"keys\":[{\"kid\":\"signer0\"}]}",
		"{\"keys\":[{\"kid\":\"signer0\",\"x5c\":[]}]}",
		"{\"keys\":[{\"kid\":\"signer0\",\"x5c\":[\"!\"]}]}",
		"{\"keys\":[{\"kid\":\"signer0\",\"x5c\":[\"AAAA\"]}]}",
		"{\"keys\":[{\"kid\":\"signer0\",\"n\":\"AA\",\"e\":\"AQAB\"}]}",
	};
	CK_JSON *claims = good_claims();
	CK_AUTO(ck_freep) char *t = mint_jws("RS256", "signer0", NULL, claims, mint_rsa(0));

	(void)state;
	for (size_t i = 0; i < N_OF(sets); i++) {
		CK_JSON *j = json_loads(sets[i], 0, NULL);
		struct ck_err err = { 0 };
		assert_fails(ck_maatoken_check(t, strlen(t), j, &expect, NOW, &err), -EBADMSG, &err,
			     "not accepted");
	}
}

static int setup(void **state)
{
	const struct mint_cert c = { .cn = "maa" };
	X509 *cert = mint_cert(&c, mint_rsa(0), NULL, NULL);
	json_t *x5c = json_array(), *second = mint_jwk(mint_rsa(1));
	struct ck_err err = { 0 };

	(void)state;
	mint_x5c_add(x5c, cert);
	X509_free(cert);
	json_object_set_new(second, "kid", json_string("signer1"));
	keys = json_pack("{s:[{s:s,s:s,s:o},o]}", "keys", "kid", "signer0", "kty", "RSA", "x5c",
			 x5c, second);
	expect = (struct ck_maatoken_expect){ .host = "sharedeus.eus.attest.azure.net",
					      .tee = &ck_tee_snp,
					      .key = &runtime,
					      .nonce = "our-nonce" };
	return ck_runtime_key_new(&runtime, &err);
}

static int teardown(void **state)
{
	(void)state;
	json_decref(keys);
	ck_runtime_key_free(&runtime);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(signatures),
		cmocka_unit_test(claims_wrong),
		cmocka_unit_test(runtime_keys),
		cmocka_unit_test(hostile_keysets),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
