#include "attest/evidence.h"

#include <errno.h>

void ck_evidence_free(struct ck_evidence *e)
{
	ck_buf_free(&e->report);
	ck_buf_free(&e->aux);
}

typedef int (*source_fn)(const struct ck_evidence_paths *p, const uint8_t *report_data,
			 struct ck_evidence *out, struct ck_err *err);

static int collect(const struct ck_evidence_paths *p, const uint8_t *report_data,
		   struct ck_evidence *out, struct ck_err *err)
{
	static const source_fn sources[] = { ck_tsm_collect, ck_sevguest_collect };
	CK_BUF absent = { 0 };

	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
		struct ck_err why = { 0 };
		int rc = sources[i](p, report_data, out, &why);
		if (rc != -ENODEV) {
			if (rc < 0)
				return ck_fail(err, rc, "%s", why.msg);
			return 0;
		}
		rc = ck_buf_addf(&absent, err, "%s%s", i ? "; " : "", why.msg);
		if (rc < 0)
			return rc;
	}
	return ck_fail(err, -ENODEV,
		       "this machine offers no attestation evidence (%s): keys are released only "
		       "to a confidential VM, and to root",
		       ck_buf_str(&absent));
}

int ck_evidence_endorsed(const struct ck_evidence_paths *p,
			 const uint8_t report_data[CK_REPORT_DATA_LEN], struct ck_certsource *certs,
			 const struct ck_call *call, const struct ck_tee **tee, struct ck_buf *out,
			 struct ck_err *err)
{
	/* Twice: the firmware's TCB may move between the report and its certificates. */
	for (int n = 0;; n++) {
		CK_EVIDENCE raw = { 0 };
		int rc = collect(p, report_data, &raw, err);
		if (rc < 0)
			return rc;
		*tee = raw.tee;
		rc = raw.tee->endorse(&raw, report_data, certs, call, out, err);
		if (rc != -ESTALE)
			return rc;
		if (n == 1) {
			if (err)
				err->code = -EBADMSG;
			return -EBADMSG;
		}
	}
}
