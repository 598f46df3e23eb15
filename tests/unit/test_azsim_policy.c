#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "tools/azsim/policy.h"

#define MAA "https://sharedeus.eus.attest.azure.net"

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	struct ck_err err = { 0 };

	if (ck_json_parse(&j, text, strlen(text), "a test", &err) < 0)
		fail_msg("%s: %s", err.msg, text);
	return j;
}

static const char claims_text[] =
    "{\"x-ms-attestation-type\":\"sevsnpvm\",\"vmpl\":2,\"debug\":false,\"smt\":true,"
    "\"svn\":\"22\",\"big\":9007199254740993,\"half\":0.5,\"null\":null,"
    "\"tee\":{\"x-ms-attestation-type\":\"sevsnpvm\",\"deep\":{\"n\":7}},"
    "\"a.b\":\"dotted\",\"c.d\":{\"e\":1},\"list\":[1,2]}";

/* One condition (or several) under allOf, against the claims above. */
static const struct row {
	const char *why, *conditions;
	const char *refusal; /* NULL: met */
} rows[] = {
	{ "a string", "{\"claim\":\"x-ms-attestation-type\",\"equals\":\"sevsnpvm\"}", NULL },
	{ "strings keep their case",
	  "{\"claim\":\"x-ms-attestation-type\",\"equals\":\"SevSnpVm\"}",
	  "policy wants x-ms-attestation-type = SevSnpVm, token has sevsnpvm" },
	{ "a number written as a string", "{\"claim\":\"vmpl\",\"equals\":\"2\"}", NULL },
	{ "a number", "{\"claim\":\"vmpl\",\"equals\":2}", NULL },
	{ "the words of a refusal", "{\"claim\":\"vmpl\",\"equals\":\"0\"}",
	  "policy wants vmpl = 0, token has 2" },
	{ "a truth value written as a string", "{\"claim\":\"debug\",\"equals\":\"false\"}", NULL },
	{ "a truth value in capitals", "{\"claim\":\"smt\",\"equals\":\"TRUE\"}", NULL },
	{ "a truth value", "{\"claim\":\"debug\",\"equals\":false}", NULL },
	{ "a truth value is no number", "{\"claim\":\"debug\",\"equals\":0}",
	  "policy wants debug = 0, token has false" },
	{ "truth values differ", "{\"claim\":\"smt\",\"equals\":\"false\"}",
	  "policy wants smt = false, token has true" },
	{ "a string claim and a number", "{\"claim\":\"svn\",\"equals\":22}", NULL },
	{ "two strings are compared as such", "{\"claim\":\"svn\",\"equals\":\"022\"}",
	  "policy wants svn = 022, token has 22" },
	{ "no rounding above 2^53", "{\"claim\":\"big\",\"equals\":9007199254740992}",
	  "policy wants big = 9007199254740992, token has 9007199254740993" },
	{ "an absent claim equals nothing", "{\"claim\":\"none\",\"equals\":\"x\"}",
	  "policy wants none = x, token has no such claim" },
	{ "a null claim is absent", "{\"claim\":\"null\",\"equals\":\"x\"}",
	  "policy wants null = x, token has no such claim" },
	{ "notEquals", "{\"claim\":\"vmpl\",\"notEquals\":0}", NULL },
	{ "notEquals refuses", "{\"claim\":\"vmpl\",\"notEquals\":\"2\"}",
	  "policy wants vmpl != 2, token has 2" },
	{ "notEquals of an absent claim is not met", "{\"claim\":\"none\",\"notEquals\":1}",
	  "policy wants none != 1, token has no such claim" },
	{ "less", "{\"claim\":\"vmpl\",\"less\":3}", NULL },
	{ "less is strict", "{\"claim\":\"vmpl\",\"less\":\"2\"}",
	  "policy wants vmpl < 2, token has 2" },
	{ "lessOrEquals", "{\"claim\":\"vmpl\",\"lessOrEquals\":\"2\"}", NULL },
	{ "lessOrEquals refuses", "{\"claim\":\"vmpl\",\"lessOrEquals\":1}",
	  "policy wants vmpl <= 1, token has 2" },
	{ "greater", "{\"claim\":\"svn\",\"greater\":\"9\"}", NULL },
	{ "greater is strict", "{\"claim\":\"svn\",\"greater\":22}",
	  "policy wants svn > 22, token has 22" },
	{ "greaterOrEquals", "{\"claim\":\"svn\",\"greaterOrEquals\":22}", NULL },
	{ "greaterOrEquals refuses", "{\"claim\":\"half\",\"greaterOrEquals\":\"1\"}",
	  "policy wants half >= 1, token has 0.5" },
	{ "no order among words", "{\"claim\":\"x-ms-attestation-type\",\"greater\":1}",
	  "policy wants x-ms-attestation-type > 1, token has sevsnpvm" },
	{ "no order among truth values", "{\"claim\":\"smt\",\"greater\":0}",
	  "policy wants smt > 0, token has true" },
	{ "exists", "{\"claim\":\"vmpl\",\"exists\":\"true\"}", NULL },
	{ "exists with a truth value", "{\"claim\":\"list\",\"exists\":true}", NULL },
	{ "does not exist", "{\"claim\":\"none\",\"exists\":\"true\"}",
	  "policy wants none exists = true, token has no such claim" },
	{ "must not exist", "{\"claim\":\"none\",\"exists\":\"false\"}", NULL },
	{ "must not exist but does", "{\"claim\":\"vmpl\",\"exists\":false}",
	  "policy wants vmpl exists = false, token has 2" },
	{ "a dotted path", "{\"claim\":\"tee.x-ms-attestation-type\",\"equals\":\"sevsnpvm\"}",
	  NULL },
	{ "two levels down", "{\"claim\":\"tee.deep.n\",\"equals\":\"7\"}", NULL },
	{ "a path into nothing", "{\"claim\":\"tee.none.n\",\"equals\":\"7\"}",
	  "policy wants tee.none.n = 7, token has no such claim" },
	{ "a path through a string", "{\"claim\":\"svn.n\",\"exists\":false}", NULL },
	{ "a name that holds a dot", "{\"claim\":\"a.b\",\"equals\":\"dotted\"}", NULL },
	{ "an object whose name holds a dot", "{\"claim\":\"c.d.e\",\"equals\":1}", NULL },
	{ "a list is no scalar", "{\"claim\":\"list\",\"equals\":\"1\"}",
	  "policy wants list = 1, token has [1,2]" },
	{ "all of two", "{\"claim\":\"vmpl\",\"equals\":2},{\"claim\":\"smt\",\"equals\":true}",
	  NULL },
	{ "the first that fails is named",
	  "{\"claim\":\"smt\",\"equals\":true},{\"claim\":\"vmpl\",\"equals\":1}",
	  "policy wants vmpl = 1, token has 2" },
	{ "any of two",
	  "{\"anyOf\":[{\"claim\":\"vmpl\",\"equals\":0},{\"claim\":\"vmpl\",\"equals\":2}]}",
	  NULL },
	{ "none of two: all are named",
	  "{\"anyOf\":[{\"claim\":\"vmpl\",\"equals\":0},{\"claim\":\"vmpl\",\"equals\":1}]}",
	  "policy wants vmpl = 0, token has 2, or vmpl = 1, token has 2" },
	{ "nested three deep",
	  "{\"anyOf\":[{\"claim\":\"vmpl\",\"equals\":0},{\"allOf\":[{\"claim\":\"smt\","
	  "\"equals\":true},{\"anyOf\":[{\"claim\":\"svn\",\"greater\":21}]}]}]}",
	  NULL },
	{ "nested and refused",
	  "{\"allOf\":[{\"claim\":\"smt\",\"equals\":true},{\"anyOf\":[{\"claim\":\"svn\","
	  "\"greater\":30}]}]}",
	  "policy wants svn > 30, token has 22" },
};

