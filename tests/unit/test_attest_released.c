/* released: a good answer of the HSM, and then each thing in it wrong. */
#include "attest/released.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "attest/hsm.h"
#include "attest/jose.h"
#include "attest/keywrap.h"
#include "base/json.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

#define HOST "hsm1.managedhsm.azure.net"
#define KEYS "https://" HOST "/keys/"

enum { ROOT, LEAF, RUNTIME, SECRET, OTHER }; /* whose key is which of mint_rsa's */

static X509 *root, *leaf;
static char ca_file[] = "/tmp/ck-released-XXXXXX";
static struct ck_released_expect expect = {
	.host = HOST, .kid = "imagekey000", .enc = CK_ENC_SHA256, .nonce = "our-nonce"
};

/* What an HSM, or a liar, may vary. */
struct answer {
	const char *alg, *enc, *nonce, *request_kid, *kid, *kty;
	int wrap_to, private, public, signer;
	const EVP_MD *md;
	X509 *chain[4];
	const char *x5t; /* "" : none; NULL: the right one */
	bool no_x5c;
};

static struct answer good(void)
{
	return (struct answer){ .alg = "RS256",
				.enc = CK_ENC_SHA256,
				.nonce = "our-nonce",
				.request_kid = KEYS "imagekey000",
				.kid = KEYS "imagekey000/0123456789abcdef0123456789abcdef",
				.kty = "RSA-HSM",
				.wrap_to = RUNTIME,
				.private = SECRET,
				.public = SECRET,
				.signer = LEAF,
				.md = EVP_sha256(),
				.chain = { leaf, root } };
}

static char *key_hsm(const struct answer *a)
{
	CK_BUF p8 = { 0 };
	CK_BUF blob = { 0 };
	CK_BUF text = { 0 };

	mint_pkcs8(&p8, mint_rsa(a->private));
	mint_wrap(&blob, mint_rsa(a->wrap_to), a->md, 32, p8.data, p8.len);
	CK_AUTO(ck_freep) char *b64 = mint_b64url(blob.data, blob.len);
	CK_JSON *j = json_pack("{s:s,s:{s:s,s:s},s:s}", "schema_version", "1.0", "header", "alg",
			       "dir", "enc", a->enc, "ciphertext", b64);
	assert_int_equal(ck_json_dump(&text, j, NULL), 0);
	return mint_b64url(text.data, text.len);
}

static json_t *payload(const struct answer *a)
{
	CK_AUTO(ck_freep) char *wrapped = key_hsm(a);
	json_t *key = mint_jwk(mint_rsa(a->public));

	json_object_set_new(key, "kid", json_string(a->kid));
	json_object_set_new(key, "kty", json_string(a->kty));
	json_object_set_new(key, "key_hsm", json_string(wrapped));
	return json_pack("{s:{s:s,s:s*,s:s,s:s*},s:{s:{s:o,s:{s:b}}}}", "request", "api-version",
			 "7.4", "enc", a->enc, "kid", a->request_kid, "nonce", a->nonce, "response",
			 "key", "key", key, "attributes", "exportable", 1);
}

static char *answer(const struct answer *a, json_t *body)
{
	CK_JSON *header = json_object();
	uint8_t sum[32];
	unsigned char *der = NULL;

	if (!a->no_x5c) {
		json_t *x5c = json_array();
		for (int i = 0; i < 4 && a->chain[i]; i++)
			mint_x5c_add(x5c, a->chain[i]);
		json_object_set_new(header, "x5c", x5c);
	}
	int n = i2d_X509(leaf, &der);
	ck_sha256(sum, der, (size_t)n);
	OPENSSL_free(der);
	CK_AUTO(ck_freep) char *right = mint_b64url(sum, 32);
	if (!a->x5t || *a->x5t)
		json_object_set_new(header, "x5t#S256", json_string(a->x5t ? a->x5t : right));
	return mint_jws(a->alg, "k", header, body, mint_rsa(a->signer));
}

static int open_it(const struct answer *a, EVP_PKEY **out, struct ck_err *err)
{
	CK_JSON *body = payload(a);
	CK_AUTO(ck_freep) char *jws = answer(a, body);

	return ck_released_open(out, jws, &expect, mint_rsa(RUNTIME), err);
}

/* A must be refused with SAYS in the message. */
static void refused(const struct answer *a, const char *says)
{
	EVP_PKEY *key = NULL;
	struct ck_err err = { 0 };

	assert_fails(open_it(a, &key, &err), -EBADMSG, &err, says);
	assert_null(key);
}

static void accepted(void **state)
{
	struct ck_err err = { 0 };
	struct answer rows[4];

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		rows[i] = good();
	rows[1].alg = "PS256";
	rows[2].x5t = "";
	rows[3].kid = "https://HSM1.managedhsm.azure.net/keys/ImageKey000/0123";
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_PKEY *key = NULL;
		assert_works(open_it(&rows[i], &key, &err), &err);
		assert_int_equal(EVP_PKEY_eq(key, mint_rsa(SECRET)), 1);
	}
	struct answer sha1 = good();
	CK_PKEY *key = NULL;
	sha1.enc = expect.enc = CK_ENC_SHA1;
	sha1.md = EVP_sha1();
	assert_works(open_it(&sha1, &key, &err), &err);
	expect.enc = CK_ENC_SHA256;
}

