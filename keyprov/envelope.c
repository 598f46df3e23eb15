#include "keyprov/envelope.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/jwe.h"
#include "keyprov/packet.h"

#define KEYS_PREFIX  CK_ENC "keys."
#define PROVIDER     "provider."
#define PROVIDER_LEN (sizeof PROVIDER - 1)

enum {
	ANNOTATIONS_MAX = 1 << 20, /* bytes of all our annotations */
	PUBOPTS_MAX = 16 << 10,
};

/* What a recipient's borrowed strings point into. */
struct backing {
	struct ck_buf raw;	 /* packet bytes */
	struct ck_packet packet; /* of provider packets that we understand */
	struct ck_jwe *jwe;
	struct ck_buf algs;
	char *provider;
};

struct store {
	struct ck_envelope e;
	json_t *pubopts;
	size_t n_bytes; /* of our annotations seen so far */
	struct ck_recipient recipients[CK_ENVELOPE_RECIPIENTS_MAX];
	struct backing backing[CK_ENVELOPE_RECIPIENTS_MAX];
};

static const char *const scheme_names[] = {
	[CK_SCHEME_PROVIDER] = "provider", [CK_SCHEME_JWE] = "jwe",
	[CK_SCHEME_PKCS7] = "pkcs7",	   [CK_SCHEME_PGP] = "pgp",
	[CK_SCHEME_PKCS11] = "pkcs11",
};

const char *ck_scheme_name(enum ck_scheme s)
{
	return scheme_names[s];
}

/* The scheme of an annotation's key past KEYS_PREFIX; false when it is none of ours. */
static bool scheme_of(const char *suffix, enum ck_scheme *out)
{
	if (strncmp(suffix, PROVIDER, PROVIDER_LEN) == 0 && suffix[PROVIDER_LEN]) {
		*out = CK_SCHEME_PROVIDER;
		return true;
	}
	for (int s = CK_SCHEME_JWE; s <= CK_SCHEME_PKCS11; s++)
		if (strcmp(scheme_names[s], suffix) == 0) {
			*out = (enum ck_scheme)s;
			return true;
		}
	return false;
}

/* Fills in what the packet says of itself. Not understanding it is no error. */
static int describe(struct ck_recipient *r, struct backing *b, struct ck_err *err)
{
	if (r->scheme == CK_SCHEME_PROVIDER) {
		if (ck_packet_parse(&b->packet, r->packet, r->packet_len, NULL) < 0)
			return 0;
		r->kid = b->packet.kid;
		r->wrap_type = b->packet.wrap_type;
		r->hsm_host = b->packet.hsm_host;
		r->maa_host = b->packet.maa_host;
	} else if (r->scheme == CK_SCHEME_JWE) {
		if (ck_jwe_parse(&b->jwe, r->packet, r->packet_len, NULL) < 0)
			return 0;
		int rc = ck_jwe_describe(b->jwe, &b->algs, err);
		if (rc < 0)
			return rc;
		r->kid = ck_jwe_kid(b->jwe);
		r->wrap_type = ck_buf_str(&b->algs);
	}
	return 0;
}

static int add_recipient(struct store *s, enum ck_scheme scheme, const char *provider,
			 const char *b64, size_t len, struct ck_err *err)
{
	size_t idx = s->e.n_recipients;

	if (idx == CK_ENVELOPE_RECIPIENTS_MAX)
		return ck_fail(err, -EBADMSG, "more than %d recipients",
			       CK_ENVELOPE_RECIPIENTS_MAX);
	struct ck_recipient *r = &s->recipients[idx];
	struct backing *b = &s->backing[idx];
	s->e.n_recipients++;
	b->raw.max = CK_ENVELOPE_PACKET_MAX;
	int rc = ck_b64_decode(&b->raw, CK_B64_STD, b64, len, err);
	if (rc < 0)
		return rc;
	if (b->raw.len == 0)
		return ck_fail(err, -EBADMSG, "an empty packet");
	if (provider && !(b->provider = strdup(provider)))
		return ck_nomem(err, "reading annotations");
	r->scheme = scheme;
	r->provider = b->provider;
	r->packet = b->raw.data;
	r->packet_len = b->raw.len;
	return describe(r, b, err);
}

/* VALUE is base64(packet), or several of them with commas between. */
static int add_recipients(struct store *s, enum ck_scheme scheme, const char *provider,
			  const char *value, struct ck_err *err)
{
	for (;;) {
		size_t len = strcspn(value, ",");
		int rc = add_recipient(s, scheme, provider, value, len, err);
		if (rc < 0 || !value[len])
			return rc;
		value += len + 1;
	}
}

static int read_hmac(struct ck_envelope *e, const json_t *doc, struct ck_err *err)
{
	CK_BUF hmac = { 0 };
	int rc = ck_json_b64(&hmac, doc, "hmac", CK_B64_STD, false, err);

	if (rc < 0)
		return rc;
	if (hmac.len && hmac.len != sizeof e->hmac)
		return ck_fail(err, -EBADMSG, "\"hmac\" has %zu bytes, %zu are needed", hmac.len,
			       sizeof e->hmac);
	if (hmac.len)
		memcpy(e->hmac, hmac.data, hmac.len);
	e->n_hmac = hmac.len;
	return 0;
}

