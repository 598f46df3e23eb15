/*
 * amd - the AMD-like side: ARK, ASK and VCEK of one simulated chip, the reports
 * it signs, and the endorsement documents that go with them.
 */
#ifndef AZ_AMD_H
#define AZ_AMD_H

#include "tools/azsim/snp.h"

struct az_amd {
	EVP_PKEY *ark_key, *ask_key;
	X509 *ark, *ask, *vcek;
	struct az_snp_firmware fw; /* its vcek key is owned here */
};

/* Loads DIR/amd/, making what is missing. */
CK_MUST_CHECK int az_amd_open(struct az_amd *amd, const char *dir, struct ck_err *err);
void az_amd_close(struct az_amd *amd);

/* Appends the SNP certificate table: VCEK, ASK, ARK (GHCB specification, SNP Extended
 * Guest Request). */
CK_MUST_CHECK int az_amd_table(struct ck_buf *out, const struct az_amd *amd, struct ck_err *err);

/* The THIM document {vcekCert, tcbm, certificateChain, cacheControl}, a new reference;
 * FAULT: AZ_TCBMISMATCH (all of another firmware), AZ_MISSINGFIELD. */
CK_MUST_CHECK int az_amd_thim(json_t **out, const struct az_amd *amd, enum az_fault fault,
			      struct ck_err *err);

#endif
