#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/protocol.h"
#include "tests/unit/lib/fake_attest.h"

/* base64: YWFzcDppbWFnZWtleTAwMA== is "aasp:imagekey000"; e30= is "{}". */
#define AASP "YWFzcDppbWFnZWtleTAwMA=="

static const struct {
	const char *why, *json;
	int want;
	const char *kid, *says; /* kid: of a wrap that is understood */
} wraps[] = {
	{ "as skopeo sends it",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]},\"DecryptConfig\":{\"Parameters\":{}}},\"optsdata\":\"e30=\"},"
	  "\"keyunwrapparams\":{\"dc\":null,\"annotation\":null}}",
	  0, "imagekey000", "" },
	{ "as ocicrypt-rs: raw text, int arrays, unused half absent",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "[97,97,115,112,58,107]]}},\"optsdata\":\"{}\"}}",
	  0, "k", "" },
	{ "unused half {}, optsdata as int array",
	  "{\"keyunwrapparams\":{},\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{"
	  "\"attestation-agent\":[\"" AASP "\"]}},\"optsdata\":[123,125]}}",
	  0, "imagekey000", "" },
	{ "names in any case, as Go reads them",
	  "{\"OP\":\"keywrap\",\"KeyWrapParams\":{\"EC\":{\"parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"OptsData\":\"e30=\"}}",
	  0, "imagekey000", "" },
	{ "agent skr, in any case (SKR:key-1)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"U0tSOmtleS0x\"]}},\"optsdata\":\"e30=\"}}",
	  0, "key-1", "" },
	{ "further parts are ignored (aasp:k:x)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"YWFzcDprOng=\"]}},\"optsdata\":\"e30=\"}}",
	  0, "k", "" },
	{ "first parameter only",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"YWFzcDpr\",\"" AASP "\"]}},\"optsdata\":\"e30=\"}}",
	  0, "k", "" },
	{ "another provider name, beside parameters of others",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"pubkeys\":[\"LS0tLS0="
	  "\"],"
	  "\"x\":[],\"y\":null,\"mine\":[\"" AASP "\"]}},\"optsdata\":\"e30=\"}}",
	  0, "imagekey000", "" },
	{ "the usual name wins over another",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"b\":[\"YWFzcDpr\"],"
	  "\"attestation-agent\":[\"" AASP "\"]}},\"optsdata\":\"e30=\"}}",
	  0, "imagekey000", "" },
	{ "two unusual names: whose?",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"b\":[\"YWFzcDpr\"],"
	  "\"c\":[\"" AASP "\"]}},\"optsdata\":\"e30=\"}}",
	  -EINVAL, NULL, "several parameters" },
	{ "--encryption-key provider:attestation-agent (Enabled)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"RW5hYmxlZA==\"]}},\"optsdata\":\"e30=\"}}",
	  -EINVAL, NULL, "aasp:<key id>" },
	{ "agent without key (aasp)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"YWFzcA==\"]}},\"optsdata\":\"e30=\"}}",
	  -EINVAL, NULL, "names no key" },
	{ "path traversal (aasp:../k)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"YWFzcDouLi9r\"]}},\"optsdata\":\"e30=\"}}",
	  -EINVAL, NULL, "key id" },
	{ "a NUL within (aasp:k\\0x)",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"YWFzcDprAHg=\"]}},\"optsdata\":\"e30=\"}}",
	  -EINVAL, NULL, "names no key" },
	{ "no parameters",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":null,\"optsdata\":\"e30=\"}}", -EINVAL,
	  NULL, "names no key" },
	{ "no params object", "{\"op\":\"keywrap\"}", -EINVAL, NULL, "names no key" },
	{ "parameters are a list",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":[]},\"optsdata\":\"e30=\"}"
	  "}",
	  -EINVAL, NULL, "names no key" },
	{ "ec is a number", "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":1}}", -EBADMSG, NULL,
	  "not an object" },
	{ "nothing to wrap",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":null}}",
	  -EINVAL, NULL, "optsdata" },
	{ "optsdata is no base64",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":\"SECRET!\"}}",
	  -EBADMSG, NULL, "optsdata" },
	{ "256 is not a byte",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":[1,256]}}",
	  -EBADMSG, NULL, "not a byte" },
	{ "nor is -1",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":[-1]}}",
	  -EBADMSG, NULL, "not a byte" },
	{ "nor 1.0",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":[1.0]}}",
	  -EBADMSG, NULL, "not a byte" },
	{ "optsdata is an object",
	  "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
	  "\"" AASP "\"]}},\"optsdata\":{}}}",
	  -EBADMSG, NULL, "neither base64" },
	{ "two spellings of one name", "{\"op\":\"keywrap\",\"Op\":\"keyunwrap\"}", -EBADMSG, NULL,
	  "twice" },
	{ "no op", "{}", -EINVAL, NULL, "neither keywrap" },
	{ "op of another case is another op", "{\"op\":\"KeyWrap\"}", -EINVAL, NULL,
	  "neither keywrap" },
	{ "op is a number", "{\"op\":1}", -EINVAL, NULL, "neither keywrap" },
	{ "a list", "[1]", -EBADMSG, NULL, "not a JSON object" },
	{ "not JSON; nothing of it is quoted", "{\"op\":SECRET}", -EBADMSG, NULL,
	  "not valid JSON" },
	{ "nothing", "", -EBADMSG, NULL, "not valid JSON" },
};

