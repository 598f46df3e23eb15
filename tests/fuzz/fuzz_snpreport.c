/*
 * fuzz_snpreport - the host's certificate table, and a report beside it. Property: a
 * chain that parses has a leaf and begins with that leaf's PEM.
 */
#include <stdlib.h>
#include <string.h>

#include "attest/certchain.h"
#include "attest/snpreport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ours[64];
	CK_CERTCHAIN c = { 0 };
	CK_CERTCHAIN t = { 0 };
	struct ck_snp_report r;
	struct ck_err err = { 0 };

	if (ck_certchain_from_table(&c, data, size, size & 1, &err) == 0) {
		if (!c.leaf || strncmp(ck_buf_str(&c.pem), "-----BEGIN CERTIFICATE-----", 27) != 0)
			abort();
	} else if (c.leaf || c.pem.data || !err.msg[0]) {
		abort();
	}
	if (ck_certchain_from_thim(&t, data, size, "fuzz", &err) == 0 && (!t.leaf || !t.has_tcb))
		abort();
	if (ck_snp_report_parse(&r, data, size, &err) == 0 &&
	    (size != CK_SNP_REPORT_LEN ||
	     (ck_snp_report_check(&r, ours, &err) == 0 && (r.vmpl > 3 || r.policy & 1 << 19))))
		abort();
	return 0;
}
