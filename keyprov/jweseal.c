#include "keyprov/jweseal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/json.h"
#include "keyprov/aead.h"
#include "keyprov/jwekey.h"
#include "keyprov/oaep.h"

enum { KEY_LEN = 32 }; /* bytes of A256GCM's key and of A256KW's */

/* A JWE on its way. */
struct sealing {
	struct ck_secret cek;
	json_t *header;		     /* protected */
	struct ck_buf prot;	     /* the same as it is written: base64url */
	struct ck_buf encrypted_key; /* of cek */
	struct ck_buf data;	     /* ciphertext, tag */
	uint8_t iv[CK_GCM_IV];
};

static void sealing_free(struct sealing *s)
{
	ck_secret_free(&s->cek);
	json_decref(s->header);
	ck_buf_free(&s->prot);
	ck_buf_free(&s->encrypted_key);
	ck_buf_free(&s->data);
}

static int make_header(struct sealing *s, const char *alg, struct ck_err *err)
{
	s->header = json_pack("{s:s, s:s}", "alg", alg, "enc", "A256GCM");
	return s->header ? 0 : ck_nomem(err, "making a JWE");
}

static int hide_by_rsa(struct sealing *s, EVP_PKEY *key, struct ck_err *err)
{
	int rc = make_header(s, "RSA-OAEP", err);

	return rc < 0 ? rc
		      : ck_oaep_encrypt(key, EVP_sha1(), s->cek.data, s->cek.len, &s->encrypted_key,
					err);
}

/* AES key wrap with a 256-bit key, RFC 3394. */
static int wrap(const struct ck_secret *kek, const struct ck_secret *cek, struct ck_buf *out,
		struct ck_err *err)
{
	int rc = ck_buf_reserve(out, cek->len + 8, err), n = 0;

	if (rc < 0)
		return rc;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	if (c)
		EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	bool ok = cipher && c && EVP_EncryptInit_ex(c, cipher, NULL, kek->data, NULL) > 0 &&
		  EVP_EncryptUpdate(c, out->data, &n, cek->data, (int)cek->len) > 0 &&
		  (size_t)n == cek->len + 8;
	EVP_CIPHER_CTX_free(c);
	EVP_CIPHER_free(cipher);
	if (!ok) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "OpenSSL cannot wrap a key (AES-256-WRAP)");
	}
	out->len = (size_t)n;
	return 0;
}

static int hide_by_ecdh(struct sealing *s, EVP_PKEY *key, struct ck_err *err)
{
	static const char alg[] = "ECDH-ES+A256KW";
	CK_SECRET kek = { 0 };
	CK_JSON *epk = NULL;
	int rc = make_header(s, alg, err);

	if (rc < 0 || (rc = ck_jwekey_offer(key, alg, KEY_LEN, &epk, &kek, err)) < 0)
		return rc;
	if (json_object_set(s->header, "epk", epk) < 0)
		return ck_nomem(err, "making a JWE");
	return wrap(&kek, &s->cek, &s->encrypted_key, err);
}

static int make_cek(struct sealing *s, struct ck_err *err)
{
	int rc = ck_secret_new(&s->cek, KEY_LEN, err);

	if (rc < 0)
		return rc;
	if (RAND_priv_bytes(s->cek.data, KEY_LEN) <= 0 || RAND_bytes(s->iv, sizeof s->iv) <= 0) {
		ERR_clear_error();
		return ck_fail(err, -EIO, "no random numbers for a content key");
	}
	return 0;
}

/* The AAD is the protected header as it is written. */
static int seal_content(struct sealing *s, const struct ck_secret *content, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc;

	if ((rc = ck_json_dump(&text, s->header, err)) < 0 ||
	    (rc = ck_b64_encode(&s->prot, CK_B64_URL, text.data, text.len, err)) < 0 ||
	    (rc = ck_buf_reserve(&s->data, content->len + CK_GCM_TAG, err)) < 0)
		return rc;
	const struct ck_plain in = { content->data, s->prot.data, content->len, s->prot.len };
	if ((rc = ck_gcm_seal(s->cek.data, s->iv, &in, s->data.data, err)) < 0)
		return rc;
	s->data.len = content->len + CK_GCM_TAG;
	return 0;
}

static int add_b64(json_t *doc, const char *name, const void *p, size_t nbytes, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = ck_b64_encode(&text, CK_B64_URL, p, nbytes, err);

	if (rc == 0 && json_object_set_new(doc, name, json_string(ck_buf_str(&text))) < 0)
		rc = ck_nomem(err, "making a JWE");
	return rc;
}

static int emit(const struct sealing *s, struct ck_buf *out, struct ck_err *err)
{
	size_t len = s->data.len - CK_GCM_TAG;
	CK_JSON *doc = json_pack("{s:s}", "protected", ck_buf_str(&s->prot));
	int rc;

	if (!doc)
		return ck_nomem(err, "making a JWE");
	if ((rc = add_b64(doc, "encrypted_key", s->encrypted_key.data, s->encrypted_key.len, err)) <
		0 ||
	    (rc = add_b64(doc, "iv", s->iv, sizeof s->iv, err)) < 0 ||
	    (rc = add_b64(doc, "ciphertext", s->data.data, len, err)) < 0 ||
	    (rc = add_b64(doc, "tag", s->data.data + len, CK_GCM_TAG, err)) < 0)
		return rc;
	return ck_json_dump(out, doc, err);
}

int ck_jwe_seal(EVP_PKEY *key, const struct ck_secret *content, struct ck_buf *out,
		struct ck_err *err)
{
	CK_AUTO(sealing_free) struct sealing s = { .header = NULL };
	int rc = make_cek(&s, err);

	if (rc == 0)
		rc = ck_rsa_size(key) ? hide_by_rsa(&s, key, err) : hide_by_ecdh(&s, key, err);
	if (rc == 0)
		rc = seal_content(&s, content, err);
	return rc < 0 ? rc : emit(&s, out, err);
}