static int read_public_nonce(struct ck_envelope *e, const json_t *doc, struct ck_err *err)
{
	json_t *options;
	CK_BUF nonce = { 0 };
	int rc;

	if ((rc = ck_json_obj(&options, doc, "cipheroptions", false, err)) < 0 ||
	    (rc = ck_json_b64(&nonce, options, "nonce", CK_B64_STD, false, err)) < 0)
		return rc;
	if (!options || !json_object_get(options, "nonce"))
		return 0;
	if (nonce.len != sizeof e->public_nonce)
		return ck_fail(err, -EBADMSG,
			       "a public nonce of %zu bytes; only a private one counts, so "
			       "somebody has changed the image",
			       nonce.len);
	memcpy(e->public_nonce, nonce.data, nonce.len);
	e->n_public_nonce = nonce.len;
	return 0;
}

static int read_pubopts(struct store *s, const char *value, struct ck_err *err)
{
	CK_BUF text = { .max = PUBOPTS_MAX };
	int rc;

	if ((rc = ck_b64_decode(&text, CK_B64_STD, value, strlen(value), err)) < 0 ||
	    (rc = ck_json_parse(&s->pubopts, text.data, text.len, "the decoded text", err)) < 0)
		return rc;
	if (!json_is_object(s->pubopts))
		return ck_fail(err, -EBADMSG, "not a JSON object");
	if ((rc = ck_json_str(&s->e.cipher, s->pubopts, "cipher", true, err)) < 0 ||
	    (rc = read_hmac(&s->e, s->pubopts, err)) < 0)
		return rc;
	if (!*s->e.cipher)
		return ck_fail(err, -EBADMSG, "\"cipher\" is empty");
	return read_public_nonce(&s->e, s->pubopts, err);
}

static int read_annotation(struct store *s, const char *key, const json_t *v, struct ck_err *err)
{
	enum ck_scheme scheme;
	size_t len = json_string_length(v);
	int rc = 0;

	if (!json_is_string(v) || strlen(json_string_value(v)) != len)
		return ck_fail(err, -EBADMSG, "annotation %.120s is not a string", key);
	if (len > ANNOTATIONS_MAX - s->n_bytes)
		return ck_fail(err, -EBADMSG, "encryption annotations hold more than %d bytes",
			       ANNOTATIONS_MAX);
	s->n_bytes += len;
	if (strcmp(key, CK_ENC_PUBOPTS) == 0) {
		rc = read_pubopts(s, json_string_value(v), err);
	} else if (strncmp(key, KEYS_PREFIX, sizeof KEYS_PREFIX - 1) == 0) {
		const char *suffix = key + sizeof KEYS_PREFIX - 1;
		/* A scheme of the future is nobody's recipient here. */
		if (scheme_of(suffix, &scheme))
			rc = add_recipients(
			    s, scheme, scheme == CK_SCHEME_PROVIDER ? suffix + PROVIDER_LEN : NULL,
			    json_string_value(v), err);
	}
	return rc < 0 ? ck_wrap(err, "annotation %.120s", key) : 0;
}

int ck_envelope_parse(struct ck_envelope **out, const json_t *annotations, struct ck_err *err)
{
	const char *key;
	json_t *v;
	bool any = false;

	struct store *s = calloc(1, sizeof *s);
	if (!s)
		return ck_nomem(err, "reading annotations");
	s->e.store = s;
	s->e.recipients = s->recipients;
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = &s->e;
	if (annotations && !json_is_null(annotations) && !json_is_object(annotations))
		return ck_fail(err, -EBADMSG, "the layer's annotations are not a JSON object");
	json_object_foreach ((json_t *)(uintptr_t)annotations, key, v) {
		if (strncmp(key, CK_ENC, sizeof CK_ENC - 1) != 0)
			continue;
		any = true;
		int rc = read_annotation(s, key, v, err);
		if (rc < 0)
			return rc;
	}
	if (!any)
		return ck_fail(err, -ENODATA, "the layer has no encryption annotations");
	if (!e->cipher)
		return ck_fail(err, -EBADMSG, "annotation " CK_ENC_PUBOPTS " is missing");
	*out = ck_take(e);
	return 0;
}

void ck_envelope_free(struct ck_envelope *e)
{
	if (!e)
		return;
	struct store *s = e->store;
	for (size_t i = 0; i < e->n_recipients; i++) {
		struct backing *b = &s->backing[i];
		ck_buf_free(&b->raw);
		ck_packet_free(&b->packet);
		ck_jwe_free(b->jwe);
		ck_buf_free(&b->algs);
		free(b->provider);
	}
	json_decref(s->pubopts);
	free(s);
}