static void conditions(void **state)
{
	CK_JSON *claims = parse(claims_text);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[1024];
		struct ck_err err = { 0 };
		snprintf(text, sizeof text,
			 "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"" MAA
			 "\",\"allOf\":[%s]}]}",
			 rows[i].conditions);
		CK_JSON *policy = parse(text);
		if (az_policy_check(policy, &err) < 0)
			fail_msg("%s: not of the grammar: %s", rows[i].why, err.msg);
		int rc = az_policy_evaluate(policy, MAA, claims, &err);
		if (rc != (rows[i].refusal ? -EACCES : 0) ||
		    strcmp(err.msg, rows[i].refusal ? rows[i].refusal : "") != 0)
			fail_msg("%s: %d \"%s\"", rows[i].why, rc, err.msg);
	}
}

static void authorities(void **state)
{
	CK_JSON *claims = parse("{\"vmpl\":1}");
	CK_JSON *policy =
	    parse("{\"version\":\"0.2\",\"anyOf\":["
		  "{\"authority\":\"https://a.test/\",\"anyOf\":["
		  "{\"claim\":\"vmpl\",\"equals\":0},{\"claim\":\"vmpl\",\"equals\":1}]},"
		  "{\"authority\":\"https://b.test\",\"allOf\":["
		  "{\"claim\":\"vmpl\",\"equals\":0}]},"
		  "{\"authority\":\"https://b.test\",\"allOf\":["
		  "{\"claim\":\"vmpl\",\"less\":3}]}]}");
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_policy_check(policy, &err), 0);
	/* A trailing slash makes no other authority; anyOf directly below one. */
	assert_int_equal(az_policy_evaluate(policy, "https://a.test", claims, &err), 0);
	/* Of two blocks for one authority one is enough. */
	assert_int_equal(az_policy_evaluate(policy, "https://b.test", claims, &err), 0);
	/* The conditions of one authority do not count for another. */
	assert_int_equal(az_policy_evaluate(policy, "https://c.test", claims, &err), -EACCES);
	assert_string_equal(err.msg, "policy wants a token of https://a.test/ or https://b.test or "
				     "https://b.test, token is of https://c.test");
	assert_int_equal(az_policy_trusts(policy, "https://a.test.evil", &err), -EACCES);
}

