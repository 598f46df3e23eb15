#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "tools/azsim/jose.h"

/* RFC 7638 section 3.1. */
static const char jwk_text[] =
    "{\"kty\":\"RSA\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7a"
    "PFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v"
    "-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFT"
    "WhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":"
    "\"A"
    "QAB\"}";

static void thumbprint(void **state)
{
	CK_JSON *jwk = json_loads(jwk_text, 0, NULL);
	AZ_PKEY *key = NULL;
	CK_JSON *again = NULL;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_jwk_read(&key, jwk, false, &err), 0);
	assert_int_equal(az_jwk_thumbprint(&out, CK_B64_URL, key, &err), 0);
	assert_string_equal(ck_buf_str(&out), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
	assert_int_equal(az_jwk_public(&again, key, &err), 0);
	assert_true(json_equal(jwk, again));
}

/* RFC 7515 appendix A.2: RS256. */
static const char a2_key[] =
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
    "4q"
    "PCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-b"
    "Sf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4L"
    "T6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":"
    "\"A"
    "QAB\"}";
static const char a2[] =
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvb"
    "S9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4B"
    "h-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBA"
    "rLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1p"
    "hCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static void rfc7515(void **state)
{
	CK_JSON *jwk = json_loads(a2_key, 0, NULL);
	AZ_PKEY *key = NULL;
	AZ_JWT t = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_jwk_read(&key, jwk, false, &err), 0);
	assert_int_equal(az_jwt_parse(&t, a2, &err), 0);
	assert_int_equal(az_jwt_verify(&t, key, 1300819380, &err), 0);
	assert_int_equal(az_jwt_verify(&t, key, 1300819380 + 61, &err), -EACCES);
	assert_string_equal(err.msg, "the token has expired");
}

static void faults(void **state)
{
	static const struct {
		enum az_fault fault;
		const char *refusal;
	} rows[] = {
		{ AZ_NO_FAULT, NULL },
		{ AZ_BADSIG, "the token's signature is wrong" },
		{ AZ_ALGNONE, "the token's algorithm is none, not RS256" },
		{ AZ_HS256, "the token's algorithm is HS256, not RS256" },
	};
	AZ_PKEY *key = NULL;
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_pkey_make(&key, "RSA:2048", &err), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CK_JSON *header = json_object();
		CK_JSON *payload = json_pack("{s:i,s:i}", "nbf", 1000, "exp", 2000);
		CK_BUF text = { 0 };
		AZ_JWT t = { 0 };
		assert_int_equal(az_jws_sign(&text, header, payload, key, rows[i].fault, &err), 0);
		assert_int_equal(az_jwt_parse(&t, ck_buf_str(&text), &err), 0);
		assert_true(json_equal(t.payload, payload));
		err.msg[0] = 0;
		int rc = az_jwt_verify(&t, key, 1500, &err);
		assert_int_equal(rc, rows[i].refusal ? -EACCES : 0);
		assert_string_equal(err.msg, rows[i].refusal ? rows[i].refusal : "");
		assert_int_equal(az_jwt_verify(&t, key, 1000 - 61, NULL), -EACCES);
	}
}

static void not_tokens(void **state)
{
	static const char *const rows[] = { "",	       "a.b",	   "e30.e30",	"e30.e30.x.y",
					    "e30.e3.", "W10.e30.", "e30.e30.!", "*.e30." };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		AZ_JWT t = { 0 };
		struct ck_err err = { 0 };
		if (az_jwt_parse(&t, rows[i], &err) != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thumbprint),
		cmocka_unit_test(rfc7515),
		cmocka_unit_test(faults),
		cmocka_unit_test(not_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
