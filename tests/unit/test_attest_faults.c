/*
 * Every way in which the device, THIM or MAA may fail or lie, played by azsim: each row
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

static const struct localazure_fault tsm_faults[] = {
	{ "tsm_report=ebusy*1", 0, "", QUICK },
	{ "tsm_report=ebusy", -EBUSY, "configfs-tsm", QUICK },
	{ "tsm_report=eio", -EIO, "configfs-tsm", QUICK },
	{ "tsm_report=wrongdata", -EBADMSG, "not about our report data", QUICK },
	{ "tsm_report=badsig", -EBADMSG, "not signed by the key", QUICK },
};

static const struct localazure_fault maa_faults[] = {
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

static const struct localazure_fault thim_faults[] = {
	{ "thim=404", -EACCES, "refused by THIM", QUICK },
	{ "thim=500*1", 0, "", QUICK },
	{ "thim=tcbmismatch*1", 0, "", QUICK }, /* fresh evidence, fresh certificates */
	{ "thim=tcbmismatch", -EBADMSG, "the SNP report is of TCB", QUICK },
	{ "thim=missingfield", -EBADMSG, "is missing", QUICK },
	{ "thim=notjson", -EBADMSG, "THIM's answer is not valid JSON", QUICK },
	{ "thim=truncate", -EPROTO, "THIM", QUICK },
	{ "thim=oversize", -EFBIG, "THIM", QUICK },
};

static void faults_of_evidence(void **state)
{
	(void)state;
	localazure_meet(tsm_faults, N_OF(tsm_faults), NULL, ck_attest_private_key);
	localazure_meet(thim_faults, N_OF(thim_faults), "/nonexistent/tsm", ck_attest_private_key);
}

static void faults_of_attestation(void **state)
{
	(void)state;
	localazure_meet(maa_faults, N_OF(maa_faults), NULL, ck_attest_private_key);
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
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
