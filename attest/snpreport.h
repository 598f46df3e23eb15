/*
 * snpreport - the AMD SEV-SNP attestation report.
 * Source: SEV Secure Nested Paging Firmware ABI, table "ATTESTATION_REPORT".
 */
#ifndef CK_SNPREPORT_H
#define CK_SNPREPORT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { CK_SNP_REPORT_LEN = 1184, CK_SNP_SIGNED_LEN = 0x2a0 };

/* Pointers are borrowed from the bytes that were parsed. */
struct ck_snp_report {
	const uint8_t *bytes; /* the whole report */
	uint32_t version;
	uint64_t policy;
	uint32_t vmpl;
	uint32_t signature_algo;    /* 1: ECDSA P-384 with SHA-384 */
	const uint8_t *report_data; /* 64 */
	const uint8_t *measurement; /* 48 */
	const uint8_t *host_data;   /* 32 */
	uint64_t reported_tcb;	    /* selects the key that signed */
	const uint8_t *chip_id;	    /* 64 */
	bool vlek;		    /* signed by a loaded key, not the chip's own */
};

/* Errors: -EBADMSG (length, version). */
CK_MUST_CHECK int ck_snp_report_parse(struct ck_snp_report *out, const void *p, size_t nbytes,
				      struct ck_err *err);

/*
 * Whether R may be sent: it is about REPORT_DATA (64 bytes), asked for by this guest
 * and not by the host (VMPL 0xffffffff), of a guest that cannot be debugged, signed in
 * a way we can check. Errors: -EBADMSG.
 */
CK_MUST_CHECK int ck_snp_report_check(const struct ck_snp_report *r, const uint8_t *report_data,
				      struct ck_err *err);

/* Whether LEAF's P-384 key signed R. Errors: -EBADMSG, -ENOMEM. */
CK_MUST_CHECK int ck_snp_report_verify(const struct ck_snp_report *r, X509 *leaf,
				       struct ck_err *err);

#endif
