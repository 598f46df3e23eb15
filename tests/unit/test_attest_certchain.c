/* certchain: the host's table is hostile bytes; THIM's answer is one unit. */
#include "attest/certchain.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/json.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

static const uint8_t vcek[16] = { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64,
				  0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd };
static const uint8_t vlek[16] = { 0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e,
				  0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1 };
static const uint8_t ask[16] = { 0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4,
				 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82 };
static const uint8_t ark[16] = { 0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52,
				 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae };
static const uint8_t zero[16];

static X509 *certs[3]; /* "leaf", "ask", "ark" */

static void put_le32(struct ck_buf *b, size_t v)
{
	const uint8_t bytes[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
				   (uint8_t)(v >> 24) };
	assert_int_equal(ck_buf_add(b, bytes, 4, NULL), 0);
}

static void put_entry(struct ck_buf *b, const uint8_t guid[16], size_t off, size_t len)
{
	assert_int_equal(ck_buf_add(b, guid, 16, NULL), 0);
	put_le32(b, off);
	put_le32(b, len);
}

static void cert_bytes(struct ck_buf *out, X509 *cert, bool pem)
{
	BIO *mem = BIO_new(BIO_s_mem());
	char *p;

	assert_true(pem ? PEM_write_bio_X509(mem, cert) : i2d_X509_bio(mem, cert));
	long n = BIO_get_mem_data(mem, &p);
	assert_int_equal(ck_buf_add(out, p, (size_t)n, NULL), 0);
	BIO_free(mem);
}

