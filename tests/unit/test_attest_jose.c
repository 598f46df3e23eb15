/* jose: published vectors, and what a hostile token may try. */
#include "attest/jose.h"

#include <errno.h>
#include <stdlib.h>

#include "attest/runtimekey.h"
#include "base/json.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/sidecar_vector.h"
#include "tests/unit/lib/unit.h"

static const char *const rs256[] = { "RS256", NULL };
static const char *const both[] = { "RS256", "PS256", NULL };

/* RFC 7517 appendix A.1, RFC 7638 section 3.1. */
static const char example_n[] =
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJEC"
    "PebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Qvz"
    "qY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZ"
    "u0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

/* RFC 7515 appendix A.2. */
static const char a2_n[] =
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
static const char a2_jws[] =
    "eyJhbGciOiJSUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static void rfc7517_key_and_rfc7638_thumbprint(void **state)
{
	CK_JSON *jwk = json_pack("{s:s,s:s,s:s}", "kty", "RSA", "n", example_n, "e", "AQAB");
	CK_PKEY *key = NULL;
	CK_BUF n = { 0 };
	CK_BUF e = { 0 };
	char kid[CK_THUMBPRINT_STR];
	struct ck_err err = { 0 };

	(void)state;
	assert_works(ck_jwk_rsa(&key, jwk, &err), &err);
	assert_int_equal(EVP_PKEY_get_bits(key), 2048);
	assert_works(ck_jwk_numbers(key, &n, &e, &err), &err);
	assert_string_equal(ck_buf_str(&n), example_n);
	assert_string_equal(ck_buf_str(&e), "AQAB");
	assert_works(ck_jwk_thumbprint(kid, example_n, "AQAB", &err), &err);
	assert_string_equal(kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

static void rfc7515_a2(void **state)
{
	CK_JSON *jwk = json_pack("{s:s,s:s,s:s}", "kty", "RSA", "n", a2_n, "e", "AQAB");
	CK_PKEY *key = NULL;
	CK_JWS j = { 0 };
	struct ck_err err = { 0 };
	char bad[sizeof a2_jws];

	(void)state;
	assert_works(ck_jwk_rsa(&key, jwk, &err), &err);
	assert_works(ck_jws_parse(&j, a2_jws, strlen(a2_jws), "t", &err), &err);
	assert_works(ck_jws_verify(&j, key, rs256, &err), &err);
	assert_string_equal(json_string_value(json_object_get(j.payload, "iss")), "joe");
	assert_null(j.kid);
	/* One bit of the payload ("iss":"joe" -> "iss":"jod"), then of the signature. */
	ck_jws_free(&j);
	memcpy(bad, a2_jws, sizeof bad);
	bad[strchr(bad, '.') - bad + 15] = 'Q';
	assert_works(ck_jws_parse(&j, bad, strlen(bad), "t", &err), &err);
	assert_fails(ck_jws_verify(&j, key, rs256, &err), -EBADMSG, &err, "not valid");
	ck_jws_free(&j);
	memcpy(bad, a2_jws, sizeof bad);
	bad[sizeof bad - 10] ^= 1;
	assert_works(ck_jws_parse(&j, bad, strlen(bad), "t", &err), &err);
	assert_fails(ck_jws_verify(&j, key, rs256, &err), -EBADMSG, &err, "not valid");
	/* The right signature, another key. */
	ck_jws_free(&j);
	assert_works(ck_jws_parse(&j, a2_jws, strlen(a2_jws), "t", &err), &err);
	assert_fails(ck_jws_verify(&j, mint_rsa(0), rs256, &err), -EBADMSG, &err, "not valid");
}

static void hostile_text(void **state)
{
	/* Header {"alg":"RS256"} is eyJhbGciOiJSUzI1NiJ9, {} is e30, [] is W10. */
	static const struct {
		const char *why, *text, *says;
	} rows[] = {
		{ "nothing", "", "three parts" },
		{ "one part", "eyJhbGciOiJSUzI1NiJ9", "three parts" },
		{ "two parts", "eyJhbGciOiJSUzI1NiJ9.e30", "three parts" },
		{ "five parts, a JWE", "eyJhbGciOiJSUzI1NiJ9.e30.AA.AA.AA", "three parts" },
		{ "extra dot at the end", "eyJhbGciOiJSUzI1NiJ9.e30.AA.", "three parts" },
		{ "extra dot at the start", ".eyJhbGciOiJSUzI1NiJ9.e30.AA", "three parts" },
		{ "only dots", "..", "empty or padded" },
		{ "no header", ".e30.AA", "empty or padded" },
		{ "no payload", "eyJhbGciOiJSUzI1NiJ9..AA", "empty or padded" },
		{ "no signature: alg none's form", "eyJhbGciOiJSUzI1NiJ9.e30.", "empty or padded" },
		{ "padded part", "eyJhbGciOiJSUzI1NiJ9.e30=.AA", "empty or padded" },
		{ "standard alphabet", "eyJhbGciOiJSUzI1NiJ9.e30.A+/A", "base64" },
		{ "white space", "eyJhbGciOiJSUzI1NiJ9 .e30.AA", "base64" },
		{ "impossible length", "eyJhbGciOiJSUzI1NiJ9.e30.A", "base64" },
		{ "second spelling of the bytes", "eyJhbGciOiJSUzI1NiJ9.e30.AB", "base64" },
		{ "header is no JSON", "AAAA.e30.AA", "not valid JSON" },
		{ "header is an array", "W10.e30.AA", "header is not a JSON object" },
		{ "payload is an array", "eyJhbGciOiJSUzI1NiJ9.W10.AA", "payload is not a JSON" },
		{ "no alg", "e30.e30.AA", "\"alg\" is missing" },
		{ "alg is a number", "eyJhbGciOjF9.e30.AA", "\"alg\" is not a string" },
		{ "alg twice", "eyJhbGciOiJSUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AA", "not valid JSON" },
		{ "kid is a number", "eyJhbGciOiJSUzI1NiIsImtpZCI6MX0.e30.AA", "\"kid\"" },
		{ "critical extension", "eyJhbGciOiJSUzI1NiIsImNyaXQiOlsiYjY0Il19.e30.AA",
		  "critical extensions" },
	};
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JWS j = { 0 };
		size_t n = strlen(rows[i].text);
		char *exact = malloc(n ? n : 1); /* no NUL behind it: ASan sees an over-read */
		memcpy(exact, rows[i].text, n);
		assert_fails(ck_jws_parse(&j, exact, n, "the token", &err), -EBADMSG, &err,
			     rows[i].says);
		free(exact);
	}
	CK_JWS j = { 0 };
	char *big = calloc(1, CK_JWS_MAX + 1);
	assert_fails(ck_jws_parse(&j, big, CK_JWS_MAX + 1, "the token", &err), -EBADMSG, &err,
		     "more than");
	free(big);
	for (size_t n = 0; n < sizeof a2_jws - 5; n++) { /* truncated anywhere */
		struct ck_jws t = { 0 };
		if (ck_jws_parse(&t, a2_jws, n, "t", &err) == 0)
			assert_int_equal(ck_jws_verify(&t, mint_rsa(0), rs256, &err), -EBADMSG);
		ck_jws_free(&t);
	}
}

static void algorithms(void **state)
{
	static const struct {
		const char *alg;
		const char *const *accepted;
		int rc;
	} rows[] = {
		{ "RS256", rs256, 0 },	      { "RS256", both, 0 },	    { "PS256", both, 0 },
		{ "PS256", rs256, -EBADMSG }, { "HS256", rs256, -EBADMSG }, /* the public key as an
									       HMAC secret */
		{ "HS256", both, -EBADMSG },
	};
	CK_JSON *payload = json_pack("{s:i}", "a", 1);
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_freep) char *t = mint_jws(rows[i].alg, "k", NULL, payload, mint_rsa(1));
		CK_JWS j = { 0 };
		assert_works(ck_jws_parse(&j, t, strlen(t), "t", &err), &err);
		assert_string_equal(j.kid, "k");
		if (ck_jws_verify(&j, mint_rsa(1), rows[i].accepted, &err) != rows[i].rc)
			fail_msg("row %zu: %s", i, err.msg);
	}
	/* A valid RS256 signature whose header says something else. */
	static const char *const lies[] = {
		"none", "None", "HS256", "RS384", "ES256", "", "rs256"
	};
	for (size_t i = 0; i < N_OF(lies); i++) {
		CK_JSON *extra = json_pack("{s:s}", "alg", lies[i]);
		CK_AUTO(ck_freep) char *t = mint_jws("RS256", "k", extra, payload, mint_rsa(1));
		CK_JWS j = { 0 };
		assert_works(ck_jws_parse(&j, t, strlen(t), "t", &err), &err);
		assert_fails(ck_jws_verify(&j, mint_rsa(1), both, &err), -EBADMSG, &err,
			     "is not accepted");
	}
}

