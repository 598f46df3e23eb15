/* The configuration file: every key, and what is refused. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"
#include "tools/cloakfs/config.h"

#define N_ROWS(a) (sizeof(a) / sizeof((a)[0]))

static int setup(void **state)
{
	static struct tmplayout t;

	tmplayout_make(&t);
	unsetenv(CK_CONFIG_ENV);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	tmplayout_remove(*state);
	return 0;
}

static int load_text(struct tmplayout *t, const char *text, struct ck_config *c, struct ck_err *err)
{
	tmplayout_file(t, "c.json", text, strlen(text));
	memset(err, 0, sizeof *err);
	return ck_config_load(c, tmplayout_fmt("%s/c.json", t->dir), err);
}

static void reads_every_key(void **state)
{
	struct tmplayout *t = *state;
	struct ck_config c = { 0 };
	struct ck_err err;
	const char *text =
	    "{\"hsm_hosts\":[\"hsm1.managedhsm.azure.net\",\".managedhsm.azure.net\"],"
	    "\"maa_hosts\":[\"sharedeus.eus.attest.azure.net\"],\"key_info_dir\":\"keys\","
	    "\"wrap\":{\"kms_endpoint\":\"hsm1.managedhsm.azure.net\","
	    "\"attester_endpoint\":\"sharedeus.eus.attest.azure.net\"},"
	    "\"evidence\":{\"tsm_dir\":\"tsm\",\"sev_guest\":\"/dev/sev-guest\","
	    "\"host_certs\":\"../certs\"},\"identity\":{\"client_id\":\"a1b2\"},"
	    "\"imds_url\":\"http://127.0.0.1:8080\","
	    "\"authority_url\":\"https://login.microsoftonline.com\","
	    "\"hsm_resource\":\"https://"
	    "managedhsm.azure.net\",\"ca_file\":\"ca.pem\",\"cache_dir\":\"cache\",\"cache_size\":"
	    "\"3G\",\"metrics\":\"unix:m.sock\","
	    "\"addresses\":{\"hsm1.managedhsm.azure.net\":\"127.0.0.1:8443\","
	    "\"login.microsoftonline.com\":\"[::1]:8444\"},\"require_encrypted\":true,\"unit_cache_"
	    "mib\":96,\"request_timeout_ms\":1500,\"require_digest\":true,\"registry\":{"
	    "\"auth_file\":\"auth.json\",\"hosts_dir\":\"/hosts\",\"certs_dir\":\"certs\","
	    "\"plain_http\":[\"a.example:5000\",\"[::1]\"],\"timeout_ms\":2500}}";

	assert_works(load_text(t, text, &c, &err), &err);
	assert_string_equal(c.hsm_hosts[0], "hsm1.managedhsm.azure.net");
	assert_string_equal(c.hsm_hosts[1], ".managedhsm.azure.net");
	assert_null(c.hsm_hosts[2]);
	assert_string_equal(c.maa_hosts[0], "sharedeus.eus.attest.azure.net");
	assert_null(c.maa_hosts[1]);
	assert_string_equal(c.key_info_dir, tmplayout_fmt("%s/keys", t->dir));
	assert_string_equal(c.wrap_hsm_host, "hsm1.managedhsm.azure.net");
	assert_string_equal(c.wrap_maa_host, "sharedeus.eus.attest.azure.net");
	assert_string_equal(c.tsm_dir, tmplayout_fmt("%s/tsm", t->dir));
	assert_string_equal(c.sev_guest, "/dev/sev-guest");
	assert_string_equal(c.host_certs, tmplayout_fmt("%s/../certs", t->dir));
	assert_string_equal(c.client_id, "a1b2");
	assert_string_equal(c.imds_url, "http://127.0.0.1:8080");
	assert_string_equal(c.authority_url, "https://login.microsoftonline.com");
	assert_string_equal(c.hsm_resource, "https://managedhsm.azure.net");
	assert_string_equal(c.ca_file, tmplayout_fmt("%s/ca.pem", t->dir));
	assert_string_equal(c.cache_dir, tmplayout_fmt("%s/cache", t->dir));
	assert_int_equal(c.cache_size, 3ULL << 30);
	assert_string_equal(c.metrics, tmplayout_fmt("unix:%s/m.sock", t->dir));
	assert_int_equal(c.n_addresses, 2);
	assert_string_equal(c.addresses[0].host, "hsm1.managedhsm.azure.net");
	assert_string_equal(c.addresses[0].address, "127.0.0.1:8443");
	assert_string_equal(c.addresses[1].address, "[::1]:8444");
	assert_true(c.require_encrypted);
	assert_true(c.require_digest);
	assert_string_equal(c.registry.auth_file, tmplayout_fmt("%s/auth.json", t->dir));
	assert_string_equal(c.registry.hosts_dir, "/hosts");
	assert_string_equal(c.registry.certs_dir, tmplayout_fmt("%s/certs", t->dir));
	assert_string_equal(c.registry.plain_http[0], "a.example:5000");
	assert_string_equal(c.registry.plain_http[1], "[::1]");
	assert_null(c.registry.plain_http[2]);
	assert_int_equal(c.registry.timeout_ms, 2500);
	assert_int_equal(c.unit_cache_mib, 96);
	assert_int_equal(c.request_timeout_ms, 1500);
	ck_config_free(&c);
}

static void reads_cache_size(void **state)
{
	struct ck_config c = { 0 };
	struct ck_err err;

	assert_works(load_text(*state, "{\"cache_size\":1048576}", &c, &err), &err);
	assert_int_equal(c.cache_size, 1 << 20);
	ck_config_free(&c);
}

static void assert_empty(const struct ck_config *c)
{
	assert_null(c->hsm_hosts[0]);
	assert_null(c->maa_hosts[0]);
	assert_null(c->key_info_dir);
	assert_null(c->tsm_dir);
	assert_null(c->imds_url);
	assert_null(c->ca_file);
	assert_null(c->metrics);
	assert_int_equal(c->n_addresses, 0);
	assert_false(c->require_encrypted);
	assert_false(c->require_digest);
	assert_null(c->registry.auth_file);
	assert_null(c->registry.hosts_dir);
	assert_null(c->registry.certs_dir);
	assert_null(c->registry.plain_http[0]);
	assert_int_equal(c->registry.timeout_ms, 0);
	assert_int_equal(c->unit_cache_mib, 0);
	assert_int_equal(c->cache_size, 0);
	assert_int_equal(c->request_timeout_ms, 60000);
}

static void needs_no_key(void **state)
{
	static const char *const texts[] = { "{}", "{\"hsm_hosts\":[],\"addresses\":{}}",
					     "{\"wrap\":{},\"evidence\":{},\"identity\":null}" };

	for (size_t i = 0; i < N_ROWS(texts); i++) {
		struct ck_config c = { 0 };
		struct ck_err err;
		assert_works(load_text(*state, texts[i], &c, &err), &err);
		assert_empty(&c);
		ck_config_free(&c);
	}
}

/* Only a socket's path is relative to anything. */
static void metrics_address(void **state)
{
	static const char *const as_they_are[] = { "127.0.0.1:9100", "none", "[::1]:0",
						   "unix:/run/m.sock" };

	for (size_t i = 0; i < N_ROWS(as_they_are); i++) {
		struct ck_config c = { 0 };
		struct ck_err err;
		char text[80];
		snprintf(text, sizeof text, "{\"metrics\":\"%s\"}", as_they_are[i]);
		assert_works(load_text(*state, text, &c, &err), &err);
		assert_string_equal(c.metrics, as_they_are[i]);
		ck_config_free(&c);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *why, *text;
		int code;
		const char *part;
	} rows[] = {
		{ "not JSON", "{", -EBADMSG, "is not valid JSON" },
		{ "not an object", "[]", -EBADMSG, "not a JSON object" },
		{ "a misspelt key", "{\"hsm_host\":[]}", -EINVAL, "unknown key \"hsm_host\"" },
		{ "a misspelt inner key", "{\"evidence\":{\"tsm\":\"x\"}}", -EINVAL,
		  "evidence: unknown key \"tsm\"" },
		{ "an unknown key of wrap", "{\"wrap\":{\"hsm\":\"x\"}}", -EINVAL,
		  "wrap: unknown key \"hsm\"" },
		{ "an unknown key of identity", "{\"identity\":{\"secret\":\"x\"}}", -EINVAL,
		  "identity: unknown key \"secret\"" },
		{ "a cache of no size", "{\"cache_size\":\"large\"}", -EINVAL,
		  "\"cache_size\": \"large\" is not a number of bytes" },
		{ "a cache too small", "{\"cache_size\":1048575}", -EINVAL,
		  "\"cache_size\" is below 1M" },
		{ "a cache of nothing", "{\"cache_size\":\"0G\"}", -EINVAL,
		  "\"cache_size\" is below 1M" },
		{ "a negative cache", "{\"cache_size\":-1}", -EBADMSG, "cache_size" },
		{ "a cache as an array", "{\"cache_size\":[1]}", -EBADMSG, "cache_size" },
		{ "metrics nowhere", "{\"metrics\":\"\"}", -EINVAL, "\"metrics\": it is empty" },
		{ "metrics at no socket", "{\"metrics\":\"unix:\"}", -EINVAL,
		  "\"metrics\": it names no socket" },
		{ "metrics as an object", "{\"metrics\":{}}", -EBADMSG, "not a string" },
		{ "a key twice", "{\"ca_file\":\"a\",\"ca_file\":\"b\"}", -EBADMSG, "duplicate" },
		{ "hosts as a string", "{\"hsm_hosts\":\"a.b\"}", -EBADMSG, "not an array" },
		{ "a host that is a number", "{\"hsm_hosts\":[1]}", -EINVAL, "not a host name" },
		{ "a host with a path", "{\"maa_hosts\":[\"a.b/c\"]}", -EINVAL,
		  "\"maa_hosts\": \"a.b/c\" is not a host name" },
		{ "a host with a scheme", "{\"hsm_hosts\":[\"https://a.b\"]}", -EINVAL,
		  "not a host name" },
		{ "a host in upper case", "{\"hsm_hosts\":[\"A.b\"]}", -EINVAL, "in lower case" },
		{ "the suffix of everything", "{\"hsm_hosts\":[\".\"]}", -EINVAL,
		  "not a host name" },
		{ "two dots", "{\"hsm_hosts\":[\"..net\"]}", -EINVAL, "not a host name" },
		{ "an empty host", "{\"hsm_hosts\":[\"\"]}", -EINVAL, "not a host name" },
		{ "a suffix to wrap for", "{\"wrap\":{\"kms_endpoint\":\".a\"}}", -EINVAL,
		  "\"kms_endpoint\"" },
		{ "a URL without scheme", "{\"imds_url\":\"169.254.169.254\"}", -EINVAL,
		  "\"imds_url\": " },
		{ "a URL of a file", "{\"imds_url\":\"file:///etc/passwd\"}", -EINVAL,
		  "not an http:// or https:// URL" },
		{ "a URL without host", "{\"authority_url\":\"https://\"}", -EINVAL,
		  "\"authority_url\"" },
		{ "a URL with a password", "{\"authority_url\":\"https://u:p@h\"}", -EINVAL,
		  "\"authority_url\"" },
		{ "an empty path", "{\"ca_file\":\"\"}", -EINVAL, "\"ca_file\": it is empty" },
		{ "a path that is a list", "{\"key_info_dir\":[]}", -EBADMSG, "not a string" },
		{ "a path with a NUL", "{\"ca_file\":\"a\\u0000b\"}", -EBADMSG,
		  "is not valid JSON" },
		{ "an address without port", "{\"addresses\":{\"a.b\":\"127.0.0.1\"}}", -EINVAL,
		  "not ADDRESS:PORT" },
		{ "an address of no host", "{\"addresses\":{\"a b\":\"127.0.0.1:1\"}}", -EINVAL,
		  "not a host name" },
		{ "an address that is a number", "{\"addresses\":{\"a.b\":443}}", -EBADMSG,
		  "not a string" },
		{ "a word for a boolean", "{\"require_encrypted\":\"yes\"}", -EBADMSG,
		  "neither true nor false" },
		{ "a cache larger than any memory", "{\"unit_cache_mib\":1048577}", -EINVAL,
		  "is above" },
		{ "no time to answer in", "{\"request_timeout_ms\":0}", -EINVAL,
		  "\"request_timeout_ms\" is not within 1 and" },
		{ "more than a day to answer in", "{\"request_timeout_ms\":86400001}", -EINVAL,
		  "is not within 1 and 86400000" },
		{ "an unknown key of registry", "{\"registry\":{\"auth\":\"x\"}}", -EINVAL,
		  "registry: unknown key \"auth\"" },
		{ "a registry that is a URL", "{\"registry\":{\"plain_http\":[\"http://a\"]}}",
		  -EINVAL, "\"registry\": \"plain_http\": \"http://a\" is not HOST[:PORT]" },
		{ "a registry that is a number", "{\"registry\":{\"plain_http\":[1]}}", -EINVAL,
		  "is not HOST[:PORT]" },
		{ "a registry's time of nothing", "{\"registry\":{\"timeout_ms\":0}}", -EINVAL,
		  "\"timeout_ms\" is not within" },
		{ "an empty path of credentials", "{\"registry\":{\"auth_file\":\"\"}}", -EINVAL,
		  "\"auth_file\": it is empty" },
		{ "a word to demand digests", "{\"require_digest\":\"yes\"}", -EBADMSG,
		  "neither true nor false" },
	};

	for (size_t i = 0; i < N_ROWS(rows); i++) {
		struct ck_config c = { 0 };
		struct ck_err err;
		int rc = load_text(*state, rows[i].text, &c, &err);
		if (rc != rows[i].code || !strstr(err.msg, rows[i].part))
			fail_msg("%s: got %d \"%s\"", rows[i].why, rc, err.msg);
		/* The message always says which file. */
		assert_non_null(strstr(err.msg, "/c.json"));
		assert_null(c.json);
	}
}