/* A table of the three, in the order ARK, ASK, LEAF; pages of zeros behind it. */
static void make_table(struct ck_buf *out, const uint8_t *leaf_guid, bool pem, bool swapped)
{
	const uint8_t *const guids[] = { ark, ask, leaf_guid };
	struct ck_buf data[3] = { 0 };
	static const uint8_t pages[8192];
	size_t off = 4 * 24;

	for (size_t i = 0; i < 3; i++) {
		uint8_t g[16];
		memcpy(g, guids[i], 16);
		if (swapped) {
			const uint8_t *s = guids[i];
			const uint8_t head[8] = { s[3], s[2], s[1], s[0], s[5], s[4], s[7], s[6] };
			memcpy(g, head, 8);
		}
		cert_bytes(&data[i], certs[2 - i], pem);
		put_entry(out, g, off, data[i].len);
		off += data[i].len;
	}
	put_entry(out, zero, 0, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(ck_buf_add(out, data[i].data, data[i].len, NULL), 0);
	assert_int_equal(ck_buf_add(out, pages, sizeof pages, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		ck_buf_free(&data[i]);
}

/* The chain must be the three, leaf first. */
static void expect_three(const struct ck_certchain *c)
{
	CK_BUF want = { 0 };

	for (size_t i = 0; i < 3; i++)
		cert_bytes(&want, certs[i], true);
	assert_string_equal(ck_buf_str(&c->pem), ck_buf_str(&want));
	assert_int_equal(X509_cmp(c->leaf, certs[0]), 0);
}

static void tables(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	for (int n = 0; n < 8; n++) {
		CK_BUF t = { 0 };
		CK_CERTCHAIN c = { 0 };
		bool loaded = n & 4;
		make_table(&t, loaded ? vlek : vcek, n & 1, n & 2);
		assert_works(ck_certchain_from_table(&c, t.data, t.len, loaded, &err), &err);
		assert_false(c.has_tcb);
		expect_three(&c);
		ck_certchain_free(&c);
		/* A chip's key does not stand in for a loaded one, nor the other way. */
		assert_fails(ck_certchain_from_table(&c, t.data, t.len, !loaded, &err), -ENODATA,
			     &err, "lacks a certificate");
	}
}

static void hostile_tables(void **state)
{
	struct ck_err err = { 0 };
	CK_CERTCHAIN c = { 0 };
	static const uint8_t pages[16384];

	(void)state;
	assert_fails(ck_certchain_from_table(&c, NULL, 0, false, &err), -ENODATA, &err,
		     "gave no certificates");
	assert_fails(ck_certchain_from_table(&c, pages, sizeof pages, false, &err), -ENODATA, &err,
		     "lacks a certificate");
	static const struct {
		size_t off, len;
		const char *why;
	} rows[] = {
		{ 48, 1, "points outside itself" },
		{ 0, 49, "points outside itself" },
		{ 0xffffffff, 0, "points outside itself" },
		{ 0, 0xffffffff, "points outside itself" },
		{ 0x80000000, 0x80000000, "points outside itself" },
		{ 24, 0, "no certificate" },
		{ 0, 48, "no certificate" },
	};
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_BUF t = { 0 };
		put_entry(&t, vcek, rows[i].off, rows[i].len);
		put_entry(&t, zero, 0, 0);
		assert_fails(ck_certchain_from_table(&c, t.data, t.len, false, &err), -EBADMSG,
			     &err, rows[i].why);
	}
	for (size_t n = 1; n < 24 * 3; n++) { /* never a zero GUID */
		uint8_t *ff = malloc(n);      /* exact size: ASan sees an over-read */
		memset(ff, 0xff, n);
		assert_fails(ck_certchain_from_table(&c, ff, n, false, &err), -EBADMSG, &err,
			     "has no end");
		free(ff);
	}
	CK_BUF many = { 0 };
	for (int i = 0; i < 100; i++)
		put_entry(&many, ark, 0, 0);
	assert_fails(ck_certchain_from_table(&c, many.data, many.len, false, &err), -EBADMSG, &err,
		     "more than 32 entries");
	CK_BUF t = { 0 };
	make_table(&t, vcek, false, false);
	t.data[4 * 24 + 2] ^= 0xff; /* the ARK's DER */
	assert_fails(ck_certchain_from_table(&c, t.data, t.len, false, &err), -EBADMSG, &err,
		     "no certificate");
}

static json_t *thim(void)
{
	CK_BUF leaf = { 0 };
	CK_BUF rest = { 0 };

	cert_bytes(&leaf, certs[0], true);
	cert_bytes(&rest, certs[1], true);
	cert_bytes(&rest, certs[2], true);
	return json_pack("{s:s,s:s,s:s,s:s}", "vcekCert", ck_buf_str(&leaf), "tcbm",
			 "7308000000000003", "certificateChain", ck_buf_str(&rest), "cacheControl",
			 "86400");
}

static int parse(struct ck_certchain *c, const json_t *j, struct ck_err *err)
{
	CK_BUF text = { 0 };

	assert_int_equal(ck_json_dump(&text, j, NULL), 0);
	return ck_certchain_from_thim(c, text.data, text.len, "THIM's answer", err);
}

static void thim_answers(void **state)
{
	static const struct {
		const char *key, *value, *why;
	} rows[] = {
		{ "vcekCert", NULL, "\"vcekCert\" is missing" },
		{ "tcbm", NULL, "\"tcbm\" is missing" },
		{ "certificateChain", NULL, "\"certificateChain\" is missing" },
		{ "tcbm", "", "not a TCB version" },
		{ "tcbm", "73080000000000031", "not a TCB version" },
		{ "tcbm", "0x73", "not a TCB version" },
		{ "tcbm", "-1", "not a TCB version" },
		{ "vcekCert", "", "no PEM certificate" },
		{ "vcekCert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		  "no PEM certificate" },
	};
	struct ck_err err = { 0 };
	CK_JSON *good = thim();
	CK_CERTCHAIN c = { 0 };

	(void)state;
	assert_works(parse(&c, good, &err), &err);
	assert_true(c.has_tcb && c.tcb == 0x7308000000000003);
	expect_three(&c);
	ck_certchain_free(&c);
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *j = json_copy(good);
		if (rows[i].value)
			json_object_set_new(j, rows[i].key, json_string(rows[i].value));
		else
			json_object_del(j, rows[i].key);
		assert_fails(parse(&c, j, &err), -EBADMSG, &err, rows[i].why);
	}
	CK_BUF many = { 0 };
	for (int i = 0; i < 9; i++)
		cert_bytes(&many, certs[1], true);
	json_object_set_new(good, "certificateChain", json_string(ck_buf_str(&many)));
	assert_fails(parse(&c, good, &err), -EBADMSG, &err, "more than 8 certificates");
}

static int setup(void **state)
{
	static const char *const names[] = { "leaf", "ask", "ark" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct mint_cert c = { .cn = names[i], .ca = i > 0 };
		certs[i] = mint_cert(&c, mint_rsa(i), NULL, NULL);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		X509_free(certs[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),
		cmocka_unit_test(hostile_tables),
		cmocka_unit_test(thim_answers),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
