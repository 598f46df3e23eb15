#include "keyprov/privopts.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/gojson.h"

static const char *const ciphers[] = {
	[CK_LAYER_CTR] = "AES_256_CTR_HMAC_SHA256",
	[CK_LAYER_CHUNKED] = "C2SP_CHUNKED_V1_AES_256_GCM",
};

const char *ck_layer_cipher_name(enum ck_layer_cipher c)
{
	return ciphers[c];
}

/* Whether E's public options are C's. */
static int check_public(const struct ck_envelope *e, enum ck_layer_cipher c, struct ck_err *err)
{
	if (c == CK_LAYER_CTR)
		return e->n_hmac == sizeof e->hmac
			   ? 0
			   : ck_fail(err, -EBADMSG,
				     "the public options have no HMAC, so the layer cannot be "
				     "authenticated");
	if (e->n_hmac || e->n_public_nonce)
		return ck_fail(err, -EBADMSG,
			       "the public options carry %s, which cipher %s does not have, so "
			       "somebody has changed the image",
			       e->n_hmac ? "an HMAC" : "a nonce", ciphers[c]);
	return 0;
}

static int read_public(enum ck_layer_cipher *out, const struct ck_envelope *e, struct ck_err *err)
{
	for (size_t c = 0; c < sizeof ciphers / sizeof ciphers[0]; c++) {
		if (strcmp(e->cipher, ciphers[c]) != 0)
			continue;
		*out = (enum ck_layer_cipher)c;
		return check_public(e, *out, err);
	}
	return ck_fail(err, -ENOTSUP, "cipher \"%.60s\" is not supported, only %s and %s are",
		       e->cipher, ciphers[CK_LAYER_CTR], ciphers[CK_LAYER_CHUNKED]);
}

int ck_privopts_expected(const struct ck_envelope *e, struct ck_err *err)
{
	enum ck_layer_cipher c;

	return read_public(&c, e, err);
}

/* Exactly NBYTES bytes of base64 at NAME of OBJ, into OUT in secret memory. */
static int read_exact(uint8_t *out, size_t nbytes, const json_t *obj, const char *name,
		      struct ck_err *err)
{
	json_t *v;
	CK_SECRET bytes = { 0 };
	int rc = ck_gojson_get(&v, obj, name, err);

	if (rc < 0)
		return rc;
	if (!json_is_string(v))
		return ck_fail(err, -EBADMSG, "\"%s\" is missing", name);
	rc = ck_b64_decode_secret(&bytes, CK_B64_STD, json_string_value(v), json_string_length(v),
				  err);
	if (rc < 0)
		return ck_wrap(err, "\"%s\"", name);
	if (bytes.len != nbytes)
		return ck_fail(err, -EBADMSG, "\"%s\" has %zu bytes, %zu are needed", name,
			       bytes.len, nbytes);
	memcpy(out, bytes.data, nbytes);
	return 0;
}

/* What the CTR form has beside the symkey: OPTIONS' nonce, E's HMAC. */
static int read_ctr(struct ck_layer_key *key, const json_t *options, const struct ck_envelope *e,
		    struct ck_err *err)
{
	int rc = read_exact(key->nonce, sizeof key->nonce, options, "nonce", err);

	if (rc < 0)
		return rc;
	if (e->n_public_nonce && (e->n_public_nonce != sizeof key->nonce ||
				  memcmp(e->public_nonce, key->nonce, sizeof key->nonce) != 0))
		return ck_fail(err, -EBADMSG,
			       "the public options carry another nonce; only the private one "
			       "counts, so somebody has changed the image");
	memcpy(key->hmac, e->hmac, sizeof key->hmac);
	return 0;
}

/* A nonce would say that whoever made the layer used it some other way than we do. */
static int read_chunked(const json_t *options, struct ck_err *err)
{
	json_t *nonce;
	int rc = ck_gojson_get(&nonce, options, "nonce", err);

	if (rc < 0 || !nonce)
		return rc;
	return ck_fail(err, -EBADMSG, "they hold a \"nonce\", which cipher %s does not have",
		       ciphers[CK_LAYER_CHUNKED]);
}

static int read_key(struct ck_layer_key *key, const json_t *doc, const struct ck_envelope *e,
		    struct ck_err *err)
{
	json_t *options;
	int rc;

	if (!json_is_object(doc))
		return ck_fail(err, -EBADMSG, "they are not a JSON object");
	if ((rc = read_exact(key->symkey, sizeof key->symkey, doc, "symkey", err)) < 0 ||
	    (rc = ck_gojson_get(&options, doc, "cipheroptions", err)) < 0)
		return rc;
	return key->cipher == CK_LAYER_CTR ? read_ctr(key, options, e, err)
					   : read_chunked(options, err);
}

int ck_privopts_read(const struct ck_secret *opts, const struct ck_envelope *e,
		     struct ck_layer_key **out, struct ck_err *err)
{
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
	CK_JSON *doc = NULL;
	enum ck_layer_cipher cipher;
	int rc = read_public(&cipher, e, err);

	if (rc < 0)
		return rc;
	if (opts->len > CK_PRIVOPTS_MAX)
		return ck_fail(err, -EBADMSG, "private options of %zu bytes are above %d",
			       opts->len, CK_PRIVOPTS_MAX);
	if ((rc = ck_json_parse_secret(&doc, opts->data, opts->len, "what was unwrapped", err)) < 0)
		return rc;
	key = ck_secret_alloc(sizeof *key);
	if (!key)
		return ck_nomem(err, "in the arena for keys");
	key->cipher = cipher;
	if (read_key(key, doc, e, err) < 0)
		return ck_wrap(err, "private options");
	*out = ck_take(key);
	return 0;
}

void ck_layer_key_free(struct ck_layer_key *key)
{
	ck_secret_dealloc(key, sizeof *key);
}
