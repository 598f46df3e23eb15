#include "tools/azsim/snp.h"

#include <openssl/ecdsa.h>
#include <string.h>

#include "tools/azsim/pkey.h"

/* One signature component: 72 bytes, little-endian. */
enum { COMPONENT = 72 };

const struct az_tcb_part az_tcb_parts[4] = {
	{ "1.3.6.1.4.1.3704.1.3.1", AZ_TCB_BOOTLOADER },
	{ "1.3.6.1.4.1.3704.1.3.2", AZ_TCB_TEE },
	{ "1.3.6.1.4.1.3704.1.3.3", AZ_TCB_SNP },
	{ "1.3.6.1.4.1.3704.1.3.8", AZ_TCB_MICROCODE },
};

uint64_t az_snp_u64(const struct az_snp_report *r, size_t off)
{
	uint64_t v = 0;

	for (size_t i = 8; i-- > 0;)
		v = v << 8 | r->b[off + i];
	return v;
}

uint32_t az_snp_u32(const struct az_snp_report *r, size_t off)
{
	return (uint32_t)(r->b[off] | r->b[off + 1] << 8 | r->b[off + 2] << 16) |
	       (uint32_t)r->b[off + 3] << 24;
}

static void put(struct az_snp_report *r, size_t off, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		r->b[off + i] = (uint8_t)(v >> (8 * i));
}

static int sign(struct az_snp_report *r, EVP_PKEY *vcek, struct ck_err *err)
{
	CK_AUTO(az_mdctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t der[128];
	size_t n = sizeof der;

	if (!c || EVP_DigestSignInit(c, NULL, EVP_sha384(), NULL, vcek) != 1 ||
	    EVP_DigestSign(c, der, &n, r->b, AZ_SNP_SIGNED_LEN) != 1)
		return az_ssl_fail(err, "cannot sign a report");
	const uint8_t *p = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	int ok = sig &&
		 BN_bn2lebinpad(ECDSA_SIG_get0_r(sig), r->b + AZ_SNP_SIGNATURE, COMPONENT) > 0 &&
		 BN_bn2lebinpad(ECDSA_SIG_get0_s(sig), r->b + AZ_SNP_SIGNATURE + COMPONENT,
				COMPONENT) > 0;
	ECDSA_SIG_free(sig);
	return ok ? 0 : az_ssl_fail(err, "cannot sign a report");
}

int az_snp_make(struct az_snp_report *out, const struct az_snp_firmware *fw,
		const struct az_launch *l, uint32_t vmpl, const uint8_t data[AZ_SNP_DATA_LEN],
		struct ck_err *err)
{
	memset(out, 0, sizeof *out);
	put(out, AZ_SNP_VERSION, 3, 4);
	/* ABI 0.31, SMT allowed, the reserved bit that must be one. */
	put(out, AZ_SNP_POLICY, 0x3001f | (uint64_t)l->debug << AZ_POLICY_DEBUG, 8);
	out->b[AZ_SNP_FAMILY_ID] = 1; /* as the utility VM of Azure has them */
	out->b[AZ_SNP_IMAGE_ID] = 2;
	put(out, AZ_SNP_VMPL, vmpl, 4);
	put(out, AZ_SNP_SIG_ALGO, 1, 4);
	put(out, AZ_SNP_PLATFORM_INFO, 1, 8);
	memcpy(out->b + AZ_SNP_REPORT_DATA, data, AZ_SNP_DATA_LEN);
	memcpy(out->b + AZ_SNP_MEASUREMENT, l->measurement, AZ_MEASUREMENT_LEN);
	memcpy(out->b + AZ_SNP_HOST_DATA, l->host_data, AZ_HOST_DATA_LEN);
	memcpy(out->b + AZ_SNP_REPORT_ID, fw->report_id, sizeof fw->report_id);
	memset(out->b + AZ_SNP_REPORT_ID_MA, 0xff, 32); /* no migration agent */
	put(out, AZ_SNP_CPUID, 0x010119, 3); /* Milan: family 0x19, model 1, stepping 1 */
	memcpy(out->b + AZ_SNP_CHIP_ID, fw->chip_id, AZ_SNP_CHIP_LEN);
	put(out, AZ_SNP_CURRENT_TCB, fw->tcb, 8);
	put(out, AZ_SNP_REPORTED_TCB, fw->tcb, 8);
	put(out, AZ_SNP_COMMITTED_TCB, fw->tcb, 8);
	put(out, AZ_SNP_LAUNCH_TCB, fw->tcb, 8);
	return sign(out, fw->vcek, err);
}