static void weak_keys(void **state)
{
	EVP_PKEY *small = EVP_RSA_gen(1024), *ec = EVP_EC_gen("P-256");
	CK_JSON *payload = json_object();
	CK_JSON *small_jwk = mint_jwk(small);
	CK_AUTO(ck_freep) char *t = mint_jws("RS256", NULL, NULL, payload, small);
	CK_JWS j = { 0 };
	CK_PKEY *key = NULL;
	struct ck_err err = { 0 };

	(void)state;
	assert_works(ck_jws_parse(&j, t, strlen(t), "t", &err), &err);
	assert_fails(ck_jws_verify(&j, small, rs256, &err), -EBADMSG, &err, "2048 bits");
	assert_fails(ck_jws_verify(&j, ec, rs256, &err), -EBADMSG, &err, "no RSA key");
	assert_fails(ck_jwk_rsa(&key, small_jwk, &err), -EBADMSG, &err, "1024 bits");
	EVP_PKEY_free(small);
	EVP_PKEY_free(ec);
}

static void bad_jwks(void **state)
{
	static const struct {
		const char *why, *n, *e;
	} rows[] = {
		{ "no n", NULL, "AQAB" },	{ "no e", example_n, NULL },
		{ "empty n", "", "AQAB" },	{ "empty e", example_n, "" },
		{ "e = 1", example_n, "AQ" },	{ "e = 2", example_n, "Ag" },
		{ "n no base64", "!", "AQAB" },
	};
	CK_PKEY *key = NULL;
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *j = json_pack("{s:s*,s:s*}", "n", rows[i].n, "e", rows[i].e);
		if (ck_jwk_rsa(&key, j, &err) != -EBADMSG)
			fail_msg("%s", rows[i].why);
	}
	char *huge = malloc(20001);
	memset(huge, 'B', 20000);
	huge[20000] = 0;
	CK_JSON *j = json_pack("{s:s,s:s}", "n", huge, "e", "AQAB");
	assert_int_equal(ck_jwk_rsa(&key, j, &err), -EBADMSG);
	free(huge);
}

