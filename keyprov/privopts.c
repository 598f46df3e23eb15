#include "keyprov/privopts.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/gojson.h"

static const char ctr_hmac[] = "AES_256_CTR_HMAC_SHA256";

int ck_privopts_expected(const struct ck_envelope *e, struct ck_err *err)
{
	if (strcmp(e->cipher, ctr_hmac) != 0)
		return ck_fail(err, -ENOTSUP, "cipher \"%.60s\" is not supported, only %s is",
			       e->cipher, ctr_hmac);
	if (e->n_hmac != sizeof e->hmac)
		return ck_fail(err, -EBADMSG,
			       "the public options have no HMAC, so the layer cannot be "
			       "authenticated");
	return 0;
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

static int read_key(struct ck_layer_key *key, const json_t *doc, const struct ck_envelope *e,
		    struct ck_err *err)
{
	json_t *options;
	int rc;

	if (!json_is_object(doc))
		return ck_fail(err, -EBADMSG, "they are not a JSON object");
	if ((rc = read_exact(key->symkey, sizeof key->symkey, doc, "symkey", err)) < 0 ||
	    (rc = ck_gojson_get(&options, doc, "cipheroptions", err)) < 0 ||
	    (rc = read_exact(key->nonce, sizeof key->nonce, options, "nonce", err)) < 0)
		return rc;
	if (e->n_public_nonce && (e->n_public_nonce != sizeof key->nonce ||
				  memcmp(e->public_nonce, key->nonce, sizeof key->nonce) != 0))
		return ck_fail(err, -EBADMSG,
			       "the public options carry another nonce; only the private one "
			       "counts, so somebody has changed the image");
	memcpy(key->hmac, e->hmac, sizeof key->hmac);
	return 0;
}

int ck_privopts_read(const struct ck_secret *opts, const struct ck_envelope *e,
		     struct ck_layer_key **out, struct ck_err *err)
{
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
	CK_JSON *doc = NULL;
	int rc;

	if (opts->len > CK_PRIVOPTS_MAX)
		return ck_fail(err, -EBADMSG, "private options of %zu bytes are above %d",
			       opts->len, CK_PRIVOPTS_MAX);
	if ((rc = ck_json_parse_secret(&doc, opts->data, opts->len, "what was unwrapped", err)) < 0)
		return rc;
	key = ck_secret_alloc(sizeof *key);
	if (!key)
		return ck_nomem(err, "in the arena for keys");
	if (read_key(key, doc, e, err) < 0)
		return ck_wrap(err, "private options");
	*out = ck_take(key);
	return 0;
}

void ck_layer_key_free(struct ck_layer_key *key)
{
	ck_secret_dealloc(key, sizeof *key);
}
