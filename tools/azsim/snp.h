/*
 * snp - the SEV-SNP attestation report: its layout, making and checking one.
 * Source: AMD 56860 "SEV-SNP Firmware ABI", ATTESTATION_REPORT structure, version 3.
 */
#ifndef AZ_SNP_H
#define AZ_SNP_H

#include <openssl/x509.h>
#include <stdint.h>

#include "tools/azsim/settings.h"

enum {
	AZ_SNP_REPORT_LEN = 0x4a0,
	AZ_SNP_SIGNED_LEN = 0x2a0,
	AZ_SNP_DATA_LEN = 64,
	AZ_SNP_CHIP_LEN = 64,
	/* byte offsets */
	AZ_SNP_VERSION = 0x000,
	AZ_SNP_GUEST_SVN = 0x004,
	AZ_SNP_POLICY = 0x008,
	AZ_SNP_FAMILY_ID = 0x010,
	AZ_SNP_IMAGE_ID = 0x020,
	AZ_SNP_VMPL = 0x030,
	AZ_SNP_SIG_ALGO = 0x034,
	AZ_SNP_CURRENT_TCB = 0x038,
	AZ_SNP_PLATFORM_INFO = 0x040,
	AZ_SNP_KEY_INFO = 0x048,
	AZ_SNP_REPORT_DATA = 0x050,
	AZ_SNP_MEASUREMENT = 0x090,
	AZ_SNP_HOST_DATA = 0x0c0,
	AZ_SNP_ID_KEY_DIGEST = 0x0e0,
	AZ_SNP_AUTHOR_KEY_DIGEST = 0x110,
	AZ_SNP_REPORT_ID = 0x140,
	AZ_SNP_REPORT_ID_MA = 0x160,
	AZ_SNP_REPORTED_TCB = 0x180,
	AZ_SNP_CPUID = 0x188,
	AZ_SNP_CHIP_ID = 0x1a0,
	AZ_SNP_COMMITTED_TCB = 0x1e0,
	AZ_SNP_LAUNCH_TCB = 0x1f0,
	AZ_SNP_SIGNATURE = 0x2a0,
	/* bytes of a TCB version (Milan, Genoa) */
	AZ_TCB_BOOTLOADER = 0,
	AZ_TCB_TEE = 1,
	AZ_TCB_SNP = 6,
	AZ_TCB_MICROCODE = 7,
	/* bits of the guest policy */
	AZ_POLICY_SMT = 16,
	AZ_POLICY_MIGRATE = 18,
	AZ_POLICY_DEBUG = 19,
};

struct az_snp_report {
	uint8_t b[AZ_SNP_REPORT_LEN];
};

/* Little-endian fields at byte offset OFF. */
uint32_t az_snp_u32(const struct az_snp_report *r, size_t off);
uint64_t az_snp_u64(const struct az_snp_report *r, size_t off);

/* What the firmware knows beside the launch. */
struct az_snp_firmware {
	uint64_t tcb;
	uint8_t chip_id[AZ_SNP_CHIP_LEN];
	uint8_t report_id[32];
	EVP_PKEY *vcek; /* P-384 */
};

/* A signed report of LAUNCH, asked for at level VMPL with DATA. */
CK_MUST_CHECK int az_snp_make(struct az_snp_report *out, const struct az_snp_firmware *fw,
			      const struct az_launch *launch, uint32_t vmpl,
			      const uint8_t data[AZ_SNP_DATA_LEN], struct ck_err *err);

/*
 * Checks REPORT against the PEM chain VCEK, ASK, ARK of exactly three certificates:
 * the ARK is ROOT, each signs the one before with RSASSA-PSS and SHA-384, all are
 * valid now, the VCEK's TCB and chip are the report's, and it signed the report.
 * Errors: -EACCES naming the check that failed, -EIO, -ENOMEM.
 */
CK_MUST_CHECK int az_snp_check(const struct az_snp_report *report, const void *chain,
			       size_t chain_len, X509 *root, struct ck_err *err);

/* The four TCB versions with their extension's OID (AMD 57230, VCEK certificate). */
struct az_tcb_part {
	const char *oid;
	unsigned byte; /* of the TCB version */
};
extern const struct az_tcb_part az_tcb_parts[4];
#define AZ_OID_HWID "1.3.6.1.4.1.3704.1.4"

#endif