static void signatures(void **state)
{
	struct answer a = good();

	(void)state;
	a.alg = "HS256";
	refused(&a, "\"HS256\" is not accepted");
	a.alg = "none";
	refused(&a, "no signed token");
	a = good();
	a.signer = OTHER;
	refused(&a, "signature is not valid");
	a = good();
	a.x5t = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	refused(&a, "x5t#S256");
	a.x5t = "AAAA";
	refused(&a, "x5t#S256");
}

static void chains(void **state)
{
	const struct mint_cert
	    host = { .cn = "hsm", .san = "DNS:" HOST, .eku = "serverAuth" },
	    other = { .cn = HOST, .san = "DNS:hsm2.managedhsm.azure.net" }, no_san = { .cn = HOST },
	    client = { .cn = "c", .san = "DNS:" HOST, .eku = "clientAuth" },
	    ended = { .cn = "e", .san = "DNS:" HOST, .from_s = -7200, .till_s = -60 },
	    future = { .cn = "f", .san = "DNS:" HOST, .from_s = 600, .till_s = 7200 },
	    wild = { .cn = "w", .san = "DNS:*.managedhsm.azure.net" },
	    ca = { .cn = "another root", .ca = true };
	X509 *stranger = mint_cert(&ca, mint_rsa(OTHER), NULL, NULL);
	const struct {
		const char *why;
		const struct mint_cert *cert;
		bool by_stranger;
		const char *says; /* NULL: accepted */
	} rows[] = {
		{ "another host", &other, false, "not for host" },
		{ "the name only in CN", &no_san, false, "not for host" },
		{ "a client's certificate", &client, false, "not trusted" },
		{ "expired", &ended, false, "not trusted: certificate has expired" },
		{ "not yet valid", &future, false, "not trusted: certificate is not yet valid" },
		{ "unknown root", &host, true, "not trusted" },
		{ "a wildcard over the host", &wild, false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct answer a = good();
		X509 *cert =
		    rows[i].by_stranger
			? mint_cert(rows[i].cert, mint_rsa(LEAF), stranger, mint_rsa(OTHER))
			: mint_cert(rows[i].cert, mint_rsa(LEAF), root, mint_rsa(ROOT));
		a.chain[0] = cert;
		a.chain[1] = rows[i].by_stranger ? stranger : root;
		a.x5t = "";
		if (rows[i].says) {
			refused(&a, rows[i].says);
		} else {
			CK_PKEY *key = NULL;
			struct ck_err err = { 0 };
			assert_works(open_it(&a, &key, &err), &err);
		}
		X509_free(cert);
	}
	struct answer a = good();
	a.chain[0] = root; /* shuffled: the first must be the leaf */
	a.chain[1] = leaf;
	a.x5t = "";
	refused(&a, "not");
	a = good();
	a.no_x5c = true;
	refused(&a, "\"x5c\" is missing");
	a.no_x5c = false;
	a.chain[0] = NULL;
	refused(&a, "x5c holds 0 certificates");
	X509_free(stranger);
}

static void roots(void **state)
{
	struct answer a = good();
	EVP_PKEY *key = NULL;
	struct ck_err err = { 0 };
	const char *own = expect.ca_file;

	(void)state;
	expect.ca_file = NULL; /* the system's roots do not know ours */
	refused(&a, "not trusted");
	expect.ca_file = "/nonexistent";
	assert_fails(open_it(&a, &key, &err), -EINVAL, &err, "/nonexistent");
	expect.ca_file = own;
}

static void requests(void **state)
{
	static const struct {
		const char *why, *kid, *enc, *nonce, *says;
	} rows[] = {
		{ "another key", KEYS "otherkey", CK_ENC_SHA256, "our-nonce", "otherkey" },
		{ "longer name", KEYS "imagekey0001", CK_ENC_SHA256, "our-nonce", "imagekey0001" },
		{ "another host", "https://hsm2.managedhsm.azure.net/keys/imagekey000",
		  CK_ENC_SHA256, "our-nonce", "hsm2" },
		{ "host with a tail", "https://" HOST ".evil.example/keys/imagekey000",
		  CK_ENC_SHA256, "our-nonce", "evil" },
		{ "another path", "https://" HOST "/secrets/imagekey000", CK_ENC_SHA256,
		  "our-nonce", "secrets" },
		{ "no https", "http://" HOST "/keys/imagekey000", CK_ENC_SHA256, "our-nonce",
		  "http:" },
		{ "query behind", KEYS "imagekey000?x", CK_ENC_SHA256, "our-nonce", "?x" },
		{ "enc downgraded", KEYS "imagekey000", CK_ENC_SHA1, "our-nonce", "asked was" },
		{ "enc missing", KEYS "imagekey000", NULL, "our-nonce", "\"enc\" is missing" },
		{ "replayed nonce", KEYS "imagekey000", CK_ENC_SHA256, "old", "(nonce)" },
		{ "no nonce", KEYS "imagekey000", CK_ENC_SHA256, NULL, "\"nonce\" is missing" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct answer a = good();
		CK_JSON *body = payload(&a);
		EVP_PKEY *key = NULL;
		struct ck_err err = { 0 };
		json_object_set_new(body, "request",
				    json_pack("{s:s,s:s*,s:s*}", "kid", rows[i].kid, "enc",
					      rows[i].enc, "nonce", rows[i].nonce));
		CK_AUTO(ck_freep) char *jws = answer(&a, body);
		assert_fails(ck_released_open(&key, jws, &expect, mint_rsa(RUNTIME), &err),
			     -EBADMSG, &err, rows[i].says);
	}
}

static void responses(void **state)
{
	struct answer a = good();

	(void)state;
	a.kid = KEYS "otherkey/0123";
	refused(&a, "about key");
	a = good();
	a.kty = "EC-HSM";
	refused(&a, "cloakfs needs an RSA key");
	a = good();
	a.kty = "oct-HSM";
	refused(&a, "cloakfs needs an RSA key");
	a = good();
	a.wrap_to = OTHER; /* wrapped to somebody else */
	refused(&a, "cannot be unwrapped");
	a = good();
	a.md = EVP_sha1(); /* not as it says */
	refused(&a, "cannot be unwrapped");
	a = good();
	a.private = OTHER; /* consistent, but not the key that images are wrapped with */
	refused(&a, "does not match its public half");
	/* A version that was asked for. */
	a = good();
	expect.kid = "imagekey000/ffff";
	refused(&a, "about key");
	expect.kid = "imagekey000/0123456789ABCDEF0123456789abcdef";
	CK_PKEY *key = NULL;
	struct ck_err err = { 0 };
	assert_works(open_it(&a, &key, &err), &err);
	a.kid = KEYS "imagekey000"; /* must be confirmed */
	refused(&a, "about key");
	expect.kid = "imagekey000";
}

static void malformed(void **state)
{
	/* Each value replaces "response"; all are signed by the right key. */
	static const char *const rows[] = {
		"1",
		"{}",
		"{\"key\":1}",
		"{\"key\":{}}",
		"{\"key\":{\"key\":[]}}",
		"{\"key\":{\"key\":{\"kid\":\"" KEYS "imagekey000/01\",\"kty\":\"RSA\"}}}",
		"{\"key\":{\"key\":{\"kid\":\"" KEYS
		"imagekey000/01\",\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"}}}",
	};
	static const char *const blobs[] = {
		"", "!", "e30", "W10", "eyJjaXBoZXJ0ZXh0IjoxfQ", "eyJjaXBoZXJ0ZXh0IjoiIn0", "AAAA"
	};
	struct answer a = good();
	struct ck_err err = { 0 };
	EVP_PKEY *key = NULL;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *body = payload(&a);
		json_object_set_new(body, "response", json_loads(rows[i], JSON_DECODE_ANY, NULL));
		CK_AUTO(ck_freep) char *jws = answer(&a, body);
		assert_int_equal(ck_released_open(&key, jws, &expect, mint_rsa(RUNTIME), &err),
				 -EBADMSG);
	}
	for (size_t i = 0; i < N_OF(blobs); i++) {
		CK_JSON *body = payload(&a);
		json_t *bundle = json_object_get(json_object_get(body, "response"), "key");
		json_object_set_new(json_object_get(bundle, "key"), "key_hsm",
				    json_string(blobs[i]));
		CK_AUTO(ck_freep) char *jws = answer(&a, body);
		assert_int_equal(ck_released_open(&key, jws, &expect, mint_rsa(RUNTIME), &err),
				 -EBADMSG);
	}
	assert_null(key);
}

static int setup(void **state)
{
	const struct mint_cert r = { .cn = "test root", .ca = true }, l = {
		.cn = "*." HOST, .san = "DNS:*." HOST ",DNS:" HOST, .eku = "clientAuth,serverAuth"
	};
	struct ck_err err = { 0 };

	(void)state;
	if (ck_secret_init(&err) < 0)
		return -1;
	root = mint_cert(&r, mint_rsa(ROOT), NULL, NULL);
	leaf = mint_cert(&l, mint_rsa(LEAF), root, mint_rsa(ROOT));
	close(mkstemp(ca_file));
	mint_pem_file(ca_file, root);
	expect.ca_file = ca_file;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	X509_free(root);
	X509_free(leaf);
	return unlink(ca_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),  cmocka_unit_test(signatures),
		cmocka_unit_test(chains),    cmocka_unit_test(roots),
		cmocka_unit_test(requests),  cmocka_unit_test(responses),
		cmocka_unit_test(malformed),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
