/*
 * snp - AMD SEV-SNP evidence as Microsoft Azure Attestation takes it.
 * Source: MAA REST, "Attestation - Attest Sev Snp Vm" 2022-08-01; the report member
 * is base64url(JSON{SnpReport, VcekCertChain}), each of them base64url again.
 */
#include <errno.h>

#include "attest/evidence.h"
#include "attest/snpreport.h"
#include "base/json.h"

static int add_member(json_t *obj, const char *key, const struct ck_buf *value, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = ck_b64_encode(&text, CK_B64_URL_PAD, value->data, value->len, err);

	if (rc < 0)
		return rc;
	if (json_object_set_new(obj, key, json_string(ck_buf_str(&text))) < 0)
		return ck_nomem(err, "writing an attestation request");
	return 0;
}

static int endorse(const struct ck_evidence *raw, const uint8_t *report_data,
		   struct ck_certsource *certs, const struct ck_call *call, struct ck_buf *out,
		   struct ck_err *err)
{
	CK_JSON *j = json_object();
	CK_BUF pem = { 0 };
	CK_BUF text = { 0 };
	struct ck_snp_report r;

	int rc = ck_snp_report_parse(&r, raw->report.data, raw->report.len, err);
	if (rc == 0)
		rc = ck_snp_report_check(&r, report_data, err);
	if (rc == 0)
		rc = ck_certsource_find(certs, call, &r, &raw->aux, &pem, err);
	if (rc == 0)
		rc = add_member(j, "SnpReport", &raw->report, err);
	if (rc == 0)
		rc = add_member(j, "VcekCertChain", &pem, err);
	if (rc == 0)
		rc = ck_json_dump(&text, j, err);
	if (rc == 0)
		rc = ck_b64_encode(out, CK_B64_URL_PAD, text.data, text.len, err);
	return rc;
}

const struct ck_tee ck_tee_snp = {
	.type = "sevsnpvm",
	.maa_path = "/attest/SevSnpVm?api-version=2022-08-01",
	.maa_member = "report",
	.claim_report_data = "x-ms-sevsnpvm-reportdata",
	.claim_debuggable = "x-ms-sevsnpvm-is-debuggable",
	.endorse = endorse,
};