static const struct {
	const char *why, *policy;
} bad[] = {
	{ "no version", "{\"anyOf\":[]}" },
	{ "an unknown version", "{\"version\":\"2\",\"anyOf\":[]}" },
	{ "no authority", "{\"version\":\"1.0.0\",\"anyOf\":[]}" },
	{ "anyOf is no list", "{\"version\":\"1.0.0\",\"anyOf\":{}}" },
	{ "something more", "{\"version\":\"1.0.0\",\"allOf\":[],\"anyOf\":[]}" },
	{ "plain http", "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"http://a\",\"allOf\":[{"
			"\"claim\":\"a\",\"equals\":1}]}]}" },
	{ "no conditions", "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
			   "\"allOf\":[]}]}" },
	{ "allOf and anyOf",
	  "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\",\"anyOf\":"
	  "[{\"claim\":\"a\",\"equals\":1}],\"allOf\":[{\"claim\":\"a\",\"equals\":1}"
	  "]}]}" },
	{ "an unknown operator", "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
				 "\"allOf\":[{\"claim\":\"a\",\"matches\":1}]}]}" },
	{ "two operators",
	  "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\",\"allOf\":[{"
	  "\"claim\":\"a\",\"equals\":1,\"less\":2}]}]}" },
	{ "an order without a number",
	  "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
	  "\"allOf\":[{\"claim\":\"a\",\"less\":\"b\"}]}]}" },
	{ "exists of a number", "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
				"\"allOf\":[{\"claim\":\"a\",\"exists\":1}]}]}" },
	{ "a value that is a list",
	  "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
	  "\"allOf\":[{\"claim\":\"a\",\"equals\":[1]}]}]}" },
	{ "a claim without a name",
	  "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
	  "\"allOf\":[{\"claim\":\"\",\"equals\":1}]}]}" },
	{ "a condition that is a string", "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":"
					  "\"https://a\",\"allOf\":[\"a\"]}]}" },
	{ "a bare array", "[]" },
};

static void grammar(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CK_JSON *policy = parse(bad[i].policy);
		struct ck_err err = { 0 };
		if (az_policy_check(policy, &err) != -EINVAL)
			fail_msg("%s was taken", bad[i].why);
	}
}

/* Conditions nested N deep inside an authority. */
static int check_depth(int n)
{
	CK_BUF text = { 0 };
	struct ck_err err = { 0 };
	int rc = ck_buf_adds(&text,
			     "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://a\","
			     "\"allOf\":[",
			     &err);

	for (int i = 0; rc == 0 && i < n; i++)
		rc = ck_buf_adds(&text, "{\"anyOf\":[", &err);
	if (rc == 0)
		rc = ck_buf_adds(&text, "{\"claim\":\"a\",\"equals\":1}", &err);
	for (int i = 0; rc == 0 && i < n; i++)
		rc = ck_buf_adds(&text, "]}", &err);
	if (rc == 0)
		rc = ck_buf_adds(&text, "]}]}", &err);
	assert_int_equal(rc, 0);
	CK_JSON *policy = parse(ck_buf_str(&text));
	return az_policy_check(policy, &err);
}

static void depth(void **state)
{
	(void)state;
	assert_int_equal(check_depth(15), 0);
	assert_int_equal(check_depth(16), -EINVAL);
	assert_int_equal(check_depth(900), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions),
		cmocka_unit_test(authorities),
		cmocka_unit_test(grammar),
		cmocka_unit_test(depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
