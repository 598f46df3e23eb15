#include "keyprov/newopts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/envelope.h"
#include "keyprov/privopts.h"

enum { DIGEST_MAX = 255 };

/* TEXT, then the base64 of BYTES. */
struct piece {
	const char *text;
	const uint8_t *bytes;
	size_t nbytes;
};

/* Puts PIECES one after another, without a copy outside secret memory. The last piece
 * has no bytes: EVP_EncodeBlock puts a NUL behind what it writes. */
static int join(struct ck_secret *out, const struct piece *pieces, size_t n, struct ck_err *err)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += strlen(pieces[i].text) + (pieces[i].nbytes + 2) / 3 * 4;
	int rc = ck_secret_new(out, len, err);
	if (rc < 0)
		return rc;
	uint8_t *at = out->data;
	for (size_t i = 0; i < n; i++) {
		at = (uint8_t *)mempcpy(at, pieces[i].text, strlen(pieces[i].text));
		if (pieces[i].nbytes)
			at += EVP_EncodeBlock(at, pieces[i].bytes, (int)pieces[i].nbytes);
	}
	return 0;
}

/* "algorithm:encoded" of the OCI image spec, with nothing in it that JSON would escape. */
static bool is_digest(const char *s)
{
	size_t algorithm = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+._-");

	if (algorithm == 0 || s[algorithm] != ':' || strlen(s) > DIGEST_MAX)
		return false;
	const char *encoded = s + algorithm + 1;
	size_t len = strspn(encoded, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789=_-");
	return len && !encoded[len];
}

int ck_newopts_private(struct ck_secret *out, const struct ck_layer_key *key, const char *digest,
		       struct ck_err *err)
{
	bool ctr = key->cipher == CK_LAYER_CTR;
	const struct piece pieces[] = {
		{ "{\"symkey\":\"", key->symkey, sizeof key->symkey },
		{ "\",\"digest\":\"", NULL, 0 },
		{ digest, NULL, 0 },
		{ ctr ? "\",\"cipheroptions\":{\"nonce\":\"" : "\",\"cipheroptions\":{", key->nonce,
		  ctr ? sizeof key->nonce : 0 },
		{ ctr ? "\"}}" : "}}", NULL, 0 },
	};

	if (!is_digest(digest))
		return ck_fail(err, -EINVAL, "\"%.80s\" is not a digest", digest);
	return join(out, pieces, sizeof pieces / sizeof pieces[0], err);
}

int ck_newopts_public(json_t *annotations, const struct ck_layer_key *key, struct ck_err *err)
{
	CK_BUF hmac = { 0 }, text = { 0 }, value = { 0 };
	int rc = 0;

	if (key->cipher == CK_LAYER_CTR)
		rc = ck_b64_encode(&hmac, CK_B64_STD, key->hmac, sizeof key->hmac, err);
	if (rc < 0)
		return rc;
	CK_JSON *doc = json_pack("{s:s, s:s, s:{}}", "cipher", ck_layer_cipher_name(key->cipher),
				 "hmac", ck_buf_str(&hmac), "cipheroptions");
	if (!doc)
		return ck_nomem(err, "making public options");
	if ((rc = ck_json_dump(&text, doc, err)) < 0 ||
	    (rc = ck_b64_encode(&value, CK_B64_STD, text.data, text.len, err)) < 0)
		return rc;
	if (json_object_set_new(annotations, CK_ENC_PUBOPTS, json_string(ck_buf_str(&value))) < 0)
		return ck_nomem(err, "making public options");
	return 0;
}