static void times(void **state)
{
	static const struct {
		const char *why, *claims;
		int rc;
	} rows[] = {
		{ "current", "{\"exp\":1100,\"nbf\":900}", 0 },
		{ "nbf is optional", "{\"exp\":1100}", 0 },
		{ "fractions (RFC 7519 section 2)", "{\"exp\":1100.5,\"nbf\":900.5}", 0 },
		{ "ended 59 s ago: skew", "{\"exp\":941}", 0 },
		{ "ended 60 s ago", "{\"exp\":940}", -EBADMSG },
		{ "begins in 60 s: skew", "{\"exp\":2000,\"nbf\":1060}", 0 },
		{ "begins in 61 s", "{\"exp\":2000,\"nbf\":1061}", -EBADMSG },
		{ "no end", "{\"nbf\":900}", -EBADMSG },
		{ "end is text", "{\"exp\":\"1100\"}", -EBADMSG },
		{ "begin is text", "{\"exp\":1100,\"nbf\":\"900\"}", -EBADMSG },
		{ "end is null", "{\"exp\":null}", -EBADMSG },
		{ "far below zero", "{\"exp\":-9223372036854775808}", -EBADMSG },
		{ "far begin", "{\"exp\":9223372036854775807,\"nbf\":9223372036854775807}",
		  -EBADMSG },
	};
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *j = NULL;
		assert_works(ck_json_parse(&j, rows[i].claims, strlen(rows[i].claims), "t", &err),
			     &err);
		if (ck_jwt_times(j, 1000, &err) != rows[i].rc)
			fail_msg("%s: %s", rows[i].why, err.msg);
	}
}

static void runtime_data(void **state)
{
	struct ck_err err = { 0 };
	CK_BUF der = { 0 };
	CK_RUNTIME_KEY k = { 0 };
	CK_RUNTIME_KEY a = { 0 };
	CK_RUNTIME_KEY b = { 0 };
	char hex[129];

	(void)state;
	/* The published key gives the published hash: the bytes are the sidecar's own. */
	assert_works(ck_b64_decode(&der, CK_B64_STD, SIDECAR_KEY, strlen(SIDECAR_KEY), &err), &err);
	const unsigned char *at = der.data;
	k.pair = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
	assert_non_null(k.pair);
	assert_works(ck_runtime_key_describe(&k, &err), &err);
	ck_hex(hex, k.report_data, 64);
	assert_string_equal(hex, SIDECAR_RUNTIME_SHA256
			    "0000000000000000000000000000000000000000000000000000000000000000");
	/* A new one each time. */
	assert_works(ck_runtime_key_new(&a, &err), &err);
	assert_works(ck_runtime_key_new(&b, &err), &err);
	assert_int_equal(EVP_PKEY_get_bits(a.pair), 2048);
	assert_int_not_equal(EVP_PKEY_eq(a.pair, b.pair), 1);
	assert_memory_not_equal(a.report_data, b.report_data, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7517_key_and_rfc7638_thumbprint),
		cmocka_unit_test(rfc7515_a2),
		cmocka_unit_test(hostile_text),
		cmocka_unit_test(algorithms),
		cmocka_unit_test(weak_keys),
		cmocka_unit_test(bad_jwks),
		cmocka_unit_test(times),
		cmocka_unit_test(runtime_data),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
