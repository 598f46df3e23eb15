/*
 * Every way in which a service or the device may fail or lie, played by azsim: each row
 * states the error and how long it may take. The certificates' rows use a sev-guest
 * device played here, that gives azsim's reports without certificates beside them.
 */
#include <errno.h>
#include <linux/sev-guest.h>
#include <sys/ioctl.h>

#include "attest/attest.h"
#include "attest/evidence.h"
#include "attest/jose.h"
#include "base/file.h"
#include "tests/unit/lib/localazure.h"
#include "tests/unit/lib/unit.h"

static const struct ck_attest_key_id imagekey = { AZ_HSM, AZ_MAA, "imagekey000" };

int ioctl(int fd, unsigned long what, ...)
{
	const struct ck_evidence_paths p = { .tsm_dir = localazure_tsm_dir() };
	struct ck_err err = { 0 };
	va_list ap;

	va_start(ap, what);
	struct snp_guest_request_ioctl *io = va_arg(ap, struct snp_guest_request_ioctl *);
	va_end(ap);
	(void)fd;
	assert_true(what == SNP_GET_EXT_REPORT);
	const struct snp_ext_report_req *req = (const void *)(uintptr_t)io->req_data;
	uint8_t *resp = (uint8_t *)(uintptr_t)io->resp_data;
	CK_EVIDENCE e = { 0 };
	assert_works(ck_tsm_collect(&p, req->data.user_data, &e, &err), &err);
	const uint32_t head[2] = { 0, (uint32_t)e.report.len };
	memcpy(resp, head, sizeof head);
	memcpy(resp + 32, e.report.data, e.report.len);
	return 0;
}

static void device_and_thim(void **state)
{
	struct ck_attest *a =
	    localazure_client("/nonexistent/tsm", localazure_path("sev-guest"), NULL);
	struct ck_attest_key_id other = imagekey;
	CK_PKEY *one = NULL;
	CK_PKEY *two = NULL;
	struct ck_err err = { 0 };

	(void)state;
	other.kid = "secondkey";
	localazure(NULL, "counters", "--reset");
	assert_works(ck_attest_private_key(a, &imagekey, &one, &err), &err);
	assert_works(ck_attest_private_key(a, &other, &two, &err), &err);
	assert_int_equal(localazure_count("thim"), 1); /* remembered */
	ck_attest_close(a);
}

enum { QUICK = 3000, PATIENT = 8000, TIMEOUT = 13000 }; /* ms; sanitizers get thrice */

struct fault {
	const char *set; /* fault.<this> */
	int rc;
	const char *says; /* in the message, where it fails */
	unsigned within_ms;
};

static const struct fault tsm_faults[] = {
	{ "tsm_report=ebusy*1", 0, "", QUICK },
	{ "tsm_report=ebusy", -EBUSY, "configfs-tsm", QUICK },
	{ "tsm_report=eio", -EIO, "configfs-tsm", QUICK },
	{ "tsm_report=wrongdata", -EBADMSG, "not about our report data", QUICK },
	{ "tsm_report=badsig", -EBADMSG, "not signed by the key", QUICK },
};

static const struct fault maa_faults[] = {
	{ "maa_attest=400", -EACCES, "attestation refused by " AZ_MAA " (400 Bad Request)", QUICK },
	{ "maa_attest=403", -EACCES, "attestation refused by " AZ_MAA " (403 Forbidden)", QUICK },
	{ "maa_attest=408*1", 0, "", QUICK },
	{ "maa_attest=429*2", 0, "", PATIENT },
	{ "maa_attest=500*1", 0, "", QUICK },
	{ "maa_attest=503", -EPROTO, "503 Service Unavailable", PATIENT },
	{ "maa_attest=hang", -ETIMEDOUT, "attestation: https://" AZ_MAA, TIMEOUT },
	{ "maa_attest=reset", -EPROTO, "attestation: https://" AZ_MAA, QUICK },
	{ "maa_attest=truncate", -EPROTO, "attestation: https://" AZ_MAA, QUICK },
	{ "maa_attest=oversize", -EFBIG, "attestation: https://" AZ_MAA, QUICK },
	{ "maa_attest=notjson", -EBADMSG, "not valid JSON", QUICK },
	{ "maa_attest=badsig", -EBADMSG, "signature is not valid", QUICK },
	{ "maa_attest=algnone", -EBADMSG, "attestation token of " AZ_MAA " not accepted", QUICK },
	{ "maa_attest=hs256", -EBADMSG, "\"HS256\" is not accepted", QUICK },
	{ "maa_attest=wrongkid", -EBADMSG, "not among the instance's keys", QUICK },
	{ "maa_attest=expired", -EBADMSG, "expired", QUICK },
	{ "maa_attest=future", -EBADMSG, "not valid for another", QUICK },
	{ "maa_attest=wrongiss", -EBADMSG, "claim iss", QUICK },
	{ "maa_attest=wrongkey", -EBADMSG, "another key than ours", QUICK },
	{ "maa_attest=wrongreportdata", -EBADMSG, "not our report data", QUICK },
	{ "maa_attest=debuggable", -EBADMSG, "is-debuggable is true", QUICK },
	{ "maa_attest=wrongnonce", -EBADMSG, "another request (nonce)", QUICK },
	{ "maa_attest=nononce", 0, "", QUICK }, /* not every version echoes it */
	{ "maa_certs=404", -EACCES, "signing keys refused by " AZ_MAA, QUICK },
	{ "maa_certs=500*1", 0, "", QUICK },
	{ "maa_certs=rotate", -EBADMSG, "not among the instance's keys", QUICK },
	{ "maa_certs=notjson", -EBADMSG, "signing keys of " AZ_MAA, QUICK },
	{ "maa_certs=truncate", -EPROTO, "signing keys of " AZ_MAA, QUICK },
};