static void refuses_large_and_missing_files(void **state)
{
	struct tmplayout *t = *state;
	struct ck_config c = { 0 };
	struct ck_err err = { 0 };
	size_t n = (1 << 20) + 1;
	char *spaces = malloc(n);

	memset(spaces, ' ', n);
	memcpy(spaces, "{}", 2);
	tmplayout_file(t, "c.json", spaces, n);
	free(spaces);
	assert_fails(ck_config_load(&c, tmplayout_fmt("%s/c.json", t->dir), &err), -EFBIG, &err,
		     "more than 1048576 bytes");
	assert_fails(ck_config_load(&c, tmplayout_fmt("%s/none", t->dir), &err), -ENOENT, &err,
		     "No such file");
}

static void finds_the_file(void **state)
{
	struct tmplayout *t = *state;
	struct ck_config c = { 0 };
	struct ck_err err = { 0 };

	tmplayout_file(t, "env.json", "{\"ca_file\":\"of-env\"}", 20);
	tmplayout_file(t, "arg.json", "{\"ca_file\":\"of-arg\"}", 20);
	setenv(CK_CONFIG_ENV, tmplayout_fmt("%s/env.json", t->dir), 1);
	assert_works(ck_config_load(&c, NULL, &err), &err);
	assert_string_equal(c.ca_file, tmplayout_fmt("%s/of-env", t->dir));
	ck_config_free(&c);
	assert_works(ck_config_load(&c, tmplayout_fmt("%s/arg.json", t->dir), &err), &err);
	assert_string_equal(c.ca_file, tmplayout_fmt("%s/of-arg", t->dir));
	ck_config_free(&c);
	/* What was named must be there; only the default file may be missing. */
	setenv(CK_CONFIG_ENV, tmplayout_fmt("%s/none.json", t->dir), 1);
	assert_fails(ck_config_load(&c, NULL, &err), -ENOENT, &err, "none.json");
	unsetenv(CK_CONFIG_ENV);
	if (access(CK_CONFIG_DEFAULT, F_OK) < 0) {
		assert_works(ck_config_load(&c, NULL, &err), &err);
		assert_empty(&c);
		ck_config_free(&c);
	}
}

