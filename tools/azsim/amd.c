#include "tools/azsim/amd.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tools/azsim/cert.h"
#include "tools/azsim/dir.h"

enum { DAY = 86400, YEAR = 365 * DAY };

/* Bootloader 3, TEE 0, SNP 8, microcode 211: one version above 127, whose DER
 * INTEGER has a leading zero byte, as a hasty parser forgets. */
#define TCB UINT64_C(0xd308000000000003)

static int add_vcek_extensions(X509 *x, const void *arg, struct ck_err *err)
{
	const struct az_snp_firmware *fw = arg;
	/* DER: INTEGER 0; IA5String. */
	int rc = az_cert_add_raw(x, "1.3.6.1.4.1.3704.1.1", "\x02\x01\x00", 3, err);

	if (rc == 0)
		rc = az_cert_add_raw(x, "1.3.6.1.4.1.3704.1.2", "\x16\x08Milan-B0", 10, err);
	for (size_t i = 0; rc == 0 && i < 4; i++) {
		uint8_t v = (uint8_t)(fw->tcb >> (8 * az_tcb_parts[i].byte));
		uint8_t small[] = { 2, 1, v }, large[] = { 2, 2, 0, v };
		rc = v < 128 ? az_cert_add_raw(x, az_tcb_parts[i].oid, small, sizeof small, err)
			     : az_cert_add_raw(x, az_tcb_parts[i].oid, large, sizeof large, err);
	}
	if (rc == 0)
		rc = az_cert_add_raw(x, AZ_OID_HWID, fw->chip_id, AZ_SNP_CHIP_LEN, err);
	return rc;
}

static struct az_cert_spec spec(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
				const struct az_snp_firmware *vcek_of)
{
	return (struct az_cert_spec){ .cn = cn,
				      .org = "Advanced Micro Devices (azsim)",
				      .unit = "Engineering",
				      .key = key,
				      .issuer = issuer,
				      .issuer_key = issuer_key,
				      .from_s = -DAY,
				      .to_s = (vcek_of ? 7L : 25L) * YEAR,
				      .ca = !vcek_of,
				      .pss = true,
				      .extend = vcek_of ? add_vcek_extensions : NULL,
				      .extend_arg = vcek_of };
}

static int keep_chip_id(uint8_t id[AZ_SNP_CHIP_LEN], const char *path, struct ck_err *err)
{
	CK_BUF b = { .max = AZ_SNP_CHIP_LEN };
	int rc = ck_file_read(&b, path, NULL);

	if (rc == 0 && b.len == AZ_SNP_CHIP_LEN) {
		memcpy(id, b.data, b.len);
		return 0;
	}
	if (rc == 0)
		return ck_fail(err, -EBADMSG, "%s does not hold 64 bytes", path);
	if (RAND_bytes(id, AZ_SNP_CHIP_LEN) != 1)
		return az_ssl_fail(err, "cannot make a chip id");
	return ck_file_write(path, id, AZ_SNP_CHIP_LEN, 0600, err);
}

static int open_keys(struct az_amd *a, const char *dir, struct ck_err *err)
{
	int rc = az_pkey_keep(&a->ark_key, az_path(dir, "amd/ark-key.pem").s, "RSA:2048", err);

	if (rc == 0)
		rc = az_pkey_keep(&a->ask_key, az_path(dir, "amd/ask-key.pem").s, "RSA:2048", err);
	if (rc == 0)
		rc = az_pkey_keep(&a->fw.vcek, az_path(dir, "amd/vcek-key.pem").s, "P-384", err);
	if (rc == 0)
		rc = keep_chip_id(a->fw.chip_id, az_path(dir, "amd/chip-id").s, err);
	if (rc == 0 && RAND_bytes(a->fw.report_id, sizeof a->fw.report_id) != 1)
		rc = az_ssl_fail(err, "cannot make a report id");
	return rc;
}

