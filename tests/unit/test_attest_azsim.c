/*
 * The whole room against azsim, the local Azure: the good path, one release for many
 * callers, and who is refused and why. test_attest_faults.c is about what goes wrong.
 */
#include "attest/attest.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "attest/jose.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/unit/lib/localazure.h"
#include "tests/unit/lib/unit.h"

enum { CALLERS = 16 };

static const struct ck_attest_key_id imagekey = { AZ_HSM, AZ_MAA, "imagekey000" };

struct caller {
	pthread_t thread;
	struct ck_attest *a;
	EVP_PKEY *key;
	int rc;
	struct ck_err err;
};

static void *call(void *arg)
{
	struct caller *c = arg;

	c->rc = ck_attest_private_key(c->a, &imagekey, &c->key, &c->err);
	return NULL;
}

static void one_release_for_many(struct ck_attest *a)
{
	struct caller c[CALLERS];

	for (int i = 0; i < CALLERS; i++) {
		c[i] = (struct caller){ .a = a };
		assert_int_equal(pthread_create(&c[i].thread, NULL, call, &c[i]), 0);
	}
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(c[i].thread, NULL), 0);
	for (int i = 0; i < CALLERS; i++) {
		assert_works(c[i].rc, &c[i].err);
		assert_ptr_equal(c[i].key, c[0].key);
		EVP_PKEY_free(c[i].key);
	}
}

static void good_path(void **state)
{
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);
	struct ck_attest_key_id other = imagekey, upper = imagekey;
	CK_PKEY *private = NULL;
	CK_PKEY *public = NULL;
	CK_PKEY *second = NULL;
	CK_PKEY *same = NULL;
	struct ck_err err = { 0 };

	(void)state;
	localazure(NULL, "counters", "--reset");
	assert_int_equal(ck_attest_n_released(a), 0);
	one_release_for_many(a);
	assert_int_equal(localazure_count("hsm_release"), 1);
	assert_int_equal(ck_attest_n_released(a), 1);
	assert_int_equal(localazure_count("hsm_release_refused"),
			 0); /* the better wrapping was taken */
	assert_int_equal(localazure_count("maa_attest"), 1);
	assert_int_equal(localazure_count("tsm_report"), 1);
	assert_int_equal(localazure_count("imds_token"), 1);
	assert_works(ck_attest_private_key(a, &imagekey, &private, &err), &err);
	upper.hsm_host = "HSM1.managedhsm.azure.net"; /* the same key */
	assert_works(ck_attest_private_key(a, &upper, &same, &err), &err);
	assert_int_equal(localazure_count("hsm_release"), 1);
	assert_works(ck_attest_public_key(a, &imagekey, &public, &err), &err);
	assert_int_equal(EVP_PKEY_eq(public, private), 1);
	assert_int_equal(EVP_PKEY_get_bits(private), 3072);
	/* A second key costs a second release, but no second bearer token. */
	other.kid = "secondkey";
	assert_works(ck_attest_private_key(a, &other, &second, &err), &err);
	assert_int_not_equal(EVP_PKEY_eq(second, private), 1);
	assert_int_equal(localazure_count("hsm_release"), 2);
	assert_int_equal(ck_attest_n_released(a), 2);
	assert_int_equal(localazure_count("imds_token"), 1);
	ck_attest_close(a);
	assert_int_equal(EVP_PKEY_get_bits(private), 3072); /* ours still */
}

static void versions(void **state)
{
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);
	CK_BUF url = { 0 };
	CK_PKEY *key = NULL;
	struct ck_err err = { 0 };

	(void)state;
	localazure(&url, "key-create", "--name versioned");
	const char *kid = strstr(ck_buf_str(&url), "/keys/");
	assert_non_null(kid);
	char *end = strchr(kid, '\n');
	if (end)
		*end = 0;
	const struct ck_attest_key_id id = { AZ_HSM, AZ_MAA, kid + 6 };
	assert_non_null(strchr(id.kid, '/'));
	assert_works(ck_attest_private_key(a, &id, &key, &err), &err);
	const struct ck_attest_key_id none = { AZ_HSM, AZ_MAA,
					       "versioned/00000000000000000000000000000000" };
	assert_fails(ck_attest_private_key(a, &none, &key, &err), -EACCES, &err, "404 Not Found");
	ck_attest_close(a);
}