static void wraps_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++) {
		CK_REQUEST r = { 0 };
		struct ck_err err = { 0 };
		if (ck_request_parse(&r, NULL, wraps[i].json, strlen(wraps[i].json), &err) !=
		    wraps[i].want)
			fail_msg("%s: %s", wraps[i].why, err.msg);
		assert_says(&err, wraps[i].says);
		assert_null(strstr(err.msg, "SECRET"));
		if (wraps[i].want)
			continue;
		assert_int_equal(r.op, CK_OP_WRAP);
		assert_string_equal(r.kid, wraps[i].kid);
		assert_int_equal(r.data.len, 2);
		assert_memory_equal(r.data.data, "{}", 2);
	}
}

static const struct {
	const char *why, *json;
	int want;
} unwraps[] = {
	{ "as skopeo sends it",
	  "{\"op\":\"keyunwrap\",\"keywrapparams\":{\"ec\":null,\"optsdata\":null},"
	  "\"keyunwrapparams\":{\"dc\":{\"Parameters\":{\"attestation-agent\":[\"YWFzcA==\"]}},"
	  "\"annotation\":\"e30=\"}}",
	  0 },
	{ "no dc parameter, or under another name",
	  "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{\"dc\":{\"Parameters\":{\"zzz\":[\"!\"]}},"
	  "\"annotation\":\"e30=\"}}",
	  0 },
	{ "dc of nonsense is none of our business",
	  "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{\"dc\":7,\"annotation\":[123,125]}}", 0 },
	{ "no annotation", "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{\"dc\":null}}", -EINVAL },
	{ "no params", "{\"op\":\"keyunwrap\",\"keyunwrapparams\":null}", -EINVAL },
	{ "params are a string", "{\"op\":\"keyunwrap\",\"keyunwrapparams\":\"x\"}", -EBADMSG },
};

static void unwraps_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof unwraps / sizeof unwraps[0]; i++) {
		CK_REQUEST r = { 0 };
		struct ck_err err = { 0 };
		const char *s = unwraps[i].json;
		if (ck_request_parse(&r, NULL, s, strlen(s), &err) != unwraps[i].want)
			fail_msg("%s: %s", unwraps[i].why, err.msg);
		if (unwraps[i].want)
			continue;
		assert_int_equal(r.op, CK_OP_UNWRAP);
		assert_memory_equal(r.data.data, "{}", 2);
	}
}

/* As in AASP: the method called decides, whatever "op" says. */
static void the_method_decides(void **state)
{
	(void)state;
	CK_REQUEST r = { 0 };
	struct ck_err err = { 0 };
	enum ck_op op = CK_OP_UNWRAP;
	const char *s = "{\"op\":\"keywrap\",\"keyunwrapparams\":{\"annotation\":\"e30=\"}}";

	assert_rc(ck_request_parse(&r, &op, s, strlen(s), &err), 0, &err);
	assert_int_equal(r.op, CK_OP_UNWRAP);
}

static void sizes_are_bounded(void **state)
{
	(void)state;
	struct ck_err err = { 0 };

	for (int form = 0; form < 2; form++) {
		CK_BUF value = { 0 }, json = { 0 };
		CK_REQUEST r = { 0 };
		for (int i = 0; i < 6000; i++)
			assert_int_equal(
			    ck_buf_adds(&value, form ? "1,1,1,1,1,1," : "AAAAAAAA", NULL), 0);
		assert_rc(ck_buf_addf(&json, &err,
				      form ? "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{"
					     "\"annotation\":[%s1]}}"
					   : "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{"
					     "\"annotation\":\"%s\"}}",
				      ck_buf_str(&value)),
			  0, &err);
		assert_rc(ck_request_parse(&r, NULL, json.data, json.len, &err), -EFBIG, &err);
		assert_says(&err, "32768");
	}
}

/* The "cmd" form there and back, with the results in the one form that all clients read. */
static void wrap_and_unwrap(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = EVP_RSA_gen(3072), .block_fd = -1 };
	struct ck_provider p = { .attest = fake_as_attest(&fake),
				 .hsm_host = "hsm.example",
				 .maa_host = "maa.example" };
	CK_BUF answer = { 0 }, request = { 0 }, back = { 0 };
	CK_JSON *doc = NULL;
	struct ck_err err = { 0 };

	assert_rc(ck_provider_handle(&p, wraps[0].json, strlen(wraps[0].json), &answer, &err), 0,
		  &err);
	assert_memory_equal(answer.data, "{\"keywrapresults\":{\"annotation\":[123,34,", 39);
	assert_null(strstr(ck_buf_str(&answer), "keyunwrapresults"));
	assert_int_equal(fake.n_public, 1);
	assert_rc(ck_json_parse(&doc, answer.data, answer.len, "", &err), 0, &err);
	json_t *bytes = json_object_get(json_object_get(doc, "keywrapresults"), "annotation");
	CK_JSON *ask =
	    json_pack("{s:s, s:{s:O}}", "op", "keyunwrap", "keyunwrapparams", "annotation", bytes);
	assert_rc(ck_json_dump(&request, ask, &err), 0, &err);
	assert_rc(ck_provider_handle(&p, request.data, request.len, &back, &err), 0, &err);
	assert_string_equal(ck_buf_str(&back), "{\"keyunwrapresults\":{\"optsdata\":[123,125]}}");
	assert_int_equal(fake.n_private, 1);

	/* Without an HSM to ask only wrapping works. */
	p.attest = NULL;
	assert_rc(ck_provider_handle(&p, request.data, request.len, &back, &err), -ENODEV, &err);
	assert_rc(ck_provider_handle(&p, wraps[0].json, strlen(wraps[0].json), &back, &err),
		  -ENOENT, &err);
	assert_says(&err, "imagekey000 is not known");
	EVP_PKEY_free(fake.key);
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
		cmocka_unit_test(wraps_table),	      cmocka_unit_test(unwraps_table),
		cmocka_unit_test(the_method_decides), cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(wrap_and_unwrap),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
