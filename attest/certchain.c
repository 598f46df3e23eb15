#include "attest/certchain.h"

#include <errno.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cursor.h"
#include "base/json.h"

enum {
	CERTS_MAX = 8,	  /* in one chain */
	ENTRIES_MAX = 32, /* in one table */
	GUID_LEN = 16,
};

void ck_certchain_free(struct ck_certchain *c)
{
	X509_free(c->leaf);
	ck_buf_free(&c->pem);
	*c = (struct ck_certchain){ 0 };
}

static void bio_freep(BIO **b)
{
	BIO_free(*b);
}

/* Appends CERT to the chain, as PEM; takes it over where it is the first. */
static int add_cert(struct ck_certchain *c, X509 *cert, struct ck_err *err)
{
	CK_AUTO(bio_freep) BIO *mem = BIO_new(BIO_s_mem());
	char *text = NULL;
	int rc = -ENOMEM;

	if (mem && PEM_write_bio_X509(mem, cert)) {
		long n = BIO_get_mem_data(mem, &text);
		rc = ck_buf_add(&c->pem, text, (size_t)n, err);
	} else {
		rc = ck_nomem(err, "copying a certificate");
	}
	if (rc == 0 && !c->leaf)
		c->leaf = cert;
	else
		X509_free(cert);
	return rc;
}

/* Appends every certificate of the PEM text. */
static int add_pem(struct ck_certchain *c, const void *p, size_t nbytes, const char *name,
		   struct ck_err *err)
{
	if (nbytes > INT32_MAX)
		return ck_fail(err, -EBADMSG, "%s is too long", name);
	CK_AUTO(bio_freep) BIO *mem = BIO_new_mem_buf(p, (int)nbytes);
	if (!mem)
		return ck_nomem(err, "reading certificates");
	for (int n = 0;; n++) {
		X509 *cert = PEM_read_bio_X509(mem, NULL, NULL, NULL);
		if (!cert && n > 0)
			return 0;
		if (!cert)
			return ck_fail(err, -EBADMSG, "%s holds no PEM certificate", name);
		if (n == CERTS_MAX) {
			X509_free(cert);
			return ck_fail(err, -EBADMSG, "%s holds more than %d certificates", name,
				       CERTS_MAX);
		}
		int rc = add_cert(c, cert, err);
		if (rc < 0)
			return rc;
	}
}

static int add_der_or_pem(struct ck_certchain *c, const uint8_t *p, size_t nbytes,
			  struct ck_err *err)
{
	static const char name[] = "the host's certificate table";

	if (nbytes && p[0] == '-')
		return add_pem(c, p, nbytes, name, err);
	const unsigned char *at = p;
	X509 *cert = d2i_X509(NULL, &at, (long)nbytes);
	if (!cert)
		return ck_fail(err, -EBADMSG, "%s holds an entry that is no certificate", name);
	return add_cert(c, cert, err);
}

/* Roles in the order MAA wants; hosts write the GUIDs as their text reads, or with the
 * first three fields little-endian. */
struct role {
	uint8_t guid[GUID_LEN];
};
static const struct role vcek = { { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5,
				    0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd } };
static const struct role vlek = { { 0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6,
				    0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1 } };
static const struct role ask = { { 0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05,
				   0xae, 0xf3, 0x27, 0xc7, 0x82 } };
static const struct role ark = { { 0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f,
				   0xb6, 0x01, 0x4c, 0xd0, 0xae } };

static bool is_role(const uint8_t *guid, const struct role *r)
{
	static const uint8_t swapped[GUID_LEN] = { 3, 2, 1,  0,	 5,  4,	 7,  6,
						   8, 9, 10, 11, 12, 13, 14, 15 };
	bool same = true;

	for (size_t i = 0; i < GUID_LEN; i++)
		same = same && guid[i] == r->guid[swapped[i]];
	return same || memcmp(guid, r->guid, GUID_LEN) == 0;
}

/* Finds the certificate of role R; -ENODATA when the table ends without it. */
static int table_find(const uint8_t *p, size_t nbytes, const struct role *r, const uint8_t **out,
		      size_t *out_len, struct ck_err *err)
{
	static const uint8_t end[GUID_LEN];
	struct ck_cursor c = ck_cursor(p, nbytes);

	for (int n = 0; n < ENTRIES_MAX; n++) {
		const uint8_t *guid;
		uint32_t off, len;
		if (!ck_cursor_take(&c, GUID_LEN, &guid) || !ck_cursor_le32(&c, &off) ||
		    !ck_cursor_le32(&c, &len))
			return ck_fail(err, -EBADMSG, "the host's certificate table has no end");
		if (memcmp(guid, end, GUID_LEN) == 0)
			return ck_fail(err, -ENODATA,
				       "the host's certificate table lacks a certificate");
		if (!is_role(guid, r))
			continue;
		if (off > nbytes || len > nbytes - off)
			return ck_fail(err, -EBADMSG,
				       "the host's certificate table points outside itself "
				       "(%u bytes at %u of %zu)",
				       len, off, nbytes);
		*out = p + off;
		*out_len = len;
		return 0;
	}
	return ck_fail(err, -EBADMSG, "the host's certificate table has more than %d entries",
		       ENTRIES_MAX);
}

int ck_certchain_from_table(struct ck_certchain *out, const void *p, size_t nbytes, bool want_vlek,
			    struct ck_err *err)
{
	const struct role *const wanted[] = { want_vlek ? &vlek : &vcek, &ask, &ark };
	CK_CERTCHAIN c = { 0 };

	if (nbytes == 0)
		return ck_fail(err, -ENODATA, "the host gave no certificates");
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		const uint8_t *cert = NULL;
		size_t len = 0;
		int rc = table_find(p, nbytes, wanted[i], &cert, &len, err);
		if (rc == 0)
			rc = add_der_or_pem(&c, cert, len, err);
		if (rc < 0)
			return rc;
	}
	*out = c;
	c = (struct ck_certchain){ 0 };
	return 0;
}

/* At most 16 hex digits: a TCB as THIM writes it. */
static int parse_tcb(uint64_t *out, const char *s, const char *name, struct ck_err *err)
{
	size_t n = strlen(s);

	if (n == 0 || n > 16 || strspn(s, "0123456789abcdefABCDEF") != n)
		return ck_fail(err, -EBADMSG, "%s: tcbm \"%.40s\" is not a TCB version", name, s);
	*out = strtoull(s, NULL, 16);
	return 0;
}

int ck_certchain_from_thim(struct ck_certchain *out, const void *p, size_t nbytes, const char *name,
			   struct ck_err *err)
{
	CK_CERTCHAIN c = { .has_tcb = true };
	CK_JSON *j = NULL;
	const char *leaf = "", *rest = "", *tcbm = "";

	int rc = ck_json_parse(&j, p, nbytes, name, err);
	if (rc < 0)
		return rc;
	rc = ck_json_str(&leaf, j, "vcekCert", true, err);
	if (rc == 0)
		rc = ck_json_str(&rest, j, "certificateChain", true, err);
	if (rc == 0)
		rc = ck_json_str(&tcbm, j, "tcbm", true, err);
	if (rc < 0)
		return ck_wrap(err, "%s", name);
	rc = parse_tcb(&c.tcb, tcbm, name, err);
	if (rc == 0)
		rc = add_pem(&c, leaf, strlen(leaf), name, err);
	if (rc == 0)
		rc = add_pem(&c, rest, strlen(rest), name, err);
	if (rc < 0)
		return rc;
	*out = c;
	c = (struct ck_certchain){ 0 };
	return 0;
}
