/* snpreport: offsets by the ABI's table, and a signature made here. */
#include "attest/snpreport.h"

#include <errno.h>
#include <openssl/ec.h>
#include <stdlib.h>

#include "base/buf.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

static EVP_PKEY *p384;
static X509 *leaf;

static void put_le(uint8_t *p, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* A report over 64 bytes of 0x5a, signed by p384. */
static void make(uint8_t r[CK_SNP_REPORT_LEN])
{
	for (size_t i = 0; i < CK_SNP_REPORT_LEN; i++)
		r[i] = (uint8_t)(i * 7 + (i >> 8));
	put_le(r, 3, 4);
	put_le(r + 0x8, 0x30000, 8);
	put_le(r + 0x30, 2, 4);
	put_le(r + 0x34, 1, 4);
	put_le(r + 0x48, 0, 4);
	memset(r + 0x50, 0x5a, 64);
	put_le(r + 0x180, 0x7308000000000003, 8);
}

static void sign(uint8_t r[CK_SNP_REPORT_LEN])
{
	unsigned char der[160];
	const unsigned char *at = der;
	size_t n = sizeof der;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	memset(r + 0x2a0, 0, 512);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, p384), 1);
	assert_int_equal(EVP_DigestSign(ctx, der, &n, r, 0x2a0), 1);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)n);
	assert_int_equal(BN_bn2lebinpad(ECDSA_SIG_get0_r(sig), r + 0x2a0, 72), 72);
	assert_int_equal(BN_bn2lebinpad(ECDSA_SIG_get0_s(sig), r + 0x2a0 + 72, 72), 72);
	ECDSA_SIG_free(sig);
}

static void offsets(void **state)
{
	uint8_t b[CK_SNP_REPORT_LEN];
	struct ck_snp_report r;
	struct ck_err err = { 0 };

	(void)state;
	make(b);
	assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
	assert_int_equal(r.version, 3);
	assert_true(r.policy == 0x30000);
	assert_int_equal(r.vmpl, 2);
	assert_int_equal(r.signature_algo, 1);
	assert_ptr_equal(r.report_data, b + 0x50);
	assert_ptr_equal(r.measurement, b + 0x90);
	assert_ptr_equal(r.host_data, b + 0xc0);
	assert_ptr_equal(r.chip_id, b + 0x1a0);
	assert_true(r.reported_tcb == 0x7308000000000003);
	assert_false(r.vlek);
	put_le(b + 0x48, 1 << 2, 4);
	assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
	assert_true(r.vlek);
}

static void lengths_and_versions(void **state)
{
	uint8_t b[CK_SNP_REPORT_LEN + 1] = { 0 };
	struct ck_snp_report r;
	struct ck_err err = { 0 };

	(void)state;
	make(b);
	assert_fails(ck_snp_report_parse(&r, b, 0, &err), -EBADMSG, &err, "1184 bytes");
	assert_fails(ck_snp_report_parse(&r, b, 1183, &err), -EBADMSG, &err, "1184 bytes");
	assert_fails(ck_snp_report_parse(&r, b, 1185, &err), -EBADMSG, &err, "1184 bytes");
	put_le(b, 1, 4);
	assert_fails(ck_snp_report_parse(&r, b, 1184, &err), -EBADMSG, &err, "version 1");
}

static void refusals(void **state)
{
	static const struct {
		size_t off, nbytes;
		uint64_t value;
		const char *why;
	} rows[] = {
		{ 0x50, 1, 0x5b, "not about our report data" },
		{ 0x8f, 1, 0x5b, "not about our report data" },
		{ 0x30, 4, 0xffffffff, "asked for by the host" },
		{ 0x30, 4, 4, "VMPL 4" },
		{ 0x8, 8, 0x30000 | 1 << 19, "debugging allowed" },
		{ 0x34, 4, 0, "signature algorithm 0" },
		{ 0x34, 4, 2, "signature algorithm 2" },
	};
	uint8_t b[CK_SNP_REPORT_LEN], ours[64];
	struct ck_snp_report r;
	struct ck_err err = { 0 };

	(void)state;
	memset(ours, 0x5a, sizeof ours);
	make(b);
	assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
	assert_works(ck_snp_report_check(&r, ours, &err), &err);
	for (size_t i = 0; i < N_OF(rows); i++) {
		make(b);
		put_le(b + rows[i].off, rows[i].value, rows[i].nbytes);
		assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
		assert_fails(ck_snp_report_check(&r, ours, &err), -EBADMSG, &err, rows[i].why);
	}
}

static void signature(void **state)
{
	uint8_t b[CK_SNP_REPORT_LEN];
	struct ck_snp_report r;
	struct ck_err err = { 0 };

	(void)state;
	make(b);
	sign(b);
	assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
	assert_works(ck_snp_report_verify(&r, leaf, &err), &err);
	/* Every signed byte counts, the last before the signature too. */
	static const size_t at[] = { 0, 0x30, 0x50, 0x90, 0x180, 0x29f, 0x2a0, 0x2a0 + 72 };
	for (size_t i = 0; i < N_OF(at); i++) {
		b[at[i]] ^= 1;
		assert_fails(ck_snp_report_verify(&r, leaf, &err), -EBADMSG, &err, "not signed by");
		b[at[i]] ^= 1;
	}
	assert_works(ck_snp_report_verify(&r, leaf, &err), &err);
	memset(b + 0x2a0, 0, 512);
	assert_fails(ck_snp_report_verify(&r, leaf, &err), -EBADMSG, &err, "not signed by");
}

static void other_keys(void **state)
{
	uint8_t b[CK_SNP_REPORT_LEN];
	struct ck_snp_report r;
	struct ck_err err = { 0 };
	EVP_PKEY *p256 = EVP_EC_gen("P-256"), *second = EVP_EC_gen("P-384");
	const struct mint_cert c = { .cn = "SEV-VCEK" };
	X509 *small = mint_cert(&c, p256, NULL, NULL),
	     *rsa = mint_cert(&c, mint_rsa(0), NULL, NULL),
	     *other = mint_cert(&c, second, NULL, NULL);

	(void)state;
	make(b);
	sign(b);
	assert_works(ck_snp_report_parse(&r, b, sizeof b, &err), &err);
	assert_fails(ck_snp_report_verify(&r, small, &err), -EBADMSG, &err, "no P-384 key");
	assert_fails(ck_snp_report_verify(&r, rsa, &err), -EBADMSG, &err, "no P-384 key");
	assert_fails(ck_snp_report_verify(&r, other, &err), -EBADMSG, &err, "not signed by");
	X509_free(small);
	X509_free(rsa);
	X509_free(other);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(second);
}

static int setup(void **state)
{
	const struct mint_cert c = { .cn = "SEV-VCEK" };

	(void)state;
	p384 = EVP_EC_gen("P-384");
	leaf = mint_cert(&c, p384, NULL, NULL);
	return leaf ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	X509_free(leaf);
	EVP_PKEY_free(p384);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets),    cmocka_unit_test(lengths_and_versions),
		cmocka_unit_test(refusals),   cmocka_unit_test(signature),
		cmocka_unit_test(other_keys),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
