#include "tests/unit/lib/mint.h"

#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attest/jose.h"
#include "base/json.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static EVP_PKEY *rsa_keys[8];

static void free_keys(void)
{
	for (size_t i = 0; i < sizeof rsa_keys / sizeof rsa_keys[0]; i++)
		EVP_PKEY_free(rsa_keys[i]);
}

EVP_PKEY *mint_rsa(int idx)
{
	static bool armed;

	if (!armed)
		MUST(atexit(free_keys) == 0);
	armed = true;
	if (!rsa_keys[idx])
		MUST(rsa_keys[idx] = EVP_RSA_gen(2048));
	return rsa_keys[idx];
}

static void add_ext(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	MUST(e && X509_add_ext(cert, e, -1));
	X509_EXTENSION_free(e);
}

X509 *mint_cert(const struct mint_cert *c, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	bool dated = c->from_s || c->till_s;

	MUST(cert && X509_set_version(cert, 2));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1 + rand() % 1000000));
	MUST(X509_gmtime_adj(X509_getm_notBefore(cert), dated ? c->from_s : -3600));
	MUST(X509_gmtime_adj(X509_getm_notAfter(cert), dated ? c->till_s : 3600));
	MUST(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
					(const unsigned char *)c->cn, -1, -1, 0));
	MUST(X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)));
	MUST(X509_set_pubkey(cert, key));
	add_ext(cert, NID_basic_constraints, c->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (c->san)
		add_ext(cert, NID_subject_alt_name, c->san);
	if (c->eku)
		add_ext(cert, NID_ext_key_usage, c->eku);
	MUST(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()));
	return cert;
}

void mint_x5c_add(json_t *x5c, X509 *cert)
{
	CK_BUF text = { 0 };
	unsigned char *der = NULL;
	int n = i2d_X509(cert, &der);

	MUST(n > 0 && ck_b64_encode(&text, CK_B64_STD, der, (size_t)n, NULL) == 0);
	MUST(json_array_append_new(x5c, json_string(ck_buf_str(&text))) == 0);
	OPENSSL_free(der);
}

void mint_pem_file(const char *path, X509 *cert)
{
	FILE *f = fopen(path, "w");

	MUST(f && PEM_write_X509(f, cert) && fclose(f) == 0);
}

char *mint_b64url(const void *p, size_t nbytes)
{
	CK_BUF text = { 0 };
	char *s;

	MUST(ck_b64_encode(&text, CK_B64_URL, p, nbytes, NULL) == 0);
	MUST(s = strdup(ck_buf_str(&text)));
	return s;
}

static void add_json(struct ck_buf *out, const json_t *j)
{
	CK_BUF text = { 0 };

	MUST(ck_json_dump(&text, j, NULL) == 0);
	MUST(ck_b64_encode(out, CK_B64_URL, text.data, text.len, NULL) == 0);
}

static size_t sign(unsigned char *out, size_t cap, const char *alg, EVP_PKEY *key,
		   const struct ck_buf *input)
{
	size_t n = cap;

	if (strcmp(alg, "none") == 0)
		return 0;
	if (strcmp(alg, "HS256") == 0) {
		unsigned len = 0;
		BIO *pem = BIO_new(BIO_s_mem());
		char *secret;
		MUST(pem && PEM_write_bio_PUBKEY(pem, key));
		long secret_len = BIO_get_mem_data(pem, &secret);
		MUST(HMAC(EVP_sha256(), secret, (int)secret_len, input->data, input->len, out,
			  &len));
		BIO_free(pem);
		return len;
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	MUST(ctx && EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1);
	if (strcmp(alg, "PS256") == 0)
		MUST(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1);
	MUST(EVP_DigestSign(ctx, out, &n, input->data, input->len) == 1);
	EVP_MD_CTX_free(ctx);
	return n;
}

char *mint_jws(const char *alg, const char *kid, const json_t *extra, const json_t *payload,
	       EVP_PKEY *key)
{
	CK_BUF text = { 0 };
	unsigned char sig[1024];
	CK_JSON *header = json_pack("{s:s, s:s*}", "alg", alg, "kid", kid);

	MUST(header && (!extra || json_object_update(header, (json_t *)(uintptr_t)extra) == 0));
	add_json(&text, header);
	MUST(ck_buf_adds(&text, ".", NULL) == 0);
	add_json(&text, payload);
	size_t n = sign(sig, sizeof sig, alg, key, &text);
	MUST(ck_buf_adds(&text, ".", NULL) == 0);
	MUST(ck_b64_encode(&text, CK_B64_URL, sig, n, NULL) == 0);
	char *out = strdup(ck_buf_str(&text));
	MUST(out);
	return out;
}

json_t *mint_jwk(EVP_PKEY *key)
{
	CK_BUF n = { 0 };
	CK_BUF e = { 0 };

	MUST(ck_jwk_numbers(key, &n, &e, NULL) == 0);
	return json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n", ck_buf_str(&n), "e", ck_buf_str(&e));
}

void mint_pkcs8(struct ck_buf *out, EVP_PKEY *key)
{
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int n = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : 0;

	MUST(n > 0 && ck_buf_add(out, der, (size_t)n, NULL) == 0);
	PKCS8_PRIV_KEY_INFO_free(p8);
	OPENSSL_free(der);
}

void mint_wrap(struct ck_buf *out, EVP_PKEY *key, const EVP_MD *md, size_t kek_len, const void *p,
	       size_t nbytes)
{
	unsigned char kek[32], block[1024], *wrapped = malloc(nbytes + 32);
	size_t block_len = sizeof block;
	int n = 0;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	MUST(wrapped && ctx && RAND_bytes(kek, sizeof kek) == 1);
	MUST(EVP_PKEY_encrypt_init(ctx) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	     EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
	     EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1);
	MUST(EVP_PKEY_encrypt(ctx, block, &block_len, kek, kek_len) == 1);
	EVP_PKEY_CTX_free(ctx);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	MUST(EVP_EncryptInit_ex(c, kek_len == 16 ? EVP_aes_128_wrap_pad() : EVP_aes_256_wrap_pad(),
				NULL, kek, NULL) == 1 &&
	     EVP_EncryptUpdate(c, wrapped, &n, p, (int)nbytes) == 1);
	EVP_CIPHER_CTX_free(c);
	MUST(ck_buf_add(out, block, block_len, NULL) == 0 &&
	     ck_buf_add(out, wrapped, (size_t)n, NULL) == 0);
	free(wrapped);
}
