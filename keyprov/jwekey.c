#include "keyprov/jwekey.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/oaep.h"

static const struct curve {
	const char *crv, *group; /* RFC 7518's name, OpenSSL's */
	size_t len;		 /* bytes of a coordinate */
} curves[] = {
	{ "P-256", "prime256v1", 32 },
	{ "P-384", "secp384r1", 48 },
	{ "P-521", "secp521r1", 66 },
};

static const struct kw {
	const char *alg;
	size_t key_len; /* bytes */
	const char *cipher;
} kws[] = {
	{ "ECDH-ES+A128KW", 16, "AES-128-WRAP" },
	{ "ECDH-ES+A192KW", 24, "AES-192-WRAP" },
	{ "ECDH-ES+A256KW", 32, "AES-256-WRAP" },
};

static void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void pkey_ctx_freep(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

static const struct curve *curve_of(const EVP_PKEY *key)
{
	char group[64];

	if (!EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_group_name(key, group, sizeof group, NULL) <= 0)
		return NULL;
	for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
		if (strcmp(curves[i].group, group) == 0)
			return &curves[i];
	return NULL;
}

/* Makes a public key of the uncompressed point; OpenSSL checks that it is on the curve. */
static EVP_PKEY *public_from_point(const struct curve *c, const uint8_t *point, size_t len)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
						 (char *)(uintptr_t)c->group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point,
						  len),
		OSSL_PARAM_construct_end(),
	};
	CK_AUTO(pkey_ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;

	if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
		return NULL;
	return key;
}

/* The sender's ephemeral public key, which must be on curve C. */
static int epk_read(const json_t *epk, const struct curve *c, EVP_PKEY **out, struct ck_err *err)
{
	const char *kty, *crv;
	CK_BUF point = { 0 };
	int rc;

	if (!json_is_object(epk))
		return ck_fail(err, -EBADMSG, "\"epk\" is missing");
	if ((rc = ck_json_str(&kty, epk, "kty", true, err)) < 0 ||
	    (rc = ck_json_str(&crv, epk, "crv", true, err)) < 0 ||
	    (rc = ck_buf_add(&point, "\x04", 1, err)) < 0 ||
	    (rc = ck_json_b64(&point, epk, "x", CK_B64_URL, true, err)) < 0)
		return rc;
	if (strcmp(kty, "EC") != 0 || strcmp(crv, c->crv) != 0)
		return ck_fail(err, -ENOKEY, "its ephemeral key is on curve %.20s, ours on %s", crv,
			       c->crv);
	if (point.len != 1 + c->len)
		return ck_fail(err, -EBADMSG, "\"epk\" has a coordinate of the wrong length");
	if ((rc = ck_json_b64(&point, epk, "y", CK_B64_URL, true, err)) < 0)
		return rc;
	if (point.len != 1 + 2 * c->len)
		return ck_fail(err, -EBADMSG, "\"epk\" has a coordinate of the wrong length");
	*out = public_from_point(c, point.data, point.len);
	if (!*out) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG, "\"epk\" is not a point of %s", c->crv);
	}
	return 0;
}

static int shared_secret(EVP_PKEY *key, EVP_PKEY *peer, struct ck_secret *out, struct ck_err *err)
{
	CK_AUTO(pkey_ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	size_t n = 0;

	if (!c || EVP_PKEY_derive_init(c) <= 0 || EVP_PKEY_derive_set_peer(c, peer) <= 0 ||
	    EVP_PKEY_derive(c, NULL, &n) <= 0) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG, "the two EC keys do not agree");
	}
	int rc = ck_secret_new(out, n, err);
	if (rc < 0)
		return rc;
	if (EVP_PKEY_derive(c, out->data, &n) <= 0 || n != out->len) {
		ERR_clear_error();
		return ck_fail(err, -EBADMSG, "the two EC keys do not agree");
	}
	return 0;
}

static int add_be32(struct ck_buf *b, size_t v, struct ck_err *err)
{
	uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	return ck_buf_add(b, be, sizeof be, err);
}

static int add_sized(struct ck_buf *b, const void *p, size_t nbytes, struct ck_err *err)
{
	int rc = add_be32(b, nbytes, err);

	return rc < 0 ? rc : ck_buf_add(b, p, nbytes, err);
}

/* NIST SP 800-56A's one-step KDF with SHA-256: OpenSSL calls it SSKDF. */
static int concat_kdf(const struct ck_secret *z, const struct ck_buf *info, struct ck_secret *out,
		      struct ck_err *err)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, z->data, z->len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info->data, info->len),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SSKDF", NULL);
	EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool ok = c && EVP_KDF_derive(c, out->data, out->len, params) > 0;
	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
	if (!ok) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL cannot derive a key (SSKDF)");
	}
	return 0;
}

/* LEN bytes for ALG out of what KEY's private and PEER's public half have in common. */
static int agree(EVP_PKEY *key, EVP_PKEY *peer, const char *alg, const struct ck_buf party[2],
		 size_t len, struct ck_secret *out, struct ck_err *err)
{
	CK_SECRET z = { 0 };
	CK_BUF info = { 0 };
	int rc;

	if ((rc = shared_secret(key, peer, &z, err)) < 0 ||
	    (rc = add_sized(&info, alg, strlen(alg), err)) < 0 ||
	    (rc = add_sized(&info, party[0].data, party[0].len, err)) < 0 ||
	    (rc = add_sized(&info, party[1].data, party[1].len, err)) < 0 ||
	    (rc = add_be32(&info, 8 * len, err)) < 0 || (rc = ck_secret_new(out, len, err)) < 0)
		return rc;
	return concat_kdf(&z, &info, out, err);
}

