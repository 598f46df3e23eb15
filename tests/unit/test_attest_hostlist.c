/* hostlist: what an image may not talk us into asking. */
#include "attest/hostlist.h"

#include <errno.h>

#include "tests/unit/lib/unit.h"

static const char *const patterns[] = { "hsm1.managedhsm.azure.net", ".eus.Attest.azure.net",
					NULL };

static void admits(void **state)
{
	static const struct {
		const char *why, *host;
		bool ok;
	} rows[] = {
		{ "exact", "hsm1.managedhsm.azure.net", true },
		{ "case does not matter", "HSM1.ManagedHSM.azure.net", true },
		{ "suffix", "sharedeus.eus.attest.azure.net", true },
		{ "suffix, two labels", "a.b.eus.attest.azure.net", true },
		{ "the suffix alone is no host under it", "eus.attest.azure.net", false },
		{ "suffix without its dot", "evileus.attest.azure.net", false },
		{ "exact name is no suffix", "x.hsm1.managedhsm.azure.net", false },
		{ "other host", "evil.example", false },
		{ "empty label in front of the suffix", ".eus.attest.azure.net", false },
		{ "allowed name as a label", "hsm1.managedhsm.azure.net.evil.example", false },
		{ "userinfo", "hsm1.managedhsm.azure.net@evil.example", false },
		{ "userinfo before an allowed suffix", "evil.example@a.eus.attest.azure.net",
		  false },
		{ "port", "hsm1.managedhsm.azure.net:444", false },
		{ "path before an allowed suffix", "evil.example/x.eus.attest.azure.net", false },
		{ "query", "evil.example?x.eus.attest.azure.net", false },
		{ "fragment", "evil.example#x.eus.attest.azure.net", false },
		{ "white space", "evil.example x.eus.attest.azure.net", false },
		{ "line break", "evil.example\r\nx.eus.attest.azure.net", false },
		{ "trailing dot", "hsm1.managedhsm.azure.net.", false },
		{ "two dots", "a..eus.attest.azure.net", false },
		{ "percent sign", "%65.eus.attest.azure.net", false },
		{ "non-ASCII", "\xc3\xa4.eus.attest.azure.net", false },
		{ "label begins with a dash", "-a.eus.attest.azure.net", false },
		{ "label ends with a dash", "a-.eus.attest.azure.net", false },
		{ "label of 64",
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  ".eus.attest.azure.net",
		  false },
		{ "empty", "", false },
		{ "none", NULL, false },
	};
	struct ck_hostlist l;
	char out[CK_HOST_MAX + 1];
	struct ck_err err = { 0 };

	(void)state;
	assert_works(ck_hostlist_init(&l, patterns, "hosts", &err), &err);
	for (size_t i = 0; i < N_OF(rows); i++) {
		int rc = ck_hostlist_admit(out, &l, rows[i].host, "Managed HSM", &err);
		if (rc != (rows[i].ok ? 0 : -EPERM))
			fail_msg("%s: %d", rows[i].why, rc);
	}
	assert_works(ck_hostlist_admit(out, &l, "HSM1.managedhsm.AZURE.net", "x", &err), &err);
	assert_string_equal(out, "hsm1.managedhsm.azure.net");
	ck_hostlist_free(&l);
}

static void admits_nothing_unconfigured(void **state)
{
	struct ck_hostlist l;
	char out[CK_HOST_MAX + 1], name[400];
	struct ck_err err = { 0 };

	(void)state;
	assert_works(ck_hostlist_init(&l, NULL, "hosts", &err), &err);
	assert_fails(ck_hostlist_admit(out, &l, "a.example", "Managed HSM", &err), -EPERM, &err,
		     "Managed HSM host a.example is not among the hosts");
	memset(name, 'a', sizeof name);
	for (size_t i = 9; i < sizeof name; i += 10)
		name[i] = '.';
	name[sizeof name - 1] = 0;
	assert_fails(ck_hostlist_admit(out, &l, name, "x", &err), -EPERM, &err, "not a host name");
	ck_hostlist_free(&l);
}

static void bad_patterns(void **state)
{
	static const char *const bad[] = {
		"", ".", "*.azure.net", "..azure.net", "a b", "a:1", "a/"
	};
	struct ck_hostlist l;
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(bad); i++) {
		const char *const list[] = { "good.example", bad[i], NULL };
		assert_fails(ck_hostlist_init(&l, list, "hsm_hosts", &err), -EINVAL, &err,
			     "hsm_hosts");
	}
}

static void kids(void **state)
{
	static const struct {
		const char *kid;
		bool ok;
	} rows[] = {
		{ "imagekey000", true },
		{ "Image-Key-1", true },
		{ "k/0123456789abcdef0123456789abcdef", true },
		{ "", false },
		{ "/", false },
		{ "k/", false },
		{ "/v", false },
		{ "k/v/w", false },
		{ "..", false },
		{ "k/..", false },
		{ "a.b", false },
		{ "k?x", false },
		{ "k#x", false },
		{ "k@x", false },
		{ "k:x", false },
		{ "k x", false },
		{ "k%2f", false },
		{ "k\\x", false },
		{ "k\n", false },
		{ "k/0123456789012345678901234567890123456789012345678901234567890123", true },
		{ "k/01234567890123456789012345678901234567890123456789012345678901234", false },
	};
	char name[129];

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		if (ck_kid_ok(rows[i].kid) != rows[i].ok)
			fail_msg("\"%s\"", rows[i].kid);
	memset(name, 'a', 128);
	name[128] = 0;
	assert_false(ck_kid_ok(name));
	name[127] = 0;
	assert_true(ck_kid_ok(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(admits),
		cmocka_unit_test(admits_nothing_unconfigured),
		cmocka_unit_test(bad_patterns),
		cmocka_unit_test(kids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