static void workload_identity(void **state)
{
	CK_BUF text = { 0 };
	CK_PKEY *key = NULL;
	struct ck_err err = { 0 };
	char *save = NULL;

	(void)state;
	assert_works(ck_file_read(&text, localazure_path("workload-identity.env"), &err), &err);
	for (char *l = strtok_r((char *)text.data, "\n", &save); l;
	     l = strtok_r(NULL, "\n", &save)) {
		char *eq = strchr(l, '='), *name = strstr(l, "AZURE_");
		if (!eq || !name)
			continue;
		*eq = 0;
		setenv(name, eq + 1, 1);
	}
	assert_non_null(getenv("AZURE_FEDERATED_TOKEN_FILE"));
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);
	localazure(NULL, "counters", "--reset");
	assert_works(ck_attest_private_key(a, &imagekey, &key, &err), &err);
	assert_int_equal(localazure_count("aad_token"), 1);
	assert_int_equal(localazure_count("imds_token"), 0);
	ck_attest_close(a);
	a = localazure_client(NULL, NULL, NULL);
	EVP_PKEY_free(ck_take(key));
	localazure_set("fault.aad_token=401");
	assert_fails(ck_attest_private_key(a, &imagekey, &key, &err), -EACCES, &err,
		     "token of the workload identity");
	localazure_set("fault.aad_token=off");
	ck_attest_close(a);
	unsetenv("AZURE_CLIENT_ID");
	unsetenv("AZURE_TENANT_ID");
	unsetenv("AZURE_FEDERATED_TOKEN_FILE");
	unsetenv("AZURE_AUTHORITY_HOST");
}

/* ---- refusals ---------------------------------------------------------------------- */

static void refused(const char *kid, int code, const char *says)
{
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);
	const struct ck_attest_key_id id = { AZ_HSM, AZ_MAA, kid };
	EVP_PKEY *key = NULL;
	struct ck_err err = { 0 };

	assert_fails(ck_attest_private_key(a, &id, &key, &err), code, &err, says);
	assert_null(key);
	assert_int_equal(ck_attest_n_released(a), 0);
	ck_attest_close(a);
}

/* "measurement=<as azsim started with>" */
static void usual_measurement(char out[128])
{
	CK_JSON *j = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_json_file(&j, localazure_path("settings.json"), 1 << 16, &err), &err);
	snprintf(out, 128, "measurement=%s", json_string_value(json_object_get(j, "measurement")));
}

static void policies(void **state)
{
	char usual[128], changed[128];

	(void)state;
	usual_measurement(usual);
	localazure_set("vmpl=2");
	refused("imagekey000", -EACCES,
		"Release of key imagekey000 refused by " AZ_HSM
		" (403 Forbidden): policy wants x-ms-sevsnpvm-vmpl = 0, token has 2");
	localazure_set("vmpl=0");
	memcpy(changed, usual, sizeof changed);
	memset(strchr(changed, '=') + 1, 'a', 95);
	localazure_set(changed);
	refused("imagekey000", -EACCES, "policy wants x-ms-sevsnpvm-launchmeasurement = ");
	refused("imagekey000", -EACCES, strchr(usual, '=') + 1);
	refused("imagekey000", -EACCES, strchr(changed, '=') + 1);
	localazure_set(usual);
	localazure_set("debug=true");
	refused("imagekey000", -EBADMSG, "debugging allowed");
	localazure_set("debug=false");
	refused("nosuchkey", -EACCES,
		"Release of key nosuchkey refused by " AZ_HSM " (404 Not Found)");
	refused("notexportable", -EACCES, "exportable");
}