int az_amd_open(struct az_amd *a, const char *dir, struct ck_err *err)
{
	a->fw.tcb = TCB;
	int rc = open_keys(a, dir, err);
	struct az_cert_spec ark = spec("ARK-Milan", a->ark_key, NULL, NULL, NULL);
	if (rc == 0)
		rc = az_cert_keep(&a->ark, az_path(dir, "amd/ark.pem").s, &ark, err);
	struct az_cert_spec ask = spec("SEV-Milan", a->ask_key, a->ark, a->ark_key, NULL);
	if (rc == 0)
		rc = az_cert_keep(&a->ask, az_path(dir, "amd/ask.pem").s, &ask, err);
	struct az_cert_spec vcek = spec("SEV-VCEK", a->fw.vcek, a->ask, a->ask_key, &a->fw);
	if (rc == 0)
		rc = az_cert_keep(&a->vcek, az_path(dir, "amd/vcek.pem").s, &vcek, err);
	return rc < 0 ? ck_wrap(err, "cannot open the AMD chain") : 0;
}

void az_amd_close(struct az_amd *a)
{
	X509_free(a->ark);
	X509_free(a->ask);
	X509_free(a->vcek);
	EVP_PKEY_free(a->ark_key);
	EVP_PKEY_free(a->ask_key);
	EVP_PKEY_free(a->fw.vcek);
}

/* GUIDs in the byte order of their text, as AMD's own tools write the table. */
static const char *const guids[] = {
	"63da758de6644564adc5f4b93be8accd", /* VCEK */
	"4ab7b379bbac4fe4a02f05aef327c782", /* ASK */
	"c0b406a4a803495297433fb6014cd0ae", /* ARK */
};

int az_amd_table(struct ck_buf *out, const struct az_amd *a, struct ck_err *err)
{
	X509 *const certs[] = { a->vcek, a->ask, a->ark };
	enum { ENTRY = 24, HEAD = 4 * ENTRY }; /* the fourth, all zero, ends the table */
	uint8_t head[HEAD] = { 0 };
	CK_BUF der = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 3; i++) {
		uint8_t *e = head + i * ENTRY;
		uint32_t at = HEAD + (uint32_t)der.len;
		rc = az_cert_der(&der, certs[i], err);
		uint32_t len = HEAD + (uint32_t)der.len - at;
		(void)ck_unhex(e, 16, guids[i]);
		for (int b = 0; b < 4; b++) {
			e[16 + b] = (uint8_t)(at >> (8 * b));
			e[20 + b] = (uint8_t)(len >> (8 * b));
		}
	}
	if (rc == 0)
		rc = ck_buf_add(out, head, sizeof head, err);
	return rc < 0 ? rc : ck_buf_add(out, der.data, der.len, err);
}

int az_amd_thim(json_t **out, const struct az_amd *a, enum az_fault fault, struct ck_err *err)
{
	AZ_PKEY *other_key = NULL;
	AZ_X509 *other = NULL;
	struct az_snp_firmware fw = a->fw;
	CK_BUF vcek = { 0 };
	CK_BUF chain = { 0 };
	int rc = 0;

	if (fault == AZ_TCBMISMATCH) {
		fw.tcb -= UINT64_C(1) << (8 * AZ_TCB_MICROCODE);
		rc = az_pkey_make(&other_key, "P-384", err);
		struct az_cert_spec stale = spec("SEV-VCEK", other_key, a->ask, a->ask_key, &fw);
		if (rc == 0)
			rc = az_cert_make(&other, &stale, err);
	}
	if (rc == 0)
		rc = az_cert_pem(&vcek, other ? other : a->vcek, err);
	if (rc == 0)
		rc = az_cert_pem(&chain, a->ask, err);
	if (rc == 0)
		rc = az_cert_pem(&chain, a->ark, err);
	if (rc < 0)
		return rc;
	char tcbm[17];
	snprintf(tcbm, sizeof tcbm, "%016" PRIx64, fw.tcb);
	*out = json_pack("{s:s,s:s,s:s,s:s}", "vcekCert", ck_buf_str(&vcek), "tcbm", tcbm,
			 "certificateChain", ck_buf_str(&chain), "cacheControl", "86400");
	if (!*out)
		return ck_nomem(err, "writing host certificates");
	if (fault == AZ_MISSINGFIELD)
		json_object_del(*out, "vcekCert");
	return 0;
}