int ck_jwekey_agree(const struct ck_jwekey *r, EVP_PKEY *key, const char *alg, size_t len,
		    struct ck_secret *out, struct ck_err *err)
{
	const struct curve *c = curve_of(key);
	const struct ck_buf party[] = { r->apu, r->apv };
	CK_AUTO(pkey_freep) EVP_PKEY *peer = NULL;

	if (!c)
		return ck_fail(err, -ENOKEY, "%s needs an EC key, ours is not", r->alg);
	int rc = epk_read(r->epk, c, &peer, err);
	return rc < 0 ? rc : agree(key, peer, alg, party, len, out, err);
}

static int add_coordinate(json_t *jwk, const char *name, const uint8_t *p, size_t len,
			  struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = ck_b64_encode(&text, CK_B64_URL, p, len, err);

	if (rc == 0 && json_object_set_new(jwk, name, json_string(ck_buf_str(&text))) < 0)
		rc = ck_nomem(err, "writing \"epk\"");
	return rc;
}

/* KEY's public half, on curve C, as a JWK (RFC 7518 section 6.2.1). */
static int epk_write(EVP_PKEY *key, const struct curve *c, json_t **out, struct ck_err *err)
{
	uint8_t point[1 + 2 * 66];
	size_t n = 0;

	if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
					    &n) <= 0 ||
	    n != 1 + 2 * c->len || point[0] != 4 /* uncompressed */) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL gives no point of an EC key");
	}
	CK_JSON *jwk = json_pack("{s:s, s:s}", "kty", "EC", "crv", c->crv);
	if (!jwk)
		return ck_nomem(err, "writing \"epk\"");
	int rc = add_coordinate(jwk, "x", point + 1, c->len, err);
	if (rc == 0)
		rc = add_coordinate(jwk, "y", point + 1 + c->len, c->len, err);
	if (rc == 0)
		*out = ck_take(jwk);
	return rc;
}

int ck_jwekey_offer(EVP_PKEY *key, const char *alg, size_t len, json_t **epk, struct ck_secret *out,
		    struct ck_err *err)
{
	const struct curve *c = curve_of(key);
	static const struct ck_buf nobody[2];

	if (!c)
		return ck_fail(err, -EINVAL,
			       "the public key is not an EC key on P-256, P-384 or P-521");
	CK_AUTO(pkey_freep) EVP_PKEY *fresh = EVP_EC_gen(c->group);
	if (!fresh) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL cannot make a key on %s", c->crv);
	}
	int rc = agree(fresh, key, alg, nobody, len, out, err);
	return rc < 0 ? rc : epk_write(fresh, c, epk, err);
}

/* AES key wrap, RFC 3394. */
static int unwrap(const struct kw *kw, const struct ck_secret *kek, const struct ck_buf *wrapped,
		  struct ck_secret *out, struct ck_err *err)
{
	if (wrapped->len < 24 || wrapped->len > 72 || wrapped->len % 8)
		return ck_fail(err, -EBADMSG, "its wrapped key has a length of %zu bytes",
			       wrapped->len);
	int rc = ck_secret_new(out, wrapped->len - 8, err);
	if (rc < 0)
		return rc;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, kw->cipher, NULL);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	CK_SECRET tmp = { 0 };
	int n = 0;
	rc = ck_secret_new(&tmp, wrapped->len, err);
	if (c)
		EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	if (rc == 0 && (!c || EVP_DecryptInit_ex(c, cipher, NULL, kek->data, NULL) <= 0 ||
			EVP_DecryptUpdate(c, tmp.data, &n, wrapped->data, (int)wrapped->len) <= 0 ||
			(size_t)n != out->len)) {
		ERR_clear_error();
		rc = ck_fail(err, -EBADMSG, "its wrapped key does not open with our key");
	}
	if (rc == 0)
		memcpy(out->data, tmp.data, out->len);
	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(cipher);
	return rc;
}

static int open_ecdh(const struct ck_jwekey *r, EVP_PKEY *key, struct ck_secret *out,
		     struct ck_err *err)
{
	/* Agreed directly: the content encryption is what the key is for. */
	if (strcmp(r->alg, "ECDH-ES") == 0) {
		if (r->encrypted_key.len)
			return ck_fail(err, -EBADMSG, "ECDH-ES carries a wrapped key");
		return ck_jwekey_agree(r, key, r->enc->name, r->enc->key_len, out, err);
	}
	for (size_t i = 0; i < sizeof kws / sizeof kws[0]; i++) {
		if (strcmp(kws[i].alg, r->alg) != 0)
			continue;
		CK_SECRET kek = { 0 };
		int rc = ck_jwekey_agree(r, key, r->alg, kws[i].key_len, &kek, err);
		return rc < 0 ? rc : unwrap(&kws[i], &kek, &r->encrypted_key, out, err);
	}
	return ck_fail(err, -ENOTSUP, "algorithm %.40s is not supported", r->alg);
}

int ck_jwekey_open(const struct ck_jwekey *r, EVP_PKEY *key, struct ck_secret *out,
		   struct ck_err *err)
{
	bool sha1 = strcmp(r->alg, "RSA-OAEP") == 0;
	int rc;

	if (!sha1 && strcmp(r->alg, "RSA-OAEP-256") != 0)
		rc = open_ecdh(r, key, out, err);
	else if (ck_rsa_size(key) == 0)
		return ck_fail(err, -ENOKEY, "%s needs an RSA key, ours is not", r->alg);
	else
		rc = ck_oaep_decrypt(key, sha1 ? EVP_sha1() : EVP_sha256(), r->encrypted_key.data,
				     r->encrypted_key.len, out, err);
	return rc;
}
