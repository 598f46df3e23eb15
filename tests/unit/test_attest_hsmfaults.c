/*
 * Every way in which AAD or the HSM may fail or lie, played by azsim: each row states
 * the error and how long it may take.
 */
#include <errno.h>

#include "attest/attest.h"
#include "tests/unit/lib/localazure.h"
#include "tests/unit/lib/unit.h"

static const struct localazure_fault token_faults[] = {
	{ "imds_token=400", -EACCES, "refused by IMDS", QUICK },
	{ "imds_token=404", -EACCES, "refused by IMDS", QUICK },
	{ "imds_token=410", -EACCES, "410 Gone", QUICK },
	{ "imds_token=invalidtoken500*2", 0, "", PATIENT },
	{ "imds_token=429*1", 0, "", QUICK },
	{ "imds_token=reset", -EPROTO, "managed identity", QUICK },
	{ "imds_token=truncate", -EPROTO, "managed identity", QUICK },
	{ "imds_token=notjson", -EBADMSG, "not valid JSON", QUICK },
	{ "imds_token=oversize", -EFBIG, "managed identity", QUICK },
};

static const struct localazure_fault release_faults[] = {
	{ "hsm_release=400*1", 0, "", QUICK }, /* the other wrapping is asked for */
	{ "hsm_release=400", -EACCES, "(400 Bad Request)", QUICK },
	{ "hsm_release=401*1", 0, "", QUICK },
	{ "hsm_release=401", -EACCES, "(401 Unauthorized)", QUICK },
	{ "hsm_release=403", -EACCES,
	  "Release of key imagekey000 refused by " AZ_HSM " (403 Forbidden)", QUICK },
	{ "hsm_release=404", -EACCES, "(404 Not Found)", QUICK },
	{ "hsm_release=429*1", 0, "", QUICK },
	{ "hsm_release=500*2", 0, "", PATIENT },
	{ "hsm_release=reset", -EPROTO, "release of key imagekey000", QUICK },
	{ "hsm_release=truncate", -EPROTO, "release of key imagekey000", QUICK },
	{ "hsm_release=oversize", -EFBIG, "release of key imagekey000", QUICK },
	{ "hsm_release=notjson", -EBADMSG, "not valid JSON", QUICK },
	{ "hsm_release=badsig", -EBADMSG, "signature is not valid", QUICK },
	{ "hsm_release=algnone", -EBADMSG, "is not accepted", QUICK },
	{ "hsm_release=algswap", -EBADMSG, "is not accepted", QUICK },
	{ "hsm_release=wrongkid", -EBADMSG, "azsim-other-key", QUICK },
	{ "hsm_release=expiredleaf", -EBADMSG, "certificate has expired", QUICK },
	{ "hsm_release=sanmismatch", -EBADMSG, "not for host " AZ_HSM, QUICK },
	{ "hsm_release=unknownroot", -EBADMSG, "not trusted", QUICK },
	{ "hsm_release=nox5c", -EBADMSG, "x5c", QUICK },
	{ "hsm_release=nononce", -EBADMSG, "\"nonce\" is missing", QUICK },
	{ "hsm_release=wrongnonce", -EBADMSG, "another request (nonce)", QUICK },
	{ "hsm_release=shortct", -EBADMSG, "cannot be unwrapped", QUICK },
	{ "hsm_release=badkwp", -EBADMSG, "cannot be unwrapped", QUICK },
	{ "hsm_release=otherkey", -EBADMSG, "cannot be unwrapped", QUICK },
	{ "hsm_release=keymismatch", -EBADMSG, "does not match its public half", QUICK },
	{ "hsm_release=notrsa", -EBADMSG, "no RSA key", QUICK },
};

static const struct localazure_fault get_faults[] = {
	{ "hsm_get=401*1", 0, "", QUICK },
	{ "hsm_get=403", -EACCES, "public half of key imagekey000 refused by " AZ_HSM, QUICK },
	{ "hsm_get=404", -EACCES, "(404 Not Found)", QUICK },
	{ "hsm_get=429*1", 0, "", QUICK },
	{ "hsm_get=notjson", -EBADMSG, "public half of key imagekey000 from " AZ_HSM, QUICK },
	{ "hsm_get=truncate", -EPROTO, "public half of key imagekey000", QUICK },
};

static void faults_of_release(void **state)
{
	(void)state;
	localazure_meet(token_faults, N_OF(token_faults), NULL, ck_attest_private_key);
	localazure_meet(release_faults, N_OF(release_faults), NULL, ck_attest_private_key);
	localazure_meet(get_faults, N_OF(get_faults), NULL, ck_attest_public_key);
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
		cmocka_unit_test(faults_of_release),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