/* Relative paths follow the file, also when it is reached through a link. */
static void resolves_beside_the_file(void **state)
{
	struct tmplayout *t = *state;
	struct ck_config c = { 0 };
	struct ck_err err = { 0 };
	char cwd[PATH_MAX];

	tmplayout_file(t, "sub/c.json", "{\"ca_file\":\"ca.pem\"}", 20);
	assert_int_equal(symlink("sub/c.json", tmplayout_fmt("%s/link.json", t->dir)), 0);
	assert_works(ck_config_load(&c, tmplayout_fmt("%s/link.json", t->dir), &err), &err);
	assert_string_equal(c.ca_file, tmplayout_fmt("%s/sub/ca.pem", t->dir));
	ck_config_free(&c);
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_int_equal(chdir(t->dir), 0);
	assert_works(ck_config_load(&c, "sub/c.json", &err), &err);
	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(c.ca_file, tmplayout_fmt("%s/sub/ca.pem", t->dir));
	ck_config_free(&c);
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(reads_every_key), IN_DIR(reads_cache_size),
		IN_DIR(needs_no_key),	 IN_DIR(metrics_address),
		IN_DIR(refuses),	 IN_DIR(refuses_large_and_missing_files),
		IN_DIR(finds_the_file),	 IN_DIR(resolves_beside_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
