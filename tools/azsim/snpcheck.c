#include <ctype.h>
#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tools/azsim/pkey.h"
#include "tools/azsim/snp.h"

enum { VCEK, ASK, ARK, N_CHAIN, COMPONENT = 72 };

static const char *const names[N_CHAIN] = { "VCEK", "ASK", "ARK" };

struct chain {
	X509 *cert[N_CHAIN];
};

static void chain_free(struct chain *c)
{
	for (int i = 0; i < N_CHAIN; i++)
		X509_free(c->cert[i]);
}

/* Exactly three PEM certificates, nothing but white space after them. */
static int read_chain(struct chain *c, const void *pem, size_t len, struct ck_err *err)
{
	if (len > 1 << 20)
		return ck_fail(err, -EACCES, "the VCEK certificate chain is too long");
	CK_AUTO(az_bio_freep) BIO *b = BIO_new_mem_buf(pem, (int)len);
	if (!b)
		return ck_nomem(err, "reading a certificate chain");
	for (int i = 0; i < N_CHAIN; i++) {
		c->cert[i] = PEM_read_bio_X509(b, NULL, NULL, NULL);
		ERR_clear_error();
		if (!c->cert[i])
			return ck_fail(err, -EACCES,
				       "the VCEK certificate chain holds %d PEM certificates, not "
				       "VCEK, ASK and ARK",
				       i);
	}
	char *rest;
	long n = BIO_get_mem_data(b, &rest);
	for (long i = 0; i < n; i++)
		if (!isspace((unsigned char)rest[i]))
			return ck_fail(err, -EACCES,
				       "the VCEK certificate chain has trailing bytes");
	return 0;
}

/* ISSUER signed X with RSASSA-PSS, SHA-384, as AMD's keys do, and both are valid now. */
static int check_link(X509 *x, X509 *issuer, const char *name, struct ck_err *err)
{
	int md, pk;

	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0 ||
	    X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
		return ck_fail(err, -EACCES, "the %s certificate is not valid now", name);
	if (X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) != 0)
		return ck_fail(err, -EACCES, "the %s certificate names another issuer", name);
	if (X509_get_signature_nid(x) != NID_rsassaPss ||
	    !X509_get_signature_info(x, &md, &pk, NULL, NULL) || md != NID_sha384)
		return ck_fail(err, -EACCES,
			       "the %s certificate is not signed with RSASSA-PSS and SHA-384",
			       name);
	if (X509_verify(x, X509_get0_pubkey(issuer)) != 1) {
		ERR_clear_error();
		return ck_fail(err, -EACCES, "the signature of the %s certificate is wrong", name);
	}
	return 0;
}

/* The extension OID's contents, borrowed; NULL when there is none. */
static const ASN1_OCTET_STRING *extension(X509 *x, const char *oid)
{
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	int at = o ? X509_get_ext_by_OBJ(x, o, -1) : -1;

	ASN1_OBJECT_free(o);
	return at < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(x, at));
}

static int check_tcb(X509 *vcek, const struct az_snp_report *r, struct ck_err *err)
{
	for (size_t i = 0; i < 4; i++) {
		const struct az_tcb_part *part = &az_tcb_parts[i];
		const ASN1_OCTET_STRING *v = extension(vcek, part->oid);
		const uint8_t *p = v ? ASN1_STRING_get0_data(v) : NULL;
		ASN1_INTEGER *n = v ? d2i_ASN1_INTEGER(NULL, &p, ASN1_STRING_length(v)) : NULL;
		int64_t have = -1;
		if (n)
			ASN1_INTEGER_get_int64(&have, n);
		ASN1_INTEGER_free(n);
		ERR_clear_error();
		uint8_t want = r->b[AZ_SNP_REPORTED_TCB + part->byte];
		if (have != want)
			return ck_fail(err, -EACCES,
				       "the VCEK is for another TCB: extension %s is %lld, the "
				       "report says %u",
				       part->oid, (long long)have, want);
	}
	return 0;
}

static int check_chip(X509 *vcek, const struct az_snp_report *r, struct ck_err *err)
{
	const ASN1_OCTET_STRING *v = extension(vcek, AZ_OID_HWID);

	if (!v || ASN1_STRING_length(v) != AZ_SNP_CHIP_LEN ||
	    memcmp(ASN1_STRING_get0_data(v), r->b + AZ_SNP_CHIP_ID, AZ_SNP_CHIP_LEN) != 0)
		return ck_fail(err, -EACCES, "the VCEK is of another chip than the report");
	return 0;
}

static int check_signature(X509 *vcek, const struct az_snp_report *r, struct ck_err *err)
{
	const uint8_t *at = r->b + AZ_SNP_SIGNATURE;
	CK_AUTO(az_mdctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *rr = BN_lebin2bn(at, COMPONENT, NULL),
	       *ss = BN_lebin2bn(at + COMPONENT, COMPONENT, NULL);
	unsigned char *der = NULL;
	int n = -1;

	if (sig && rr && ss && ECDSA_SIG_set0(sig, rr, ss) == 1)
		n = i2d_ECDSA_SIG(sig, &der);
	ECDSA_SIG_free(sig);
	int ok = c && n > 0 &&
		 EVP_DigestVerifyInit(c, NULL, EVP_sha384(), NULL, X509_get0_pubkey(vcek)) == 1 &&
		 EVP_DigestVerify(c, der, (size_t)n, r->b, AZ_SNP_SIGNED_LEN) == 1;
	OPENSSL_free(der);
	ERR_clear_error();
	for (size_t i = AZ_SNP_SIGNATURE + 2 * COMPONENT; ok && i < AZ_SNP_REPORT_LEN; i++)
		ok = r->b[i] == 0;
	return ok ? 0 : ck_fail(err, -EACCES, "the signature of the report is wrong");
}

int az_snp_check(const struct az_snp_report *r, const void *pem, size_t pem_len, X509 *root,
		 struct ck_err *err)
{
	CK_AUTO(chain_free) struct chain c = { 0 };

	if (az_snp_u32(r, AZ_SNP_VERSION) < 2 || az_snp_u32(r, AZ_SNP_VERSION) > 5)
		return ck_fail(err, -EACCES, "report version %u is unknown",
			       az_snp_u32(r, AZ_SNP_VERSION));
	if (az_snp_u32(r, AZ_SNP_SIG_ALGO) != 1)
		return ck_fail(err, -EACCES, "the report is not signed with ECDSA P-384");
	int rc = read_chain(&c, pem, pem_len, err);
	if (rc < 0)
		return rc;
	if (X509_cmp(c.cert[ARK], root) != 0)
		return ck_fail(err, -EACCES, "the ARK certificate is not this simulator's");
	for (int i = 0; rc == 0 && i < N_CHAIN; i++)
		rc = check_link(c.cert[i], c.cert[i < ARK ? i + 1 : ARK], names[i], err);
	if (rc == 0)
		rc = check_tcb(c.cert[VCEK], r, err);
	if (rc == 0)
		rc = check_chip(c.cert[VCEK], r, err);
	return rc < 0 ? rc : check_signature(c.cert[VCEK], r, err);
}
