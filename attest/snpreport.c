#include "attest/snpreport.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define POLICY_DEBUG (1ULL << 19)

enum {
	AT_POLICY = 0x8,
	AT_VMPL = 0x30,
	AT_SIGNATURE_ALGO = 0x34,
	AT_KEY_INFO = 0x48,
	AT_REPORT_DATA = 0x50,
	AT_MEASUREMENT = 0x90,
	AT_HOST_DATA = 0xc0,
	AT_REPORTED_TCB = 0x180,
	AT_CHIP_ID = 0x1a0,
	SIG_FIELD = 72, /* R and S, little-endian, 48 bytes of them significant */
	SIG_BYTES = 48,
};

static uint32_t le32_at(const uint8_t *p, size_t off)
{
	struct ck_cursor c = ck_cursor(p + off, 4);
	uint32_t v = 0;

	(void)ck_cursor_le32(&c, &v);
	return v;
}

static uint64_t le64_at(const uint8_t *p, size_t off)
{
	struct ck_cursor c = ck_cursor(p + off, 8);
	uint64_t v = 0;

	(void)ck_cursor_le64(&c, &v);
	return v;
}

int ck_snp_report_parse(struct ck_snp_report *out, const void *p, size_t nbytes, struct ck_err *err)
{
	const uint8_t *b = p;

	if (nbytes != CK_SNP_REPORT_LEN)
		return ck_fail(err, -EBADMSG,
			       "an SNP attestation report has %d bytes, this one %zu",
			       CK_SNP_REPORT_LEN, nbytes);
	*out = (struct ck_snp_report){
		.bytes = b,
		.version = le32_at(b, 0),
		.policy = le64_at(b, AT_POLICY),
		.vmpl = le32_at(b, AT_VMPL),
		.signature_algo = le32_at(b, AT_SIGNATURE_ALGO),
		.report_data = b + AT_REPORT_DATA,
		.measurement = b + AT_MEASUREMENT,
		.host_data = b + AT_HOST_DATA,
		.reported_tcb = le64_at(b, AT_REPORTED_TCB),
		.chip_id = b + AT_CHIP_ID,
		.vlek = (le32_at(b, AT_KEY_INFO) >> 2 & 7) == 1,
	};
	/* The fields read here have kept their places since version 2. */
	if (out->version < 2)
		return ck_fail(err, -EBADMSG,
			       "SNP attestation report of version %" PRIu32
			       ", which is not supported",
			       out->version);
	return 0;
}

int ck_snp_report_check(const struct ck_snp_report *r, const uint8_t *report_data,
			struct ck_err *err)
{
	if (memcmp(r->report_data, report_data, 64) != 0)
		return ck_fail(err, -EBADMSG, "the SNP report is not about our report data");
	if (r->vmpl == UINT32_MAX)
		return ck_fail(err, -EBADMSG,
			       "the SNP report was asked for by the host, not "
			       "by this guest (VMPL 0xffffffff)");
	if (r->vmpl > 3)
		return ck_fail(err, -EBADMSG, "the SNP report has VMPL %" PRIu32, r->vmpl);
	if (r->policy & POLICY_DEBUG)
		return ck_fail(
		    err, -EBADMSG,
		    "this VM was started with debugging allowed (guest policy bit 19), so "
		    "its memory is open to the host: no key is asked for it");
	if (r->signature_algo != 1)
		return ck_fail(err, -EBADMSG,
			       "the SNP report has signature algorithm %" PRIu32
			       ", not 1 (ECDSA P-384)",
			       r->signature_algo);
	return 0;
}

/* R and S as the ASN.1 that OpenSSL verifies. Returns its length or 0. */
static int signature_der(const struct ck_snp_report *r, uint8_t **out)
{
	const uint8_t *at = r->bytes + CK_SNP_SIGNED_LEN;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *br = BN_lebin2bn(at, SIG_BYTES, NULL);
	BIGNUM *bs = BN_lebin2bn(at + SIG_FIELD, SIG_BYTES, NULL);
	int n = 0;

	if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs)) {
		br = bs = NULL;
		n = i2d_ECDSA_SIG(sig, out);
	}
	BN_free(br);
	BN_free(bs);
	ECDSA_SIG_free(sig);
	return n > 0 ? n : 0;
}

int ck_snp_report_verify(const struct ck_snp_report *r, X509 *leaf, struct ck_err *err)
{
	EVP_PKEY *key = X509_get0_pubkey(leaf);
	char group[32] = "";

	if (!key || !EVP_PKEY_is_a(key, "EC") ||
	    !EVP_PKEY_get_group_name(key, group, sizeof group, NULL) ||
	    strcmp(group, SN_secp384r1) != 0)
		return ck_fail(err, -EBADMSG, "the certificate of the SNP report has no P-384 key");
	uint8_t *der = NULL;
	int n = signature_der(r, &der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = 0;
	if (!n || !ctx || EVP_DigestVerifyInit(ctx, NULL, EVP_sha384(), NULL, key) != 1)
		rc = ck_nomem(err, "verifying an SNP report");
	else if (EVP_DigestVerify(ctx, der, (size_t)n, r->bytes, CK_SNP_SIGNED_LEN) != 1)
		rc = ck_fail(err, -EBADMSG,
			     "the SNP report is not signed by the key of its certificate");
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	return rc;
}