static const struct fault token_faults[] = {
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

static const struct fault release_faults[] = {
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

static const struct fault get_faults[] = {
	{ "hsm_get=401*1", 0, "", QUICK },
	{ "hsm_get=403", -EACCES, "public half of key imagekey000 refused by " AZ_HSM, QUICK },
	{ "hsm_get=404", -EACCES, "(404 Not Found)", QUICK },
	{ "hsm_get=429*1", 0, "", QUICK },
	{ "hsm_get=notjson", -EBADMSG, "public half of key imagekey000 from " AZ_HSM, QUICK },
	{ "hsm_get=truncate", -EPROTO, "public half of key imagekey000", QUICK },
};

static const struct fault thim_faults[] = {
	{ "thim=404", -EACCES, "refused by THIM", QUICK },
	{ "thim=500*1", 0, "", QUICK },
	{ "thim=tcbmismatch*1", 0, "", QUICK }, /* fresh evidence, fresh certificates */
	{ "thim=tcbmismatch", -EBADMSG, "the SNP report is of TCB", QUICK },
	{ "thim=missingfield", -EBADMSG, "is missing", QUICK },
	{ "thim=notjson", -EBADMSG, "THIM's answer is not valid JSON", QUICK },
	{ "thim=truncate", -EPROTO, "THIM", QUICK },
	{ "thim=oversize", -EFBIG, "THIM", QUICK },
};

static int private_key(struct ck_attest *a, EVP_PKEY **out, struct ck_err *err)
{
	return ck_attest_private_key(a, &imagekey, out, err);
}

static int public_key(struct ck_attest *a, EVP_PKEY **out, struct ck_err *err)
{
	return ck_attest_public_key(a, &imagekey, out, err);
}

static void meet(const struct fault *f, const char *tsm,
		 int (*get)(struct ck_attest *a, EVP_PKEY **out, struct ck_err *err), bool again)
{
	struct ck_attest *a = localazure_client(tsm, localazure_path("sev-guest"), NULL);
	struct ck_err err = { 0 };
	CK_PKEY *key = NULL;
	char change[64];

	snprintf(change, sizeof change, "'fault.%s'", f->set);
	localazure_set(change);
	uint64_t start = ck_now_ms();
	int rc = get(a, &key, &err);
	uint64_t took = ck_now_ms() - start;
	snprintf(change, sizeof change, "fault.%.*s=off", (int)strcspn(f->set, "="), f->set);
	localazure_set(change);
	if (rc != f->rc || (rc < 0 && !strstr(err.msg, f->says)) || (rc == 0) != (key != NULL))
		fail_msg("%s: %d \"%s\", not %d \"%s\"", f->set, rc, err.msg, f->rc, f->says);
	if (took > 3 * f->within_ms)
		fail_msg("%s: took %llu ms", f->set, (unsigned long long)took);
	/* A failure is not remembered; to see it once an endpoint is enough. */
	if (again && get(a, &key, &err) < 0)
		fail_msg("after %s: %s", f->set, err.msg);
	ck_attest_close(a);
}

static void faults_of_evidence(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(tsm_faults); i++)
		meet(&tsm_faults[i], localazure_tsm_dir(), private_key, i == N_OF(tsm_faults) - 1);
	for (size_t i = 0; i < N_OF(thim_faults); i++)
		meet(&thim_faults[i], "/nonexistent/tsm", private_key, i == N_OF(thim_faults) - 1);
}

static void faults_of_attestation(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(maa_faults); i++)
		meet(&maa_faults[i], localazure_tsm_dir(), private_key, i == N_OF(maa_faults) - 1);
}

static void faults_of_release(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(token_faults); i++)
		meet(&token_faults[i], localazure_tsm_dir(), private_key,
		     i == N_OF(token_faults) - 1);
	for (size_t i = 0; i < N_OF(release_faults); i++)
		meet(&release_faults[i], localazure_tsm_dir(), private_key,
		     i == N_OF(release_faults) - 1);
	for (size_t i = 0; i < N_OF(get_faults); i++)
		meet(&get_faults[i], localazure_tsm_dir(), public_key, i == N_OF(get_faults) - 1);
}

static int setup(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	localazure_start();
	assert_works(ck_file_write(localazure_path("sev-guest"), "", 0, 0600, &err), &err);
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
		cmocka_unit_test(device_and_thim),
		cmocka_unit_test(faults_of_evidence),
		cmocka_unit_test(faults_of_attestation),
		cmocka_unit_test(faults_of_release),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