static void not_even_asked(void **state)
{
	static const struct {
		const char *hsm, *maa, *kid;
		const char *says;
	} rows[] = {
		{ "evil.example", AZ_MAA, "k", "Managed HSM host evil.example" },
		{ AZ_HSM, "evil.example", "k", "attestation host evil.example" },
		{ AZ_HSM "@evil.example", AZ_MAA, "k", "is not a host name" },
		{ AZ_HSM ":444", AZ_MAA, "k", "is not a host name" },
		{ AZ_HSM, AZ_MAA, "../secrets/k", "key id" },
		{ AZ_HSM, AZ_MAA, "k?x", "key id" },
		{ AZ_HSM, AZ_MAA, "", "key id" },
		{ AZ_HSM, AZ_MAA, NULL, "key id" },
		{ NULL, AZ_MAA, "k", "Managed HSM host" },
		{ AZ_HSM, NULL, "k", "attestation host" },
	};
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);

	(void)state;
	localazure(NULL, "counters", "--reset");
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct ck_attest_key_id id = { rows[i].hsm, rows[i].maa, rows[i].kid };
		EVP_PKEY *key = NULL;
		struct ck_err err = { 0 };
		assert_fails(ck_attest_private_key(a, &id, &key, &err), -EPERM, &err, rows[i].says);
		if (rows[i].maa && strcmp(rows[i].maa, "evil.example") != 0)
			assert_fails(ck_attest_public_key(a, &id, &key, &err), -EPERM, &err,
				     rows[i].says);
	}
	assert_int_equal(localazure_count("imds_token") + localazure_count("tsm_report") +
			     localazure_count("hsm_get"),
			 0);
	ck_attest_close(a);
	EVP_PKEY *key = NULL;
	struct ck_err err = { 0 };
	a = localazure_client(NULL, NULL, "00000000-not-ours");
	assert_fails(ck_attest_private_key(a, &imagekey, &key, &err), -EACCES, &err,
		     "Identity not found");
	ck_attest_close(a);
	/* Neither device: nothing is asked of anybody. */
	localazure(NULL, "counters", "--reset");
	struct ck_attest_opts none = { .tsm_dir = "/nonexistent/tsm",
				       .sev_guest = "/nonexistent/sev-guest" };
	static const char *const hsms[] = { AZ_HSM, NULL }, *const maas[] = { AZ_MAA, NULL };
	none.hsm_hosts = hsms;
	none.maa_hosts = maas;
	assert_works(ck_attest_open(&a, &none, &err), &err);
	assert_fails(ck_attest_private_key(a, &imagekey, &key, &err), -ENODEV, &err,
		     "no attestation evidence (/nonexistent/tsm is not there; cannot open "
		     "/nonexistent/sev-guest");
	ck_attest_close(a);
}

static void *ask_dead_maa(void *a)
{
	const struct ck_attest_key_id id = { AZ_HSM, "dead.attest.azure.net", "imagekey000" };
	struct ck_err err = { 0 };
	EVP_PKEY *key = NULL;

	return ck_attest_private_key(a, &id, &key, &err) < 0 ? NULL : a;
}

/* An image that names an attestation service that is allowed but not there must not make
 * the releases of others wait for it and fail with it. */
static void apart_by_maa(void **state)
{
	struct ck_attest *a = localazure_client(NULL, NULL, NULL);
	struct ck_err err = { 0 };
	CK_PKEY *key = NULL;
	pthread_t other;
	void *got;

	(void)state;
	localazure(NULL, "counters", "--reset");
	assert_int_equal(pthread_create(&other, NULL, ask_dead_maa, a), 0);
	while (localazure_count("tsm_report") == 0)
		(void)poll(NULL, 0, 10);
	assert_works(ck_attest_private_key(a, &imagekey, &key, &err), &err);
	pthread_join(other, &got);
	assert_null(got);
	ck_attest_close(a);
}

/* How often things are asked when they fail. */
static void tries(void **state)
{
	static const struct {
		const char *set, *endpoint;
		json_int_t n;
	} rows[] = {
		{ "fault.hsm_release=403", "hsm_release_refused", 1 },
		{ "fault.hsm_release=401", "hsm_release_refused", 2 }, /* with a fresh token */
		{ "fault.hsm_release=401", "imds_token", 2 },
		{ "fault.hsm_release=400", "hsm_release_refused", 2 }, /* both wrappings */
		{ "fault.hsm_release=503", "hsm_release_refused", 5 },
		{ "fault.maa_attest=400", "maa_attest", 1 },
		{ "fault.maa_attest=429", "maa_attest", 5 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_attest *a = localazure_client(NULL, NULL, NULL);
		struct ck_err err = { 0 };
		EVP_PKEY *key = NULL;
		localazure_set(rows[i].set);
		localazure(NULL, "counters", "--reset");
		assert_true(ck_attest_private_key(a, &imagekey, &key, &err) < 0);
		json_int_t n = localazure_count(rows[i].endpoint);
		if (n != rows[i].n)
			fail_msg("%s: %lld requests of %s", rows[i].set, (long long)n,
				 rows[i].endpoint);
		localazure_set("fault.hsm_release=off");
		localazure_set("fault.maa_attest=off");
		ck_attest_close(a);
	}
}

static int setup(void **state)
{
	(void)state;
	localazure_start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	localazure_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_path),	     cmocka_unit_test(versions),
		cmocka_unit_test(workload_identity), cmocka_unit_test(policies),
		cmocka_unit_test(not_even_asked),    cmocka_unit_test(tries),
		cmocka_unit_test(apart_by_maa),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
